"""Stands in for a mail server: takes every mail, or refuses a recipient as servers do."""

import email
import email.policy
from email.message import EmailMessage
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from local.vendors.behaviour import Faults
from local.vendors.received import Received

MAX_MAIL_BYTES = 1_000_000


class MailBox:
    """Handles the commands of one SMTP session; `full@` is refused for now, and `unknown@` for good."""

    def __init__(self, received: Received, faults: Faults) -> None:
        self._received = received
        self._faults = faults

    async def handle_RCPT(  # noqa: N802 - the name is aiosmtpd's
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        """Accepts or refuses a recipient."""
        del server, session, options
        if address.startswith("full@"):
            return "452 4.2.2 The mailbox is full, try again later"
        if address.startswith("unknown@"):
            return "550 5.1.1 No such user"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 OK"

    async def handle_DATA(  # noqa: N802 - the name is aiosmtpd's
        self, server: SMTP, session: Session, envelope: Envelope
    ) -> str:
        """Takes the mail in, unless a fault is planned."""
        del server, session
        fault = self._faults.next_of("smtp")
        if fault is not None and fault.kind == "status":
            return f"{451 if fault.status < 550 else 554} 4.3.0 planned fault"
        content = envelope.content if isinstance(envelope.content, bytes) else b""
        message = email.message_from_bytes(content, policy=email.policy.default)
        assert isinstance(message, EmailMessage)
        await self._received.add(
            "smtp",
            sender=envelope.mail_from,
            to=list(envelope.rcpt_tos),
            subject=str(message.get("Subject", "")),
            message_id=str(message.get("Message-ID", "")),
            text=_part(message, "plain"),
            html=_part(message, "html"),
        )
        return "250 2.0.0 OK"


def _part(message: EmailMessage, kind: str) -> str:
    part = message.get_body(preferencelist=(kind,))
    return "" if part is None else str(part.get_content())


def mail_protocol(received: Received, faults: Faults) -> SMTP:
    """The protocol of one connection; accepts any login, but needs none."""

    def accept(server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any) -> AuthResult:
        del server, session, envelope, mechanism
        return AuthResult(success=isinstance(data, LoginPassword))

    return SMTP(
        MailBox(received, faults),
        data_size_limit=MAX_MAIL_BYTES,
        hostname="localhost",
        auth_require_tls=False,
        authenticator=accept,
    )
