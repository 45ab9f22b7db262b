"""The rate limit: at most `limit` requests of one key in any window of 60 seconds, exactly.

The rule: a request at time t is allowed when fewer than `limit` allowed requests lie in [t - window, t].
A refused request leaves no trace, so a client that keeps asking does not keep itself out. The whole
limit may be used at once (a burst), and each unit comes back one window after it was used.
How the rule is kept across processes: shared/adapters/redis/lua/admit.lua.
"""

import math
from functools import lru_cache

import msgspec

from shared.errors import RateLimited

WINDOW_S = 60
_POLICY = '"default"'  # the name of the policy, as a structured field's string
_RESETS = tuple(f";t={seconds}" for seconds in range(WINDOW_S + 1))


class RateState(msgspec.Struct, frozen=True, gc=False):
    """A key's quota after one request: requests left now, and the seconds until it next grows."""

    limit: int
    remaining: int
    reset_s: float


class RateLimitReached(RateLimited):
    """429 with the state that the headers are made of."""

    def __init__(self, rate: RateState) -> None:
        super().__init__(
            f"The limit of {rate.limit} requests in {WINDOW_S} s is used up; "
            f"try again in {retry_after_s(rate.reset_s)} s.",
            retry_after_s=rate.reset_s,
        )
        self.rate = rate


def rate_fields(rate: RateState) -> tuple[str, str]:
    """The values of `RateLimit` and `RateLimit-Policy`, as draft-ietf-httpapi-ratelimit-headers has them.

    `RateLimit`: r requests may be sent now, and the quota next grows in t seconds; t is rounded up, so
    that who waits it out is let in. `RateLimit-Policy`: q requests in any w seconds. The microsecond by
    which a whole window has to be over passes on the way to the client, so t is never more than w.
    """
    t = math.ceil(rate.reset_s) if rate.reset_s < WINDOW_S else WINDOW_S
    return f"{_POLICY};r={rate.remaining}{_RESETS[t]}", _policy(rate.limit)


@lru_cache(1_024)
def _policy(limit: int) -> str:
    return f"{_POLICY};q={limit};w={WINDOW_S}"


def retry_after_s(reset_s: float) -> int:
    """Whole seconds for `Retry-After`, rounded up, so that who waits them out is let in; at least 1."""
    return max(1, math.ceil(reset_s))
