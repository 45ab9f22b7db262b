"""Verifies the signatures of payment vendors over the raw body, each by the vendor's own library.

Signatures are compared in constant time. The libraries read the clock themselves, so the time of a signature
is judged here, after the signature itself.
"""

import asyncio
import base64
import hmac
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta

from shared.errors import SignatureExpired, SignatureInvalid

# How far the time of a signature may be from ours, in both directions.
TOLERANCE = timedelta(minutes=5)
# A vendor signs with two secrets while one is rotated.
MAX_HEADER = 2_048
_MAX_SECONDS = 253_402_300_799


class StripeSignatures:
    """Verifies the header Stripe-Signature under any of the secrets."""

    def __init__(self, secrets: Sequence[str]) -> None:
        self._secrets = secrets

    async def check(self, body: bytes, headers: Mapping[str, str], now: datetime) -> None:
        """Raises SignatureInvalid and SignatureExpired."""
        header = _header(headers, "stripe-signature")
        # The library takes a quarter of a second to import, beside the loop.
        verify = await asyncio.to_thread(_stripe_verifier)
        if not any(verify(body, header, secret) for secret in self._secrets):
            raise _invalid("Stripe-Signature", is_set_up=bool(self._secrets))
        parts = [part.partition("=") for part in header.split(",")]
        _check_time(next(value for name, _, value in parts if name == "t"), now)


class WhopSignatures:
    """Verifies the headers of Standard Webhooks, in whose scheme Whop signs, under any of the secrets."""

    def __init__(self, secrets: Sequence[str]) -> None:
        self._secrets = secrets

    async def check(self, body: bytes, headers: Mapping[str, str], now: datetime) -> None:
        """Raises SignatureInvalid and SignatureExpired."""
        from standardwebhooks import Webhook

        message_id = _header(headers, "webhook-id")
        given = _header(headers, "webhook-timestamp")
        signatures = _header(headers, "webhook-signature").split(" ")
        signed_at = _seconds(given)
        try:
            text = body.decode()
        except UnicodeDecodeError:
            raise SignatureInvalid("The body is not UTF-8, so it cannot have been signed.") from None
        expected = [
            Webhook(_whop_key(secret)).sign(message_id, datetime.fromtimestamp(signed_at, UTC), text)
            for secret in self._secrets
        ]
        # Without a way out in between, so that the time says nothing about which signature came close.
        matches = [hmac.compare_digest(each, signature) for each in expected for signature in signatures]
        if not any(matches):
            raise _invalid("webhook-signature", is_set_up=bool(self._secrets))
        _check_time(given, now)


def _stripe_verifier() -> Callable[[bytes, str, str], bool]:
    from stripe import SignatureVerificationError, WebhookSignature

    def verify(body: bytes, header: str, secret: str) -> bool:
        try:
            return bool(WebhookSignature.verify_header(body, header, secret))
        except (SignatureVerificationError, UnicodeDecodeError):
            return False

    return verify


def _whop_key(secret: str) -> str | bytes:
    """The key of a secret: Whop's SDK takes the characters of `ws_...` themselves, the standard base64."""
    if not secret.startswith("whsec_"):
        return secret.encode()
    return base64.b64decode(secret.removeprefix("whsec_") + "==")


def _header(headers: Mapping[str, str], name: str) -> str:
    value = headers.get(name, "")
    if not value or len(value) > MAX_HEADER or not value.isascii():
        raise SignatureInvalid(f"This request has no header {name} that could be a signature.")
    return value


def _seconds(text: str) -> int:
    if not text.isdigit() or len(text) > len(str(_MAX_SECONDS)) or int(text) > _MAX_SECONDS:
        raise SignatureInvalid("The time of the signature is none: expected seconds since 1970.")
    return int(text)


def _check_time(text: str, now: datetime) -> None:
    if abs(datetime.fromtimestamp(_seconds(text), UTC) - now) > TOLERANCE:
        raise SignatureExpired(
            f"The signature is more than {TOLERANCE.seconds // 60} minutes old, or from the future. A vendor "
            "signs each attempt again."
        )


def _invalid(header: str, *, is_set_up: bool) -> SignatureInvalid:
    if not is_set_up:
        return SignatureInvalid("This deployment takes no events of this vendor: its secret is not set.")
    return SignatureInvalid(f"{header} is not the signature of this body under this deployment's secret.")
