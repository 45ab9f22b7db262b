import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.access.rate_limit import RateLimitReached, RateState, rate_fields, retry_after_s


def test_the_headers_follow_the_draft() -> None:
    fields = rate_fields(RateState(limit=100, remaining=37, reset_s=12.01))
    assert fields == ('"default";r=37;t=13', '"default";q=100;w=60')


def test_quota_comes_back_within_the_window() -> None:
    """The first request of a window: take_requests.lua says 60.000001 s."""
    limit, _ = rate_fields(RateState(limit=100, remaining=99, reset_s=60.000001))
    assert limit == '"default";r=99;t=60'


@given(st.integers(1, 100_000), st.floats(0, 60))
def test_who_waits_as_told_has_waited_long_enough(limit: int, reset_s: float) -> None:
    state = RateState(limit=limit, remaining=0, reset_s=reset_s)
    told = re.fullmatch(r'"default";r=0;t=(\d+)', rate_fields(state)[0])
    assert told is not None
    assert reset_s <= int(told[1]) <= reset_s + 1
    assert max(1, int(told[1])) == retry_after_s(reset_s)


@pytest.mark.parametrize(("reset_s", "told"), [(0.0, 1), (0.2, 1), (1.0, 1), (1.000001, 2), (59.5, 60)])
def test_retry_after_is_rounded_up(reset_s: float, told: int) -> None:
    assert retry_after_s(reset_s) == told


def test_the_refusal_carries_the_state() -> None:
    rate = RateState(limit=100, remaining=0, reset_s=7.2)
    error = RateLimitReached(rate)
    assert error.code == "rate_limited"
    assert error.rate is rate
    assert error.retry_after_s == 7.2
    assert "100 requests in 60 s" in error.detail
    assert "8 s" in error.detail
