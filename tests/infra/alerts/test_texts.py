"""Texts of alerts: they name their thresholds, and README.md and the runbooks have each alert."""

import re
from pathlib import Path

import pytest

from infra.alerts import AVAILABILITY, BUDGET_ALERTS, metric_alerts, usable_connections
from infra.components.monitoring import FAILED_LOCATIONS
from infra.offline.recording import Recording
from tests.infra.alerts.stack_alerts import SEVERITIES, alerts_of
from tests.infra.recording import VARIANTS, recorded

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(params=VARIANTS)
def stack(request: pytest.FixtureRequest) -> Recording:
    return recorded(request.param)


def limits_in(text: str) -> list[float]:
    found = re.findall(r"(?:over|[Mm]ore than|used) (\d+)\b", text)
    return [float(number) for number in found]


def test_texts_of_metric_alerts_name_their_thresholds(stack: Recording) -> None:
    """The words "over", "more than" and "used" are for values above a threshold, "fails" for values below."""
    derived = {
        "postgres-connections": usable_connections(stack.settings.postgres.sku) / 100,
        # Azure stops writes at 2 billion.
        "postgres-transaction-ids": 2_000_000_000 / 100,
    }
    for alert in metric_alerts(stack.settings):
        limits = limits_in(alert.says)
        if alert.operator == "LessThan":
            assert "fails" in alert.says or "does not answer" in alert.says
            assert not limits
        elif not limits:
            assert alert.threshold == 0, "one is too many"
            assert "evicts" in alert.says or "did not reach" in alert.says
        else:
            (limit,) = limits
            assert alert.threshold == round(limit * derived.get(alert.name, 1)), alert.name


def test_what_fails_is_below_all_of_what_is_well(stack: Recording) -> None:
    below = {a.name: a.threshold for a in metric_alerts(stack.settings) if a.operator == "LessThan"}
    assert below["postgres-down"] == 1, "is_db_alive is 1 or 0"
    assert below.get("app-unhealthy", 100) == 100, "a share of instances"
    # The probes of a passive region always fail.
    all_well = 50 if stack.settings.edge.second_origin_host else 100
    assert below.get("edge-origin", 50) <= all_well / 2, "a share of probes"


def test_the_text_of_the_availability_alert_names_its_locations() -> None:
    words = {2: "two", 5: "five"}
    locations = recorded("prod").only("Microsoft.Insights/webtests").inputs["locations"]
    assert f"least {words[FAILED_LOCATIONS]} of {words[len(locations)]} test" in AVAILABILITY.says


def test_texts_of_budget_alerts_name_their_shares() -> None:
    for alert in BUDGET_ALERTS:
        assert ("forecast" in alert.says) == (alert.kind == "Forecasted")
        assert ("80%" in alert.says) == (alert.percent == 80)


def described_alerts() -> dict[str, tuple[str, str]]:
    """Severity and text of each alert, from the README of infra."""
    readme = (ROOT / "infra" / "README.md").read_text()
    section = readme.split("\n## Alerts\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| `([a-z0-9-]+)` \| ([a-z]+) \| (.+) \|$", section, flags=re.MULTILINE)
    return {name: (severity, says) for name, severity, says in rows}


def test_every_alert_is_described() -> None:
    made = {alert.name: alert for variant in VARIANTS for alert in alerts_of(recorded(variant).settings)}
    expected = {name: (SEVERITIES[alert.severity], alert.says) for name, alert in made.items()}
    expected |= {alert.name: ("budget", alert.says) for alert in BUDGET_ALERTS}
    assert described_alerts() == expected


def test_every_alert_has_a_runbook() -> None:
    operations = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    headings = set(re.findall(r"^#+ `?([a-z0-9-]+)`?$", operations, flags=re.MULTILINE))
    assert set(described_alerts()) <= headings
