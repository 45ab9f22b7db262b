"""What the cache says of one request: its license, its quota, and the confidence that it asks for."""

import msgspec

from shared.domain.confidence import Finding
from shared.domain.rate_limit import RateState

# Of a caller that has no grant yet; every license has a revision, and every key one.
NO_REVISION = "0"


class Admission(msgspec.Struct, frozen=True, gc=False):
    """The answer to a request whose license is cached, for `life_ms` more.

    `record` is None where it is of the revision that the caller had. `rate` is None where the license
    allows nothing: then nothing was counted. `finding` is of the confidence asked for.
    """

    record: bytes | None
    allowed: bool
    rate: RateState | None
    life_ms: int
    finding: Finding | None = None
