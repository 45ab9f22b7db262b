"""The refusal of a request over a limit, and which limits a license has."""

import pytest

from shared.domain.access.rate_limit import (
    Limits,
    LimitState,
    RateState,
    limits_of,
    rate_limited,
    whole_seconds,
)
from tests.support.license_plans import a_plan


@pytest.mark.parametrize(("reset_s", "told"), [(0.0, 1), (0.2, 1), (1.0, 1), (1.000001, 2), (59.5, 60)])
def test_retry_after_is_rounded_up(reset_s: float, told: int) -> None:
    assert whole_seconds(reset_s) == told


def test_the_refusal_carries_the_state() -> None:
    error = rate_limited(RateState(limit=100, remaining=0, reset_s=7.2))
    assert error.code == "rate_limited"
    assert error.quota == (100, 0, 7.2, ())
    assert error.retry_after_s == 7.2
    assert "100 requests in 60 s" in error.detail
    assert "8 s" in error.detail


BURST, LICENSE = LimitState("burst", 5, 1, 0, 0.4), LimitState("license", 150, 60, 2, 21.5)


@pytest.mark.parametrize(
    ("refused_by", "cost", "told", "wait_s"),
    [
        ("key", 1, "The limit of 100 requests in 60 s is used up; try again in 8 s.", 7.2),
        ("burst", 1, "The burst limit of 5 requests in 1 s is used up; try again in 1 s.", 0.4),
        (
            "license",
            9,
            "This request needs 9 of the limit of all keys of the license of 150 requests in 60 s, and 2 are "
            "left; try again in 22 s.",
            21.5,
        ),
    ],
)
def test_the_refusal_says_which_limit_and_waits_for_that(
    refused_by: str, cost: int, told: str, wait_s: float
) -> None:
    error = rate_limited(RateState(100, 3, 7.2, (BURST, LICENSE), refused_by), cost)
    assert (error.detail, error.retry_after_s) == (told, wait_s)
    assert error.quota == (100, 3, 7.2, (BURST, LICENSE))


@pytest.mark.parametrize(
    ("values", "limits"),
    [
        ({}, Limits(100)),
        ({"requests_per_second": 99}, Limits(100, burst=99)),
        ({"requests_per_second": 100}, Limits(100)),
        ({"license_requests_per_minute": 150, "keys": 1}, Limits(100, license=150)),
        # Keys from before a change to a plan with fewer keys still work, so this can refuse, too.
        ({"license_requests_per_minute": 200, "keys": 1}, Limits(100, license=200)),
    ],
)
def test_a_key_has_the_limits_of_its_terms(values: dict[str, int], limits: Limits) -> None:
    assert limits_of(a_plan(**values)) == limits
