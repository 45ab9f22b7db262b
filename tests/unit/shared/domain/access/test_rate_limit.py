import pytest

from shared.domain.access.rate_limit import RateState, rate_limited, whole_seconds


@pytest.mark.parametrize(("reset_s", "told"), [(0.0, 1), (0.2, 1), (1.0, 1), (1.000001, 2), (59.5, 60)])
def test_retry_after_is_rounded_up(reset_s: float, told: int) -> None:
    assert whole_seconds(reset_s) == told


def test_the_refusal_carries_the_state() -> None:
    error = rate_limited(RateState(limit=100, remaining=0, reset_s=7.2))
    assert error.code == "rate_limited"
    assert error.quota == (100, 0, 7.2)
    assert error.retry_after_s == 7.2
    assert "100 requests in 60 s" in error.detail
    assert "8 s" in error.detail
