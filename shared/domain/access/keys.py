"""API keys: `sc_live_<6-char public id><32 random base62 characters><6-char checksum>`.

The prefix makes a leaked key recognisable to secret scanners. The checksum (CRC-32 of everything before
it, in base62) refuses a mistyped or made-up key before anything is looked up: CRC-32 detects every burst
of up to 32 bits, so any change of one character, and of up to four neighbouring ones, is caught. It is
no secret and proves nothing. What proves a key is its 190 random bits, of which we keep only an
HMAC-SHA256 under a pepper.

The first two characters of a public id are its shard: a license and all its keys share one, so that they
lie in one partition of the key store and a key can be found by what it says of itself.
"""

import hashlib
import hmac
import re
import secrets
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field

from shared.errors import KeyMalformed

RandomBytes = Callable[[int], bytes]

PREFIX = "sc_live_"
PUBLIC_ID_LENGTH = 6
SHARD_LENGTH = 2
SECRET_LENGTH = 32
CHECKSUM_LENGTH = 6
KEY_LENGTH = len(PREFIX) + PUBLIC_ID_LENGTH + SECRET_LENGTH + CHECKSUM_LENGTH

_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_BASE = len(_ALPHABET)
# Bytes from here up would make the alphabet's first characters likelier than the others.
_UNBIASED_BELOW = 256 - 256 % _BASE
_FORMAT = re.compile(
    rf"{PREFIX}([0-9A-Za-z]{{{PUBLIC_ID_LENGTH}}})[0-9A-Za-z]{{{SECRET_LENGTH + CHECKSUM_LENGTH}}}"
)
_PUBLIC_ID = re.compile(rf"[0-9A-Za-z]{{{PUBLIC_ID_LENGTH}}}")


@dataclass(frozen=True, slots=True)
class ParsedKey:
    """A key whose form and checksum hold; whether anyone issued it is not known yet."""

    text: str = field(repr=False)
    public_id: str


def random_base62(length: int, rng: RandomBytes) -> str:
    """`length` characters, each of the 62 equally likely when the bytes of `rng` are."""
    chosen: list[str] = []
    while len(chosen) < length:
        chosen.extend(_ALPHABET[byte % _BASE] for byte in rng(length) if byte < _UNBIASED_BELOW)
    return "".join(chosen[:length])


def new_public_id(shard: str, rng: RandomBytes = secrets.token_bytes) -> str:
    return shard + random_base62(PUBLIC_ID_LENGTH - SHARD_LENGTH, rng)


def new_key(public_id: str, rng: RandomBytes = secrets.token_bytes) -> str:
    """A fresh key in plain text; raises ValueError when `public_id` cannot be part of one."""
    if not is_public_id(public_id):
        raise ValueError("a public id has 6 base62 characters")
    body = PREFIX + public_id + random_base62(SECRET_LENGTH, rng)
    return body + _checksum(body)


def parse_key(text: str) -> ParsedKey:
    """The key in `text`; raises Unauthenticated (key_malformed) when form or checksum are wrong."""
    match = _FORMAT.fullmatch(text) if len(text) == KEY_LENGTH else None
    if match is None or _checksum(text[:-CHECKSUM_LENGTH]) != text[-CHECKSUM_LENGTH:]:
        raise KeyMalformed("This is not an API key: its form or its checksum is wrong. Was it copied whole?")
    return ParsedKey(text, match[1])


def hash_key(key: str, pepper: bytes) -> str:
    """What is stored of a key: HMAC-SHA256 under `pepper`, in 64 hexadecimal digits."""
    return hmac.digest(pepper, key.encode(), hashlib.sha256).hex()


def same_hash(stored: str, presented: str) -> bool:
    """Whether two hashes are equal, in a time that does not tell how far they agree."""
    return hmac.compare_digest(stored, presented)


def is_public_id(text: str) -> bool:
    return _PUBLIC_ID.fullmatch(text) is not None


def public_id_in(text: str) -> str:
    """The public id in `text`: itself, what a key begins with, or a whole key; else an empty text."""
    candidate = text.removeprefix(PREFIX)
    candidate = candidate[:PUBLIC_ID_LENGTH] if len(text) == KEY_LENGTH else candidate
    return candidate if is_public_id(candidate) else ""


def shard_of_public_id(public_id: str) -> str:
    return public_id[:SHARD_LENGTH]


def _checksum(body: str) -> str:
    value = zlib.crc32(body.encode())
    digits = []
    for _ in range(CHECKSUM_LENGTH):
        value, digit = divmod(value, _BASE)
        digits.append(_ALPHABET[digit])
    return "".join(reversed(digits))
