"""Service levels as data: their files, their alerts on each stack, and what their figures mean."""

import re
from pathlib import Path

import pytest

from infra.alerts import SLO_ALERTS
from infra.slo import ServiceLevels, minutes, query_files, read_levels
from tests.infra.alerts.burn_rows import availability, confidence, signals
from tests.infra.alerts.kusto_queries import INFRA, queries, run
from tests.infra.alerts.rows import NOON, metric
from tests.infra.recording import recorded, recorded_with

ROOT = Path(__file__).resolve().parents[3]
LEVELS = read_levels()
LOG_RULE = "Microsoft.Insights/scheduledQueryRules"


def test_the_files_are_what_the_command_writes() -> None:
    files = query_files(LEVELS, INFRA)
    for path, text in files.items():
        assert path.read_text(encoding="utf-8") == text, f"run python -m infra.slo: {path}"
    assert set(INFRA.rglob("slo-*.kql")) == set(files)


def test_burn_rates_are_those_of_the_site_reliability_workbook() -> None:
    """14.4 and 6 by its table; 1.5 over two days is its 1 over three days, as a share of the budget."""
    fast, slow = LEVELS.alerts
    assert [(pair.long, pair.short, pair.burn) for pair in fast.pairs] == [
        ("1h", "5m", 14.4),
        ("6h", "30m", 6),
    ]
    (pair,) = slow.pairs
    assert minutes(pair.long) * pair.burn == 3 * 24 * 60 * 1
    for pair in (*fast.pairs, *slow.pairs):
        assert minutes(pair.long) == 12 * minutes(pair.short)
        assert minutes(pair.long) <= 2 * 24 * 60, "an Azure log alert looks back two days at most"


def test_a_level_can_burn_as_fast_as_its_alerts_ask() -> None:
    for level in LEVELS.levels:
        for alert in LEVELS.alerts:
            assert all(pair.burn * level.budget < 1 for pair in alert.pairs), level.name


def test_a_window_of_whole_weeks_has_as_many_sessions_each_time() -> None:
    assert LEVELS.window_days % 7 == 0


def rules_of(stack: str, **changed: str) -> set[str]:
    rules = recorded_with(stack, **changed).of_type(LOG_RULE)
    return {rule.own_name for rule in rules if rule.own_name.startswith("slo-")}


@pytest.mark.parametrize("stack", ["prod", "premium"])
def test_stacks_with_customers_have_every_alert(stack: str) -> None:
    assert rules_of(stack) == {alert.name for alert in SLO_ALERTS}
    assert not rules_of(stack, slo_alerts="false")


def test_dev_has_none_because_each_costs_money() -> None:
    assert rules_of("dev") == set()
    assert "slo-budget" in recorded("dev").only("Microsoft.Insights/workbooks").inputs["serializedData"]


def test_a_fast_burn_wakes_somebody_and_a_slow_one_does_not() -> None:
    levels = {alert.name.rsplit("-", 1)[-1]: alert.level for alert in SLO_ALERTS}
    assert levels == {"fast": "wake", "slow": "day"}


def budgets(*spells: tuple[int, int, float]) -> dict[str, tuple[float, float]]:
    """Measured percentage and budget left of each level, from the workbook's query."""
    rows = availability(*spells) + confidence(*spells) + signals(*spells, step=4)
    found = run(queries()["workbook/slo-budget"], rows, NOON)
    return {row["Level"]: (round(row["Measured"], 2), round(row["BudgetLeft"], 1)) for row in found}


def test_a_budget_is_full_without_and_used_up_with_as_many_bad_events_as_allowed() -> None:
    assert budgets() == dict.fromkeys(("Availability", "Confidence", "Signal delay"), (100, 100))
    found = budgets((0, 2880, 0.005))
    assert found["Availability"] == (99.5, 0)
    assert found["Signal delay"][0] == pytest.approx(99.5, abs=0.1)
    assert found["Confidence"] == (99.5, 90)
    assert budgets((0, 2880, 0.05))["Confidence"] == (95, 0)
    assert budgets((0, 2880, 0.01))["Availability"] == (99, -100), "overdrawn"


def test_the_alert_and_the_workbook_measure_the_same_burn() -> None:
    rows = availability((0, 360, 0.04))
    (alert,) = run(queries()["alerts/slo-availability-fast"], rows, NOON)
    burns = {row["TimeGenerated"]: row["Burn"] for row in run(queries()["workbook/slo-burn"], rows, NOON)}
    assert alert["Burn6h"] == pytest.approx(8)
    assert burns[NOON.replace(hour=12, tzinfo=None)] == pytest.approx(8)
    assert burns[NOON.replace(hour=2, tzinfo=None)] == 0


def test_nothing_measured_is_neither_good_nor_bad() -> None:
    for name in ("slo-budget", "slo-burn", "slo-history"):
        assert run(queries()[f"workbook/{name}"], [metric("requests", 0)], NOON) == []


def described() -> dict[str, tuple[str, str]]:
    text = (ROOT / "docs" / "slo.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\w[\w ]+) \| ([0-9.]+)% \| (.+?) \|", text, flags=re.MULTILINE)
    return {title: (objective, promise) for title, objective, promise in rows}


def test_the_document_states_the_levels(levels: ServiceLevels = LEVELS) -> None:
    assert described() == {level.title: (f"{level.objective:g}", level.promise) for level in levels.levels}
    text = (ROOT / "docs" / "slo.md").read_text(encoding="utf-8")
    assert f"{levels.window_days} days" in text
