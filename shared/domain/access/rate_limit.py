"""Defines the rate limit: at most `limit` units of one key in any window of 60 seconds, exactly.

Most requests cost one unit; routes declare what they cost. The rule: a request of n units at time t is
allowed if at most `limit` - n units are in [t - window, t]. A refused request is not counted, so a client
that keeps trying does not extend its wait. A client may use the whole limit at once (a burst); each unit
returns one window after its use. A request that costs more than the whole limit takes the whole limit, so
that every request is possible when the window is empty.

The cost of a body is known after it was read: admission takes the first unit, and a second call takes the
others, all or none. A request that is refused then has cost its first unit, and is told when all its units
fit beside that one.
shared/adapters/redis/lua/take_requests.lua applies the rule across processes.
"""

import math

import msgspec

from shared.errors import RateLimited

WINDOW_S = 60
# What one unit pays for. A bot that trades each minute and reports at once never pays more than one.
TRADES_PER_UNIT = 50
STATES_PER_UNIT = 10
# Performance may compute the figures of many days.
PERFORMANCE_UNITS = 5
# An export reads every row of an account.
EXPORT_UNITS = 20


class RateState(msgspec.Struct, frozen=True, gc=False):
    """A key's quota after one request: the units that are left, and the seconds until it next grows.

    After a refusal, `reset_s` are the seconds until the refused request has room.
    """

    limit: int
    remaining: int
    reset_s: float


def units_of(count: int, per_unit: int) -> int:
    """The units that `count` items cost, at least one."""
    return max(1, math.ceil(count / per_unit))


def rate_limited(rate: RateState, cost: int = 1) -> RateLimited:
    """The refusal of a request over the limit."""
    reason = (
        f"The limit of {rate.limit} requests in {WINDOW_S} s is used up"
        if cost == 1
        else f"This request needs {cost} of the limit of {rate.limit} requests in {WINDOW_S} s, and "
        f"{rate.remaining} are left"
    )
    return RateLimited(
        f"{reason}; try again in {whole_seconds(rate.reset_s)} s.",
        limit=rate.limit,
        remaining=rate.remaining,
        reset_s=rate.reset_s,
    )


def whole_seconds(wait_s: float) -> int:
    """`wait_s` in whole seconds, at least 1, rounded up, so that a caller that waits so long is admitted."""
    return max(1, math.ceil(wait_s))
