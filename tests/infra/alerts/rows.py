"""Builds rows of the workspace as Azure's exporter sends them."""

from datetime import UTC, datetime, timedelta
from typing import Any

from tests.infra.alerts.kusto_queries import Row

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
    """Sampled requests, each of which represents `weight` requests."""
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
