"""Queries of alerts, each run on rows that it must find and on rows that it must not find."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from infra.alerts import LOG_ALERTS, SLO_ALERTS
from tests.infra.alerts.burn_rows import BURNS, HOLDS
from tests.infra.alerts.kusto_queries import TABLES, Row, parsed, queries, run
from tests.infra.alerts.rows import (
    HOT,
    MINUTE,
    NOON,
    SUMMER_CLOSE,
    WINTER_CLOSE,
    Rows,
    bars,
    metric,
    model,
    requests,
    row,
)

HOUR = timedelta(hours=1)
ALERT_QUERIES = {alert.name: alert.query for alert in (*LOG_ALERTS, *SLO_ALERTS)}
FIRES: dict[str, list[Rows]] = {
    "requests-failing": [[metric("requests", 900), metric("requests", 100), metric("requests.failed", 11)]],
    "requests-slow": [
        requests(HOT, [5.0] * 90 + [150.0] * 10),
        requests("POST /api/trades", [20.0] * 90 + [1500.0] * 10),
    ],
    "outbox-age": [[metric("outbox.age", 0, NOON - MINUTE), metric("outbox.age", 121)]],
    "publish-slow": [[metric("publish.latency", 30, count=10)]],
    "signals-not-flowing": [
        [bars("stale", NOON)],
        [bars("fresh", NOON), bars("stale", NOON, "CL")],
        [bars("stale", SUMMER_CLOSE - MINUTE)],
        [bars("stale", WINTER_CLOSE - MINUTE)],
        [bars("stale", WINTER_CLOSE - timedelta(hours=6, minutes=30))],
    ],
    "no-signals": [
        [metric("signals.published", 0, NOON + timedelta(hours=2)), bars("fresh", NOON)],
        [metric("signals.published", 0, SUMMER_CLOSE - MINUTE), bars("fresh", SUMMER_CLOSE - 90 * MINUTE)],
    ],
    "bars-quarantined": [[metric("bars.quarantined", 0), metric("bars.quarantined", 1)]],
    "timers-stopped": [[], [metric("requests", 5)]],
    "model-retired": [[model("model", 50), model("model", 20), model("base_rate", 5, "v2")]],
    "training-frozen": [[metric("training.frozen", 0), metric("training.frozen", 1)]],
    "license-store-errors": [[metric("license_store.errors", 3), metric("license_store.errors", 2)]],
    "license-export-overdue": [
        [metric("outbox.age", 0, NOON - 27 * HOUR), metric("outbox.age", 0)],
        [
            metric("license_exports", 1, NOON - 27 * HOUR),
            metric("license_exports", 0),
            metric("outbox.age", 0, NOON - 40 * HOUR),
        ],
    ],
    "limiter-open": [[metric("limiter.open", 4), metric("limiter.open", 6)]],
    "connections-exceeded": [[metric("connections.exceeded", 20), metric("connections.exceeded", 30)]],
    "connections-uncounted": [[metric("connections.uncounted", 4), metric("connections.uncounted", 6)]],
    "payments-late": [[metric("payments.age", 0, NOON - MINUTE), metric("payments.age", 301)]],
    "payments-failed": [[metric("payments.failed", 0, NOON - MINUTE), metric("payments.failed", 1)]],
    "notification-parked": [[metric("notifications.parked", 4), metric("notifications.parked", 6)]],
    "defects": [
        [row("AppExceptions", ExceptionType="KeyError", ItemCount=20, AppRoleName="signal-cloud")],
    ],
    "logs-capped": [[row("_LogOperation", Category="Ingestion", Detail="The daily cap: OverQuota reached")]],
    **BURNS,
}
SILENT: dict[str, list[Rows]] = {
    "requests-failing": [
        [metric("requests", 2000), metric("requests.failed", 19)],
        [metric("requests", 9), metric("requests.failed", 9)],
        [metric("requests", 900)],
        [],
    ],
    "requests-slow": [
        requests(HOT, [5.0] * 96 + [150.0] * 4),
        requests(HOT, [500.0] * 4),
        requests("POST /api/trades", [900.0] * 100),
        requests("GET /api/health/ready", [2000.0] * 100),
        requests(HOT, [500.0] * 100, AppRoleName="func-signal-cloud"),
    ],
    "outbox-age": [
        [metric("outbox.age", 300, NOON - MINUTE), metric("outbox.age", 0)],
        [metric("outbox.age", 119)],
        [],
    ],
    "publish-slow": [[metric("publish.latency", 15, count=10)], []],
    "signals-not-flowing": [
        [bars("stale", NOON - MINUTE), bars("fresh", NOON)],
        [bars("closed", NOON)],
        [bars("stale", SUMMER_CLOSE + MINUTE)],
        [bars("stale", WINTER_CLOSE + MINUTE)],
        [bars("stale", WINTER_CLOSE - timedelta(hours=6, minutes=31))],
        [bars("stale", datetime(2026, 11, 28, 16, tzinfo=UTC))],  # Saturday
        [],
    ],
    "no-signals": [
        [metric("signals.published", 1, NOON + timedelta(hours=2)), bars("fresh", NOON)],
        [metric("signals.published", 0, NOON + timedelta(hours=2)), bars("closed", NOON)],
        [metric("signals.published", 0, NOON), bars("fresh", NOON)],  # in New York it is not yet noon
        [metric("signals.published", 0, SUMMER_CLOSE + MINUTE), bars("fresh", SUMMER_CLOSE)],
        [],
    ],
    "bars-quarantined": [[metric("bars.quarantined", 0)], []],
    "timers-stopped": [[metric("outbox.age", 0)]],
    "model-retired": [
        [model("model", 50), model("model", 5, "v2")],
        [model("base_rate", 50), model("base_rate", 5, "v2")],
        [model("base_rate", 50), model("model", 5)],
        [model("model", 5), model("base_rate", 5, "v9", "capitulation_reversal")],
        [],
    ],
    "training-frozen": [[metric("training.frozen", 0)], []],
    "license-store-errors": [[metric("license_store.errors", 4)], []],
    "license-export-overdue": [
        [metric("license_exports", 1, NOON - 25 * HOUR), metric("outbox.age", 0, NOON - 40 * HOUR)],
        [metric("outbox.age", 0, NOON - 25 * HOUR), metric("outbox.age", 0)],
        [],
    ],
    "limiter-open": [[metric("limiter.open", 9)], []],
    "connections-exceeded": [[metric("connections.exceeded", 49)], []],
    "connections-uncounted": [[metric("connections.uncounted", 9), metric("connections.exceeded", 99)], []],
    "payments-late": [
        [metric("payments.age", 400, NOON - MINUTE), metric("payments.age", 0)],
        [metric("payments.age", 299)],
        [],
    ],
    "payments-failed": [[metric("payments.failed", 3, NOON - MINUTE), metric("payments.failed", 0)], []],
    "notification-parked": [[metric("notifications.parked", 9)], []],
    "defects": [[], [row("AppExceptions", ExceptionType="X", ItemCount=1, AppRoleName="func-signal-cloud")]],
    "logs-capped": [
        [row("_LogOperation", Category="Ingestion", Detail="Data of type X was dropped")],
        [row("_LogOperation", Category="Limits", Detail="OverQuota")],
    ],
    **HOLDS,
}


def cases(table: dict[str, list[Rows]]) -> list[Any]:
    return [
        pytest.param(name, rows, id=f"{name}-{number}")
        for name, each in table.items()
        for number, rows in enumerate(each)
    ]


def test_every_alert_is_tried_both_ways() -> None:
    assert set(FIRES) == set(SILENT) == set(ALERT_QUERIES)
    assert all(FIRES.values())
    assert all(SILENT.values())


@pytest.mark.parametrize(("name", "rows"), cases(FIRES))
def test_an_alert_finds_what_is_wrong(name: str, rows: Rows) -> None:
    assert run(ALERT_QUERIES[name], rows, NOON)


@pytest.mark.parametrize(("name", "rows"), cases(SILENT))
def test_an_alert_is_silent_when_all_is_well(name: str, rows: Rows) -> None:
    assert run(ALERT_QUERIES[name], rows, NOON) == []


# What an alert reports of the rows that it must find: the first case of FIRES, or the one of that number.
REPORTED: dict[tuple[str, int], list[Row]] = {
    ("requests-failing", 0): [{"Failed": 11, "Requests": 1000, "FailedShare": 0.011}],
    ("requests-slow", 0): [{"Name": HOT, "P95Ms": 150, "Requests": 2000, "LimitMs": 100}],
    ("requests-slow", 1): [{"Name": "POST /api/trades", "P95Ms": 1500, "Requests": 2000, "LimitMs": 1000}],
    ("outbox-age", 0): [{"OldestS": 121}],
    ("publish-slow", 0): [{"AverageS": 3, "WorstS": 3, "Signals": 10}],
    ("signals-not-flowing", 1): [{"Symbol": "CL", "AgeS": 400}],
    ("bars-quarantined", 0): [{"Bars": 1}],
    ("timers-stopped", 1): [{"Readings": 0}],
    ("model-retired", 0): [{"Strategy": "vwap_bounce", "Version": "v2"}],
    ("training-frozen", 0): [{"Runs": 1}],
    ("license-store-errors", 0): [{"Errors": 5}],
    ("limiter-open", 0): [{"Uncounted": 10}],
    ("connections-exceeded", 0): [{"Refused": 50}],
    ("connections-uncounted", 0): [{"Uncounted": 10}],
}


@pytest.mark.parametrize(("name", "number"), REPORTED)
def test_an_alert_reports_what_is_wrong(name: str, number: int) -> None:
    assert run(ALERT_QUERIES[name], FIRES[name][number]) == REPORTED[name, number]


def test_a_defect_is_reported_with_the_trace_of_the_latest() -> None:
    def raised(minutes_ago: int, trace: str) -> tuple[str, Row]:
        at = (NOON - minutes_ago * MINUTE).replace(tzinfo=None)
        kind = {"ExceptionType": "KeyError", "ItemCount": 20, "AppRoleName": "signal-cloud"}
        return "AppExceptions", {"TimeGenerated": at, "OperationId": trace, **kind}

    (found,) = run(ALERT_QUERIES["defects"], [raised(2, "latest"), raised(9, "earlier")])
    assert (found["ExceptionType"], found["Errors"], found["OperationId"]) == ("KeyError", 40, "latest")


def test_only_the_stale_symbol_is_named() -> None:
    found = run(ALERT_QUERIES["signals-not-flowing"], [bars("fresh", NOON), bars("stale", NOON, "CL")])
    assert found == [{"Symbol": "CL", "AgeS": 400}]


def test_microsofts_parser_finds_nothing_wrong_with_any_query() -> None:
    for name, said in parsed(TABLES, queries()).items():
        assert said.problems == [], name
        assert said.tables, name


def test_microsofts_parser_would_find_a_wrong_name() -> None:
    wrong = {
        "column": "AppMetrics | where Nmae == 'x'",
        "table": "AppMetric | take 1",
        "function": "AppMetrics | extend x = datetime_utc_to_loca(TimeGenerated, 'UTC')",
        "syntax": "AppMetrics | wher Name == 'x'",
    }
    assert all(said.problems for said in parsed(TABLES, wrong).values())
