"""Creates and checks API keys: `sc_live_<6-char public id><32 random base62 characters><6-char checksum>`.

A test key begins with `sc_test_`, and the secret of a hook with `sch_`; otherwise they are the same. What a
key may do depends on its license and its scopes alone.

Secret scanners recognise a leaked key by its prefix. The checksum (CRC-32 of everything before it, in base62)
refuses a mistyped or invented key before any lookup: CRC-32 detects every burst of up to 32 bits, so every
change of one character, and of up to four neighbouring ones. The checksum is no secret and proves nothing.
The proof is the key's 190 random bits, of which we store only an HMAC-SHA256 under a pepper.

The first two characters of a public id are its shard. A license and all its keys have the same shard, so
they are in one partition of the key store, and a key's own text says in which.
"""

import hashlib
import hmac
import re
import secrets
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from shared.errors import KeyMalformed

RandomBytes = Callable[[int], bytes]

KeyKind = Literal["live", "test", "hook"]
PREFIX = "sc_live_"
TEST_PREFIX = "sc_test_"
HOOK_PREFIX = "sch_"
_PREFIXES: dict[KeyKind, str] = {"live": PREFIX, "test": TEST_PREFIX, "hook": HOOK_PREFIX}
_KINDS = {prefix: kind for kind, prefix in _PREFIXES.items()}
PUBLIC_ID_LENGTH = 6
SHARD_LENGTH = 2
SECRET_LENGTH = 32
CHECKSUM_LENGTH = 6
KEY_LENGTH = len(PREFIX) + PUBLIC_ID_LENGTH + SECRET_LENGTH + CHECKSUM_LENGTH

_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_BASE = len(_ALPHABET)
# Higher bytes would make the alphabet's first characters more likely than the others.
_UNBIASED_BELOW = 256 - 256 % _BASE
_FORMAT = re.compile(
    rf"({'|'.join(_KINDS)})([0-9A-Za-z]{{{PUBLIC_ID_LENGTH}}})"
    rf"[0-9A-Za-z]{{{SECRET_LENGTH + CHECKSUM_LENGTH}}}"
)
_PUBLIC_ID = re.compile(rf"[0-9A-Za-z]{{{PUBLIC_ID_LENGTH}}}")


@dataclass(frozen=True, slots=True)
class ParsedKey:
    """A key whose form and checksum are right; it may still be one that was never issued."""

    text: str = field(repr=False)
    public_id: str
    kind: KeyKind = "live"


def random_base62(length: int, rng: RandomBytes) -> str:
    """`length` random characters. All 62 are equally likely if all bytes of `rng` are."""
    chosen: list[str] = []
    while len(chosen) < length:
        chosen.extend(_ALPHABET[byte % _BASE] for byte in rng(length) if byte < _UNBIASED_BELOW)
    return "".join(chosen[:length])


def base62_of(digest: bytes, length: int) -> str:
    """`length` characters that follow from `digest`, of 32 bytes; up to 40 are as good as random."""
    return _base62(int.from_bytes(digest), length)


def new_public_id(shard: str, rng: RandomBytes = secrets.token_bytes) -> str:
    return shard + random_base62(PUBLIC_ID_LENGTH - SHARD_LENGTH, rng)


def new_key(public_id: str, kind: KeyKind = "live", *, rng: RandomBytes = secrets.token_bytes) -> str:
    """A new key in plain text; raises ValueError if `public_id` cannot be part of one."""
    if not is_public_id(public_id):
        raise ValueError("a public id has 6 base62 characters")
    body = _PREFIXES[kind] + public_id + random_base62(SECRET_LENGTH, rng)
    return body + _checksum(body)


def parse_key(text: str) -> ParsedKey:
    """The key in `text`; raises KeyMalformed if its form or checksum is wrong."""
    match = _FORMAT.fullmatch(text) if len(text) <= KEY_LENGTH else None
    if match is None or _checksum(text[:-CHECKSUM_LENGTH]) != text[-CHECKSUM_LENGTH:]:
        raise KeyMalformed(
            "This is not an API key: its form or its checksum is wrong. Check that you copied all of it."
        )
    return ParsedKey(text, match[2], _KINDS[match[1]])


def hash_key(key: str, pepper: bytes) -> str:
    """The hash of a key that we store: HMAC-SHA256 under `pepper`, in 64 hexadecimal digits."""
    return hmac.digest(pepper, key.encode(), hashlib.sha256).hex()


def same_hash(stored: str, presented: str) -> bool:
    """Whether two hashes are equal; the time that this takes does not show how many digits agree."""
    return hmac.compare_digest(stored, presented)


def is_public_id(text: str) -> bool:
    return _PUBLIC_ID.fullmatch(text) is not None


def public_id_in(text: str) -> str:
    """The public id in `text`, which is an id, the beginning of a key or a whole key; else an empty text."""
    candidate = text.removeprefix(PREFIX).removeprefix(TEST_PREFIX)
    candidate = candidate[:PUBLIC_ID_LENGTH] if len(text) == KEY_LENGTH else candidate
    return candidate if is_public_id(candidate) else ""


def shard_of_public_id(public_id: str) -> str:
    return public_id[:SHARD_LENGTH]


def _checksum(body: str) -> str:
    return _base62(zlib.crc32(body.encode()), CHECKSUM_LENGTH)


def _base62(value: int, length: int) -> str:
    """The last `length` digits of `value`."""
    digits = []
    for _ in range(length):
        value, digit = divmod(value, _BASE)
        digits.append(_ALPHABET[digit])
    return "".join(reversed(digits))
