"""What an account may store under its plan."""

import pytest

from shared.domain.access.quotas import Usage, quota_refusal, require_room
from shared.errors import DailyQuotaExceeded, StorageQuotaExceeded
from tests.support.license_plans import a_plan

PLAN = a_plan(trades_per_day=10, stored_trades=100, stored_bytes=5_000)


@pytest.mark.parametrize("usage", [Usage(), Usage(10, 100, 5_000), Usage(9, 99, 4_999).plus(1, 1)])
def test_up_to_each_limit_there_is_room(usage: Usage) -> None:
    assert quota_refusal(usage, PLAN, 60.0) is None
    require_room(usage, PLAN, 60.0)


@pytest.mark.parametrize(
    ("usage", "told"),
    [
        (Usage(0, 101, 0), "100 stored trades"),
        (Usage(0, 100, 0).plus(1, 0), "100 stored trades"),
        (Usage(0, 0, 5_001), "5000 stored bytes of trades"),
        (Usage(0, 0, 4_900).plus(1, 101), "5000 stored bytes of trades"),
        (Usage(11, 101, 0), "100 stored trades"),
    ],
)
def test_full_storage_is_refused_without_a_time_to_wait(usage: Usage, told: str) -> None:
    with pytest.raises(StorageQuotaExceeded, match=told) as refused:
        require_room(usage, PLAN, 60.0)
    assert refused.value.retry_after_s is None


@pytest.mark.parametrize("usage", [Usage(11, 50, 0), Usage(10, 50, 0).plus(1, 90)])
def test_a_full_day_is_refused_until_midnight(usage: Usage) -> None:
    with pytest.raises(DailyQuotaExceeded, match="10 new trades a day") as refused:
        require_room(usage, PLAN, 3_600.5)
    assert refused.value.retry_after_s == 3_600.5


def test_a_report_counts_for_the_day_and_for_what_is_stored() -> None:
    assert Usage(1, 20, 300).plus(4, 50) == Usage(5, 24, 350)
