"""The values that telemetry reads of this process and of the system."""

from datetime import UTC, datetime
from typing import Any

import pytest

from shared.domain.market.feeds import FeedHealth
from shared.domain.market.signals import Latency
from shared.domain.payments.inbox import Backlog
from shared.errors import DatabaseUnavailable
from shared.metrics import METRICS, MetricName
from shared.services.measurements import REFRESH_S, STALE_AFTER_S, Measurements
from shared.services.status import ModelInUse, OutboxStatus, Status

NOW = datetime(2025, 10, 14, 14, 6, tzinfo=UTC)
STATUS = Status(
    version="1",
    now=NOW,
    market_now=NOW,
    counts=None,
    outbox=OutboxStatus(4, 12.5),
    payments=Backlog(3, 301.5, 1),
    publish_latency=Latency(0, None, None, None),
    last_sequences={},
    feeds=[FeedHealth(symbol="ES", state="stale", age_s=400.0, last_open_time=NOW, source="live")],
    models=[ModelInUse("a", "a-1", "model", NOW), ModelInUse("b", None, "base_rate", None)],
)
COUNTS = {
    "signal_cloud.requests": "requests",
    "signal_cloud.requests.failed": "requests_failed",
    "signal_cloud.limiter.open": "limiter_open",
    "signal_cloud.connections.exceeded": "connections_exceeded",
    "signal_cloud.connections.uncounted": "connections_uncounted",
    "signal_cloud.training.frozen": "training_frozen",
    "signal_cloud.bars.quarantined": "bars_quarantined",
    "signal_cloud.confidence.asked": "confidence_asked",
    "signal_cloud.confidence.cached": "confidence_cached",
    "signal_cloud.confidence.computed": "confidence_computed",
    "signal_cloud.signals.published": "signals_published",
    "signal_cloud.trades.written": "trades_recorded",
    "signal_cloud.license_exports": "license_exports",
    "signal_cloud.notifications.sent": "notifications_sent",
    "signal_cloud.notifications.unanswered": "notifications_unanswered",
    "signal_cloud.notifications.parked": "notifications_parked",
}


class World:
    """The process, whose counts are numbered in the order of COUNTS, and a system that can be away."""

    error_count = 3

    def __init__(self) -> None:
        self.now = 0.0
        self.asked = 0
        self.away = False
        self.measurements = Measurements(self, self, self._status, lambda: self.now)

    @staticmethod
    def process_totals() -> dict[str, int]:
        numbered = {name: number for number, name in enumerate(COUNTS.values(), 1)}
        return {**numbered, "refused.key_missing": 1, "refused.rate_limited": 4}

    async def _status(self) -> Status:
        self.asked += 1
        if self.away:
            raise DatabaseUnavailable("The database cannot be reached.")
        return STATUS

    def read(self, metric: str) -> list[tuple[float, dict[str, Any]]]:
        points = self.measurements.points(MetricName(f"signal_cloud.{metric}"))
        return [(point.value, dict(point.attributes or {})) for point in points]


def test_each_counter_reads_its_own_count() -> None:
    world = World()
    for number, metric in enumerate(COUNTS, 1):
        assert world.read(metric.removeprefix("signal_cloud.")) == [(number, {})]


def test_refusals_are_counted_by_code() -> None:
    assert World().read("requests.refused") == [(1, {"code": "key_missing"}), (4, {"code": "rate_limited"})]


def test_errors_of_the_license_store_are_its_own_count() -> None:
    assert World().read("license_store.errors") == [(3, {})]


def test_what_was_never_counted_is_zero() -> None:
    class Quiet(World):
        @staticmethod
        def process_totals() -> dict[str, int]:
            return {}

    assert Quiet().read("requests") == [(0, {})]
    assert Quiet().read("requests.refused") == []


async def test_the_system_is_told_as_it_was_last_read() -> None:
    world = World()
    gauges = ("outbox.depth", "outbox.age", "bars.age", "model.in_use")
    assert [world.read(gauge) for gauge in gauges] == [[], [], [], []]
    await world.measurements.refresh()
    assert world.read("outbox.depth") == [(4, {})]
    assert world.read("outbox.age") == [(12.5, {})]
    assert world.read("payments.age") == [(301.5, {})]
    assert world.read("payments.failed") == [(1, {})]
    assert world.read("bars.age") == [(400.0, {"symbol": "ES", "state": "stale"})]
    assert world.read("model.in_use") == [
        (1, {"strategy": "a", "version": "a-1", "basis": "model"}),
        (1, {"strategy": "b", "version": "untrained", "basis": "base_rate"}),
    ]
    world.now = STALE_AFTER_S
    assert world.read("outbox.depth") == [(4, {})]
    world.now += 0.1
    assert [world.read(gauge) for gauge in gauges] == [[], [], [], []]


async def test_the_status_is_read_once_in_a_while() -> None:
    world = World()
    await world.measurements.refresh()
    world.now = REFRESH_S - 0.1
    await world.measurements.refresh()
    assert world.asked == 1
    world.now = REFRESH_S
    await world.measurements.refresh()
    assert world.asked == 2


async def test_an_outage_is_raised_and_leaves_what_was_read() -> None:
    world = World()
    await world.measurements.refresh()
    world.now, world.away = REFRESH_S, True
    with pytest.raises(DatabaseUnavailable):
        await world.measurements.refresh()
    assert world.read("outbox.depth") == [(4, {})]


async def test_the_status_is_never_read_while_telemetry_is_off() -> None:
    world = World()
    measurements = Measurements(world, world, world._status, lambda: world.now, is_read=False)
    await measurements.refresh()
    assert world.asked == 0
    assert measurements.points(MetricName.OUTBOX_DEPTH) == []


def test_every_metric_is_declared_once_and_a_counter_says_what_it_reads() -> None:
    assert [metric.name for metric in METRICS] == list(MetricName)
    assert {metric.name: metric.count for metric in METRICS if metric.count is not None} == COUNTS
    assert {metric.name for metric in METRICS if metric.kind == "counter"} == {
        *COUNTS,
        "signal_cloud.requests.refused",
        "signal_cloud.license_store.errors",
    }
    assert {metric.name for metric in METRICS if metric.kind == "histogram"} == {
        "signal_cloud.publish.latency"
    }


async def test_the_histogram_has_no_points() -> None:
    world = World()
    await world.measurements.refresh()
    with pytest.raises(KeyError):
        world.read("publish.latency")
