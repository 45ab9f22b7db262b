"""Queries of alerts and workbook: read by Microsoft's parser, each tried on what it must find, or not."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from infra.alerts import LOG_ALERTS
from tests.infra.alerts.kusto_queries import TABLES, Row, parsed, queries, run

ALERT_QUERIES = {alert.name: alert.query for alert in LOG_ALERTS}
# A Monday, 11:00 in New York.
NOON = datetime(2026, 11, 30, 16, tzinfo=UTC)

type Rows = list[tuple[str, Row]]


def metric(
    name: str, value: float, at: datetime = NOON, count: int = 1, **properties: str
) -> tuple[str, Row]:
    """One row as Azure's exporter sends a counter or gauge, or a histogram of `count` equal values."""
    per_one = value / count
    return "AppMetrics", {
        "TimeGenerated": at.replace(tzinfo=None),
        "Name": f"signal_cloud.{name}",
        "Sum": value,
        "Min": per_one,
        "Max": per_one,
        "ItemCount": count,
        "Properties": properties,
        "AppRoleName": "signal-cloud",
    }


def requests(name: str, durations_ms: list[float], weight: int = 20, **other: Any) -> Rows:
    """Sampled requests, each of which stands for `weight`."""
    return [
        (
            "AppRequests",
            {
                "TimeGenerated": NOON.replace(tzinfo=None),
                "Name": name,
                "DurationMs": duration_ms,
                "ItemCount": weight,
                "Success": True,
                "AppRoleName": "signal-cloud",
                **other,
            },
        )
        for duration_ms in durations_ms
    ]


def bars(state: str, at: datetime, symbol: str = "ES", age_s: float = 400) -> tuple[str, Row]:
    return metric("bars.age", age_s, at, symbol=symbol, state=state)


def model(
    basis: str, minutes_ago: int, version: str = "v1", strategy: str = "vwap_bounce"
) -> tuple[str, Row]:
    at = NOON - timedelta(minutes=minutes_ago)
    return metric("model.in_use", 1, at, strategy=strategy, version=version, basis=basis)


def row(table: str, **columns: Any) -> tuple[str, Row]:
    return table, {"TimeGenerated": NOON.replace(tzinfo=None), **columns}


HOT = "POST /api/ml/get_confidence"
SUMMER_CLOSE = datetime(2026, 7, 1, 20, tzinfo=UTC)  # Wednesday, 16:00 in New York, four hours behind UTC
WINTER_CLOSE = datetime(2026, 12, 2, 21, tzinfo=UTC)  # Wednesday, 16:00 in New York, five hours behind UTC
MINUTE = timedelta(minutes=1)

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
    "timers-stopped": [[], [metric("requests", 5)]],
    "model-retired": [[model("model", 50), model("model", 20), model("base_rate", 5, "v2")]],
    "license-store-errors": [[metric("license_store.errors", 3), metric("license_store.errors", 2)]],
    "limiter-open": [[metric("limiter.open", 4), metric("limiter.open", 6)]],
    "defects": [
        [row("AppExceptions", ExceptionType="KeyError", ItemCount=20, AppRoleName="signal-cloud")],
    ],
    "logs-capped": [[row("_LogOperation", Category="Ingestion", Detail="The daily cap: OverQuota reached")]],
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
    "timers-stopped": [[metric("outbox.age", 0)]],
    "model-retired": [
        [model("model", 50), model("model", 5, "v2")],
        [model("base_rate", 50), model("base_rate", 5, "v2")],
        [model("base_rate", 50), model("model", 5)],
        [model("model", 5), model("base_rate", 5, "v9", "capitulation_reversal")],
        [],
    ],
    "license-store-errors": [[metric("license_store.errors", 4)], []],
    "limiter-open": [[metric("limiter.open", 9)], []],
    "defects": [[], [row("AppExceptions", ExceptionType="X", ItemCount=1, AppRoleName="func-signal-cloud")]],
    "logs-capped": [
        [row("_LogOperation", Category="Ingestion", Detail="Data of type X was dropped")],
        [row("_LogOperation", Category="Limits", Detail="OverQuota")],
    ],
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
    assert run(ALERT_QUERIES[name], rows)


@pytest.mark.parametrize(("name", "rows"), cases(SILENT))
def test_an_alert_is_silent_when_all_is_well(name: str, rows: Rows) -> None:
    assert run(ALERT_QUERIES[name], rows) == []


def test_only_the_stale_symbol_is_named() -> None:
    found = run(ALERT_QUERIES["signals-not-flowing"], [bars("fresh", NOON), bars("stale", NOON, "CL")])
    assert found == [{"Symbol": "CL", "AgeS": 400}]


def test_percentiles_weigh_each_request_by_what_it_stands_for() -> None:
    rows = requests(HOT, [10.0], weight=96) + requests(HOT, [900.0], weight=4)
    assert run(queries()["workbook/latency"], rows)[0] | {"Failed": 0} == {
        "Name": HOT,
        "Requests": 100,
        "P50Ms": 10,
        "P95Ms": 10,
        "P99Ms": 900,
        "Failed": 0,
    }


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


def test_every_query_of_the_workbook_runs() -> None:
    sample = [metric("requests", 5), metric("bars.age", 5, symbol="ES", state="fresh"), *requests(HOT, [5.0])]
    for name, text in queries().items():
        if name.startswith("workbook/"):
            run(text, sample)
