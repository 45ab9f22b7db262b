"""Defines the rate limit: at most `limit` requests of one key in any window of 60 seconds, exactly.

The rule: a request at time t is allowed if fewer than `limit` allowed requests are in [t - window, t].
A refused request is not counted, so a client that keeps trying does not extend its wait. A client may use
the whole limit at once (a burst); each unit returns one window after its use.
shared/adapters/redis/lua/take_requests.lua applies the rule across processes.
"""

import math

import msgspec

from shared.errors import RateLimited

WINDOW_S = 60


class RateState(msgspec.Struct, frozen=True, gc=False):
    """A key's quota after one request: the requests that are left, and the seconds until it next grows."""

    limit: int
    remaining: int
    reset_s: float


def rate_limited(rate: RateState) -> RateLimited:
    """The refusal of a request over the limit."""
    return RateLimited(
        f"The limit of {rate.limit} requests in {WINDOW_S} s is used up; "
        f"try again in {whole_seconds(rate.reset_s)} s.",
        limit=rate.limit,
        reset_s=rate.reset_s,
    )


def whole_seconds(wait_s: float) -> int:
    """`wait_s` in whole seconds, at least 1, rounded up, so that a caller that waits so long is admitted."""
    return max(1, math.ceil(wait_s))
