"""Defines the rate limits: at most `limit` units in any window, exactly.

Each key has a limit in any 60 seconds. Its plan may add a burst limit, of each key in any second, and a
limit of all keys of the license together in any 60 seconds. A request takes its units from all of them or
from none.

Most requests cost one unit; routes declare what they cost. The rule: a request of n units at time t is
allowed if at most `limit` - n units are in [t - window, t]. A refused request is not counted, so a client
that keeps trying does not extend its wait. Without a burst limit, a client may use the whole limit at once;
each unit returns one window after its use. A request that costs more than a whole limit takes the whole
limit, so that every request is possible when the window is empty.

The cost of a body is known after it was read: admission takes the first unit, and a second call takes the
others, all or none. A request that is refused then has cost its first unit, and is told when all its units
fit beside that one.
shared/adapters/redis/lua/take_requests.lua applies the rule across processes.
"""

import math
from typing import Literal, NamedTuple

import msgspec

from shared.domain.access.plans import Plan
from shared.errors import RateLimited

WINDOW_S = 60
BURST_WINDOW_S = 1
# What one unit pays for. A bot that trades each minute and reports at once never pays more than one.
TRADES_PER_UNIT = 50
STATES_PER_UNIT = 10
# Performance may compute the figures of many days.
PERFORMANCE_UNITS = 5
# An export reads every row of an account.
EXPORT_UNITS = 20


class LimitState(NamedTuple):
    """What a limit beside the key's own says: units left (None: not counted), and seconds until it grows."""

    name: Literal["burst", "license"]
    limit: int
    window_s: int
    remaining: int | None
    reset_s: float


class RateState(msgspec.Struct, frozen=True, gc=False):
    """A key's quota after one request: the units that are left, and the seconds until it next grows.

    `others` are the further limits of its license. After a refusal, `reset_s` of a limit that refuses the
    request are the seconds until it has room there; `refused_by` names the limit with the longest wait.
    """

    limit: int
    remaining: int
    reset_s: float
    others: tuple[LimitState, ...] = ()
    refused_by: str = "key"


class Limits(msgspec.Struct, frozen=True):
    """The limits to apply to a key; `license` is that of all keys together. 0 means none of that kind."""

    key: int
    burst: int = 0
    license: int = 0


# Of a key or license that allows nothing.
REFUSED = Limits(0)


def limits_of(terms: Plan) -> Limits:
    """The limits of each key of a license; a burst limit that could never refuse is left out."""
    burst = terms.requests_per_second
    return Limits(
        terms.requests_per_minute,
        burst if burst < terms.requests_per_minute else 0,
        terms.license_requests_per_minute,
    )


def units_of(count: int, per_unit: int) -> int:
    """The units that `count` items cost, at least one."""
    return max(1, math.ceil(count / per_unit))


def rate_limited(rate: RateState, cost: int = 1) -> RateLimited:
    """The refusal of a request over a limit; it says which."""
    whose, limit, window_s, left, wait_s = "limit", rate.limit, WINDOW_S, rate.remaining, rate.reset_s
    for other in rate.others:
        if other.name == rate.refused_by:
            whose = "limit of all keys of the license" if other.name == "license" else "burst limit"
            _, limit, window_s, _, wait_s = other
            left = other.remaining or 0
    reason = (
        f"The {whose} of {limit} requests in {window_s} s is used up"
        if cost == 1
        else f"This request needs {min(cost, limit)} of the {whose} of {limit} requests in {window_s} s, and "
        f"{left} are left"
    )
    error = RateLimited(f"{reason}; try again in {whole_seconds(wait_s)} s.", retry_after_s=wait_s)
    error.quota = rate.limit, rate.remaining, rate.reset_s, rate.others
    return error


def whole_seconds(wait_s: float) -> int:
    """`wait_s` in whole seconds, at least 1, rounded up, so that a caller that waits so long is admitted."""
    return max(1, math.ceil(wait_s))
