"""Makes and reads claim tokens: the secret part of a claim link, which gives the holder of a license a key.

A token needs no row before its use. It holds what it is for, and an HMAC under a key derived from the pepper:
`<12 characters of the license id><f or l><8 hexadecimal digits: when, in seconds><40 digits of the HMAC>`.
The same license, purpose and second make the same token, so a message that is sent twice has one link. The
row of its use, which is unique, makes it work once.
"""

import hashlib
import hmac
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Literal

import msgspec

from shared.domain.access.licenses import LICENSE_PREFIX
from shared.errors import ClaimExpired, NotFound

# The first key of a license, or a new key for a holder who has lost the others.
Purpose = Literal["first_key", "lost_key"]
# A buyer may be on holiday. A holder who has lost a key asks for a link and waits for it; the link ends the
# other keys, so it is good for less time.
LIFETIME: dict[Purpose, timedelta] = {"first_key": timedelta(days=7), "lost_key": timedelta(days=1)}

_LETTER: dict[Purpose, str] = {"first_key": "f", "lost_key": "l"}
_PURPOSE: dict[str, Purpose] = {letter: purpose for purpose, letter in _LETTER.items()}
_MAC_DIGITS = 40
_TOKEN = re.compile(rf"([0-9A-Za-z]{{12}})([fl])([0-9a-f]{{8}})([0-9a-f]{{{_MAC_DIGITS}}})")
TOKEN_LENGTH = 12 + 1 + 8 + _MAC_DIGITS


class Claim(msgspec.Struct, frozen=True):
    """What a token is for; no two tokens of one license and purpose have the same `issued_at`."""

    license_id: str
    purpose: Purpose
    issued_at: datetime

    @property
    def name(self) -> str:
        """Names the link in the record of the key that it gives."""
        return f"{self.purpose}.{int(self.issued_at.timestamp())}"

    @property
    def expires_at(self) -> datetime:
        return self.issued_at + LIFETIME[self.purpose]


def claim_secret(pepper: bytes) -> bytes:
    """The key of the tokens' HMAC, which is of no use for the hashes of API keys."""
    return hmac.digest(pepper, b"signal-cloud claim tokens", hashlib.sha256)


def claim_token(license_id: str, purpose: Purpose, at: datetime, secret: bytes) -> str:
    """The token of a link that is issued at `at`, in whole seconds."""
    body = f"{license_id.removeprefix(LICENSE_PREFIX)}{_LETTER[purpose]}{int(at.timestamp()):08x}"
    return body + _mac(body, secret)


def read_claim(token: str, secrets: Sequence[bytes], now: datetime) -> Claim:
    """What `token` is for, if it was made under one of `secrets`.

    Raises NotFound for a token that is none of ours, and ClaimExpired.
    """
    match = _TOKEN.fullmatch(token)
    body = token[:-_MAC_DIGITS]
    is_ours = [hmac.compare_digest(_mac(body, secret), token[-_MAC_DIGITS:]) for secret in secrets if match]
    if match is None or not any(is_ours):
        raise NotFound("This is no claim link of ours: a part of it is missing or changed. Copy all of it.")
    claim = Claim(
        LICENSE_PREFIX + match[1], _PURPOSE[match[2]], datetime.fromtimestamp(int(match[3], 16), UTC)
    )
    if now >= claim.expires_at:
        raise ClaimExpired(
            "This claim link has expired. Ask for a new one with the mail address of the license."
        )
    return claim


def claim_url(base_url: str, token: str) -> str:
    """The link that a message shows; `base_url` is the app's public address, without /api."""
    return f"{base_url.rstrip('/')}/api/claim/{token}"


def _mac(body: str, secret: bytes) -> str:
    return hmac.digest(secret, body.encode(), hashlib.sha256).hex()[:_MAC_DIGITS]
