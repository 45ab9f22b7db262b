"""When a budget starts: Azure refuses a month that is over, and a change of the start."""

from datetime import date

import pytest

from infra.components.monitoring import first_month
from infra.offline.azure_answers import TODAY
from infra.offline.recording import Resource
from tests.infra.recording import VARIANTS, recorded, recorded_with


def budget_of(**changed: str) -> Resource:
    return recorded_with("prod", **changed).only("Microsoft.Consumption/budgets")


@pytest.mark.parametrize(
    ("wanted", "today", "starts"),
    [
        ("", date(2026, 12, 15), "2026-12-01"),
        ("", date(2027, 1, 1), "2027-01-01"),
        ("2026-12-01", date(2026, 12, 31), "2026-12-01"),
        ("2027-03-01", date(2026, 12, 31), "2027-03-01"),
        # A file that was copied from an older stack, or a stack that is made later than was planned.
        ("2026-12-01", date(2027, 1, 1), "2027-01-01"),
    ],
)
def test_a_budget_starts_in_no_month_that_is_over(wanted: str, today: date, starts: str) -> None:
    assert first_month(wanted, today) == f"{starts}T00:00:00Z"


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_later_month_changes_no_budget_that_exists(variant: str) -> None:
    budget = recorded(variant).only("Microsoft.Consumption/budgets")
    assert budget.inputs["timePeriod"] == {"startDate": f"{TODAY.replace(day=1)}T00:00:00Z"}
    assert budget.ignore_changes == ("timePeriod.startDate",)


def test_the_stack_s_month_is_used_while_it_lies_ahead() -> None:
    assert budget_of(budget_start="2027-02-01").inputs["timePeriod"]["startDate"] == "2027-02-01T00:00:00Z"
    assert budget_of(budget_start="2025-02-01").inputs["timePeriod"]["startDate"] == "2026-12-01T00:00:00Z"
