"""Describes what the cache holds for one request: its license, its quota, and the confidence it asks for."""

import hashlib

import msgspec

from shared.domain.access.licenses import Grant
from shared.domain.access.rate_limit import Limits, RateState
from shared.domain.confidence.answers import CacheResult

TAG_BYTES = 16
# The tag of a caller that holds no record yet.
NO_TAG = "-" * TAG_BYTES

_decode_grant = msgspec.json.Decoder(Grant).decode


class Admission(msgspec.Struct, frozen=True, gc=False):
    """The cache's answer to a request whose license is cached, for `life_ms` more.

    `record` is None if the caller's tag shows that it holds the record. `rate` is None if the license allows
    nothing: then the request was not counted. `cache_result` is for the confidence that it asked for.
    """

    record: bytes | None
    allowed: bool
    rate: RateState | None
    life_ms: int
    cache_result: CacheResult | None = None


def encode_record(grant: Grant, limits: Limits) -> bytes:
    """The record to cache for a grant with these limits: `<revision> <limits> <tag> <Grant as JSON>`.

    The limits are the key's, such as `100`; if there are others, `100/<burst>/<license's>/<license id>`. The
    tag is a digest of the JSON: Redis does not send the record to a caller that holds its tag.
    """
    encoded = msgspec.json.encode(grant)
    tag = hashlib.blake2b(encoded, digest_size=TAG_BYTES // 2).hexdigest().encode()
    others = ""
    if limits.burst or limits.license:
        others = f"/{limits.burst}/{limits.license}/{grant.license.license_id}"
    return b"%d %d%b %b %b" % (grant.revision, limits.key, others.encode(), tag, encoded)


def decode_record(record: bytes) -> tuple[str, Grant]:
    """The tag and the grant in a record of `encode_record`."""
    _, _, tag, encoded = record.split(b" ", 3)
    return tag.decode(), _decode_grant(encoded)
