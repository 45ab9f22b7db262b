"""Sends webhooks, signed by the scheme of Standard Webhooks with each of the destination's secrets."""

from collections.abc import Sequence
from datetime import datetime

import msgspec

from shared.adapters.notifications.answers import outcome_of
from shared.adapters.notifications.outgoing import Outgoing
from shared.domain.notifications.attempts import Outcome


class WebhookSender:
    def __init__(self, outgoing: Outgoing) -> None:
        self._outgoing = outgoing

    async def send(
        self, url: str, secrets: Sequence[str], message_id: str, body: bytes, now: datetime
    ) -> Outcome:
        """Posts `body`; `message_id` is the same at each attempt, so that the receiver can drop repeats."""
        headers = {"content-type": "application/json", **signed(secrets, message_id, body, now)}
        outcome = await outcome_of(self._outgoing.send("POST", url, body, headers))
        # One customer's server must not make all others wait.
        return msgspec.structs.replace(outcome, everywhere=False)


def signed(secrets: Sequence[str], message_id: str, body: bytes, now: datetime) -> dict[str, str]:
    """The headers of the scheme; with two secrets, the receiver may check with either."""
    from standardwebhooks import Webhook

    text = body.decode()
    signatures = (Webhook(secret).sign(message_id, now, text) for secret in secrets)
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": " ".join(signatures),
    }
