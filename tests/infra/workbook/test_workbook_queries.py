"""The workbook's queries, each run on rows whose right answer is known."""

from datetime import timedelta

import pytest

from tests.infra.alerts.kusto_queries import Row, queries, run
from tests.infra.alerts.rows import HOT, MINUTE, NOON, Rows, bars, metric, model, requests, row

FIVE_MINUTES = timedelta(minutes=5)
AT = NOON.replace(tzinfo=None)


def dependency(name: str, duration_ms: float, *, success: bool, weight: int) -> tuple[str, Row]:
    values = {"DependencyType": "redis", "Name": name, "DurationMs": duration_ms, "Success": success}
    return row("AppDependencies", ItemCount=weight, AppRoleName="signal-cloud", **values)


def reached_from(location: str, *, success: bool) -> tuple[str, Row]:
    return row("AppAvailabilityResults", Location=location, Success=success, DurationMs=80.0)


def _budget(level: str, objective: float, total: float, bad: float, *, measured: float, left: float) -> Row:
    return {
        "Level": level,
        "Objective": objective,
        "Total": total,
        "Bad": bad,
        "Measured": pytest.approx(measured),
        "BudgetLeft": pytest.approx(left),
    }


# Of 1,000 requests 4 failed, of 20 confidences 3 were slow, and one minute of two had a late signal.
LEVELS = [
    metric("requests", 1000),
    metric("requests.failed", 4),
    *requests(HOT, [20.0], weight=17),
    *requests(HOT, [101.0], weight=3),
    metric("outbox.age", 9, NOON - MINUTE),
    metric("publish.latency", 2.5),
]
MIDNIGHT = AT.replace(hour=0)

CASES: dict[str, tuple[Rows, list[Row]]] = {
    "availability": (
        [reached_from("Virginia", success=True)] * 3 + [reached_from("Virginia", success=False)],
        [{"Location": "Virginia", "Tests": 4, "Passed": 3, "P95Ms": 80, "Availability": 75}],
    ),
    "confidence": (
        [
            metric("confidence.asked", 10),
            metric("confidence.asked", 5),
            metric("confidence.cached", 12),
            metric("confidence.computed", 3),
            metric("requests", 99),
        ],
        [
            {"TimeGenerated": AT, "Name": "signal_cloud.confidence.asked", "States": 15},
            {"TimeGenerated": AT, "Name": "signal_cloud.confidence.cached", "States": 12},
            {"TimeGenerated": AT, "Name": "signal_cloud.confidence.computed", "States": 3},
        ],
    ),
    "dependencies": (
        [
            dependency("EVALSHA", 1, success=True, weight=96),
            dependency("EVALSHA", 9, success=False, weight=4),
            dependency("GET", 2, success=True, weight=1),
        ],
        [
            {"DependencyType": "redis", "Name": "EVALSHA", "Calls": 100, "P95Ms": 1, "Failed": 4},
            {"DependencyType": "redis", "Name": "GET", "Calls": 1, "P95Ms": 2, "Failed": 0},
        ],
    ),
    "feeds": (
        [bars("fresh", NOON - MINUTE, age_s=10), bars("stale", NOON, age_s=400)],
        [{"Symbol": "ES", "State": "stale", "AgeS": 400, "At": AT}],
    ),
    "latency": (
        requests(HOT, [10.0], weight=96) + requests(HOT, [900.0], weight=4, Success=False),
        [{"Name": HOT, "Requests": 100, "P50Ms": 10, "P95Ms": 10, "P99Ms": 900, "Failed": 4}],
    ),
    "models": (
        [model("model", 50), model("model", 20), model("base_rate", 5, "v2")],
        [
            {
                "Strategy": "vwap_bounce",
                "Version": "v2",
                "Basis": "base_rate",
                **dict.fromkeys(("From", "To"), AT - FIVE_MINUTES),
            },
            {
                "Strategy": "vwap_bounce",
                "Version": "v1",
                "Basis": "model",
                "From": AT - 10 * FIVE_MINUTES,
                "To": AT - 4 * FIVE_MINUTES,
            },
        ],
    ),
    "outages": (
        [metric("limiter.open", 4), metric("limiter.open", 6), metric("license_store.errors", 3)],
        [
            {"TimeGenerated": AT, "Name": "signal_cloud.license_store.errors", "Count": 3},
            {"TimeGenerated": AT, "Name": "signal_cloud.limiter.open", "Count": 10},
        ],
    ),
    "publishing": (
        [metric("publish.latency", 6, count=2), metric("publish.latency", 1), metric("outbox.age", 9)],
        [
            {"TimeGenerated": AT, "Name": "signal_cloud.outbox.age", "SlowestS": 9},
            {"TimeGenerated": AT, "Name": "signal_cloud.publish.latency", "SlowestS": 3},
        ],
    ),
    "refused": (
        [
            metric("requests.refused", 2, code="rate_limited"),
            metric("requests.refused", 3, code="rate_limited"),
            metric("requests.refused", 1, code="license_expired"),
        ],
        [
            {"TimeGenerated": AT, "Code": "license_expired", "Requests": 1},
            {"TimeGenerated": AT, "Code": "rate_limited", "Requests": 5},
        ],
    ),
    "notifications": (
        [metric("notifications.sent", 2), metric("notifications.sent", 1), metric("notifications.parked", 7)],
        [
            {"TimeGenerated": AT, "Name": "signal_cloud.notifications.sent", "Count": 3},
            {"TimeGenerated": AT, "Name": "signal_cloud.notifications.parked", "Count": 7},
        ],
    ),
    "requests": (
        [metric("requests", 9), metric("requests", 1), metric("requests.failed", 2)],
        [{"TimeGenerated": AT, "Requests": 10, "Failed": 2}],
    ),
    "signals": (
        [metric("signals.published", 2), metric("signals.published", 1), metric("trades.written", 7)],
        [
            {"TimeGenerated": AT, "Name": "signal_cloud.signals.published", "Count": 3},
            {"TimeGenerated": AT, "Name": "signal_cloud.trades.written", "Count": 7},
        ],
    ),
    "slo-budget": (
        LEVELS,
        [
            _budget("Availability", 99.5, 1000, 4, measured=99.6, left=20),
            _budget("Confidence", 95, 20, 3, measured=85, left=-200),
            _budget("Signal delay", 99.5, 2, 1, measured=50, left=-9_900),
        ],
    ),
    "slo-burn": (
        LEVELS[:4],
        [
            {"TimeGenerated": AT, "Level": "Availability", "Burn": pytest.approx(0.8)},
            {"TimeGenerated": AT, "Level": "Confidence", "Burn": pytest.approx(3)},
        ],
    ),
    "slo-history": (
        LEVELS,
        [
            {"TimeGenerated": MIDNIGHT, "Level": "Availability", "Measured": pytest.approx(99.6)},
            {"TimeGenerated": MIDNIGHT, "Level": "Confidence", "Measured": pytest.approx(85)},
            {"TimeGenerated": MIDNIGHT, "Level": "Signal delay", "Measured": pytest.approx(50)},
        ],
    ),
    "volume": (
        [
            row("Usage", DataType="AppMetrics", Quantity=1500.0, IsBillable=True),
            row("Usage", DataType="AppMetrics", Quantity=500.0, IsBillable=True),
            row("Usage", DataType="Heartbeat", Quantity=900.0, IsBillable=False),
        ],
        [{"TimeGenerated": AT.replace(hour=0), "DataType": "AppMetrics", "Gigabytes": 2}],
    ),
    "waiting": (
        [metric("outbox.depth", 4), metric("outbox.depth", 7)],
        [{"TimeGenerated": AT, "Messages": 7}],
    ),
}


def test_every_query_of_the_workbook_is_tried() -> None:
    assert {f"workbook/{name}" for name in CASES} == {
        name for name in queries() if name.startswith("workbook/")
    }


@pytest.mark.parametrize("name", CASES)
def test_a_query_reports_the_right_values(name: str) -> None:
    rows, expected = CASES[name]

    def by_content(found: list[Row]) -> list[Row]:
        return sorted(found, key=lambda each: sorted((key, str(value)) for key, value in each.items()))

    assert by_content(run(queries()[f"workbook/{name}"], rows)) == by_content(expected)


@pytest.mark.parametrize(("name", "column"), [("dependencies", "Name"), ("models", "Version")])
def test_a_table_begins_with_the_most_important_row(name: str, column: str) -> None:
    rows, expected = CASES[name]
    found = run(queries()[f"workbook/{name}"], rows)
    assert [each[column] for each in found] == [each[column] for each in expected]


def test_every_query_of_the_workbook_runs() -> None:
    sample = [metric("requests", 5), metric("bars.age", 5, symbol="ES", state="fresh"), *requests(HOT, [5.0])]
    for name, text in queries().items():
        if name.startswith("workbook/"):
            run(text, sample)
