"""What the cache says of one request: its license, its quota, and the confidence that it asks for."""

import hashlib

import msgspec

from shared.domain.access.licenses import Grant
from shared.domain.access.rate_limit import RateState
from shared.domain.confidence.answers import CacheResult

TAG_BYTES = 16
# Of a caller that has no record yet.
NO_TAG = "-" * TAG_BYTES

_decode_grant = msgspec.json.Decoder(Grant).decode


class Admission(msgspec.Struct, frozen=True, gc=False):
    """The answer to a request whose license is cached, for `life_ms` more.

    `record` is None where the caller has it, by its tag. `rate` is None where the license allows nothing:
    then nothing was counted. `lookup` is of the confidence asked for.
    """

    record: bytes | None
    allowed: bool
    rate: RateState | None
    life_ms: int
    cache_result: CacheResult | None = None


def encode_record(grant: Grant, limit: int) -> bytes:
    """What is cached of a grant that allows `limit` requests: `<revision> <limit> <tag> <Grant as JSON>`.

    The tag is a digest of the JSON: who has it is spared being sent the record again.
    """
    encoded = msgspec.json.encode(grant)
    tag = hashlib.blake2b(encoded, digest_size=TAG_BYTES // 2).hexdigest().encode()
    return b"%d %d %b %b" % (grant.revision, limit, tag, encoded)


def decode_record(record: bytes) -> tuple[str, Grant]:
    """The tag and the grant of what `encode_record` made."""
    _, _, tag, encoded = record.split(b" ", 3)
    return tag.decode(), _decode_grant(encoded)
