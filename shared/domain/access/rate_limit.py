"""Defines the rate limit: at most `limit` requests of one key in any window of 60 seconds, exactly.

The rule: a request at time t is allowed when fewer than `limit` allowed requests lie in [t - window, t].
A refused request leaves no trace, so a client that keeps asking does not keep itself out. The whole
limit may be used at once (a burst), and each unit comes back one window after it was used.
How the rule is kept across processes: shared/adapters/redis/lua/take_requests.lua.
"""

import math

import msgspec

from shared.errors import RateLimited

WINDOW_S = 60


class RateState(msgspec.Struct, frozen=True, gc=False):
    """A key's quota after one request: requests left now, and the seconds until it next grows."""

    limit: int
    remaining: int
    reset_s: float


def rate_limited(rate: RateState) -> RateLimited:
    """The refusal of a request that found the limit used up."""
    return RateLimited(
        f"The limit of {rate.limit} requests in {WINDOW_S} s is used up; "
        f"try again in {whole_seconds(rate.reset_s)} s.",
        limit=rate.limit,
        reset_s=rate.reset_s,
    )


def whole_seconds(wait_s: float) -> int:
    """`wait_s` in whole seconds, rounded up, so that a caller that waits is let in; at least 1."""
    return max(1, math.ceil(wait_s))
