"""Traces and metrics with OpenTelemetry's SDK and real exporters, and the numbers that are reported."""

import asyncio
import json
import logging
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import azure.functions as func
import msgspec
import pytest
from azure.monitor.opentelemetry.exporter.export.metrics._exporter import (
    APPLICATION_INSIGHTS_METRIC_TEMPORALITIES,
)
from opentelemetry.metrics import Observation

from shared import telemetry
from shared.adapters import telemetry_start
from shared.adapters.open_telemetry import TEMPORALITY, OpenTelemetry, file_exporters
from shared.adapters.redis import RedisStore
from shared.container import Container
from shared.errors import ConfigurationError, DatabaseUnavailable
from shared.metrics import METRICS, MetricName
from shared.services.counters import Counters
from shared.services.measurements import COUNTED, STALE_AFTER_S, Measurements
from shared.services.status import Status
from shared.settings import Settings, TelemetrySettings
from shared.telemetry import SERVICE
from tests.support.places import ROOT

RATIO = 0.25


class Sent:
    """What telemetry sends to a file while every request is traced."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.sdk = OpenTelemetry(
            [file_exporters(str(path))], observe=lambda name: [Observation(1, {"of": name})]
        )

    def lines(self) -> list[dict[str, Any]]:
        self.sdk.close()
        return [json.loads(line) for line in self._path.read_text().splitlines()]

    def spans(self) -> list[dict[str, Any]]:
        return [
            span
            for line in self.lines()
            for resource in line.get("resourceSpans", ())
            for scope in resource["scopeSpans"]
            for span in scope["spans"]
        ]


@pytest.fixture
def sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sent]:
    made = Sent(tmp_path / "sent.jsonl")
    # In the place of set_for_process, which a process can do only once.
    monkeypatch.setattr(telemetry, "_tracer", made.sdk.traces.get_tracer(SERVICE))
    monkeypatch.setattr(telemetry, "random", lambda: 0.0)
    telemetry.sample(RATIO)
    yield made
    telemetry.sample(0.0)


def request(url: str = "http://h/api/x", **headers: str) -> func.HttpRequest:
    route_params = {"license_id": "lic_1"} if "lic_1" in url else {}
    return func.HttpRequest(
        method="GET", url=url, headers=headers, params={}, route_params=route_params, body=b""
    )


async def answer(value: int) -> int:
    return value


async def test_without_the_sdk_nothing_is_traced_and_nothing_is_in_the_way() -> None:
    assert telemetry.begin(request()) is None
    waiting = answer(3)
    assert telemetry.traced(waiting, "op", "redis") is waiting
    assert await waiting == 3
    telemetry.publish_latency.record(0.1)


async def test_about_the_asked_share_of_requests_is_traced(
    sent: Sent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(telemetry, "random", random.random)
    traces = [telemetry.begin(request(traceparent=f"00-{n:032x}-{n:016x}-01")) for n in range(1, 2001)]
    # Five standard deviations around 500.
    assert 400 < sum(trace is not None for trace in traces) < 600
    assert sent.spans() == []  # begun and never ended


async def test_a_request_that_cannot_be_traced_is_answered(sent: Sent) -> None:
    assert telemetry.begin(request("http://[/api/x")) is None
    assert telemetry.begin(request()) is not None


async def test_calls_of_a_sampled_request_hang_below_it_and_weigh_what_it_stands_for(sent: Sent) -> None:
    trace = telemetry.begin(request("http://h/api/ops/licenses/lic_1?x=1"))
    assert trace is not None
    assert await telemetry.traced(answer(3), "take_requests", "redis") == 3
    telemetry.end(trace, "id-1", 200)
    waiting = answer(4)
    assert telemetry.traced(waiting, "take_requests", "redis") is waiting
    await waiting
    call, asked = sent.spans()
    assert asked["name"] == "GET /api/ops/licenses/{license_id}"
    assert (call["name"], call["parentSpanId"]) == ("take_requests", asked["spanId"])
    for span in (call, asked):
        assert {"key": "_MS.sampleRate", "value": {"doubleValue": RATIO * 100}} in span["attributes"]


async def test_the_script_call_that_requests_share_belongs_to_the_trace_of_none(
    sent: Sent, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def not_cached(*commands: tuple[str, ...]) -> list[Any]:
        return [[[[-1, -1, 0, 0, None]], []]]

    store = RedisStore("redis://127.0.0.1:1")
    monkeypatch.setattr(store._connection, "ask", not_cached)
    trace = telemetry.begin(request())
    assert trace is not None
    assert await store.take_request("hash") is None
    telemetry.end(trace, "id-1", 200)
    assert [span["name"] for span in sent.spans()] == ["take_requests", "GET /api/x"]
    await store.close()


async def test_a_call_that_fails_is_marked_and_fails_all_the_same(sent: Sent) -> None:
    async def away() -> int:
        raise DatabaseUnavailable("away")

    trace = telemetry.begin(request())
    assert trace is not None
    with pytest.raises(DatabaseUnavailable):
        await telemetry.traced(away(), "SELECT", "postgresql")
    telemetry.end(trace, "id-1", 503, "database_unavailable")
    assert [span["status"]["code"] for span in sent.spans()] == [2, 2]


async def test_a_task_that_outlives_its_request_adds_nothing_to_it(sent: Sent) -> None:
    trace = telemetry.begin(request())
    assert trace is not None
    late = telemetry.traced(answer(1), "late", "redis")
    telemetry.end(trace, "id-1", 200)
    assert await late == 1
    assert len(sent.spans()) == 1


async def test_an_unexpected_error_is_kept_with_its_traceback(sent: Sent) -> None:
    trace = telemetry.begin(request())
    assert trace is not None
    with pytest.raises(KeyError) as caught:
        dict[str, int]()["defect"]
    trace.record_exception(caught.value)
    telemetry.end(trace, "id-1", 500, "internal")
    (event,) = sent.spans()[0]["events"]
    told = {each["key"]: each["value"]["stringValue"] for each in event["attributes"]}
    assert told["exception.type"] == "KeyError"
    assert "defect" in told["exception.stacktrace"]


def test_the_file_aggregates_as_application_insights_does() -> None:
    azure = {kind.__name__: value for kind, value in APPLICATION_INSIGHTS_METRIC_TEMPORALITIES.items()}
    ours = {kind.__name__: value for kind, value in TEMPORALITY.items()}
    assert ours.items() <= azure.items()


def test_neither_the_app_nor_its_telemetry_loads_the_sdk() -> None:
    program = (
        "import sys, function_app, shared.telemetry, shared.container, shared.services.measurements; "
        "import shared.adapters.postgres, shared.adapters.redis, shared.adapters.tables; "
        "import shared.adapters.telemetry_start; "
        "heavy = ('opentelemetry.sdk', 'opentelemetry.exporter', 'azure.monitor'); "
        "print([name for name in sys.modules if name.startswith(heavy)])"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == "[]"


async def started(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, times: int, file: str
) -> list[str]:
    """What the log says after telemetry was started `times` times."""
    caplog.set_level(logging.INFO, logger="shared.adapters.telemetry_start")
    monkeypatch.setattr(telemetry_start, "START_AFTER_S", 0.0)
    monkeypatch.setattr(telemetry_start, "_start_once", threading.Lock())
    monkeypatch.setattr(OpenTelemetry, "set_for_process", lambda sdk: sdk.close())
    threads = {threading.current_thread()}

    def observe() -> telemetry_start.Observe:
        # In the loop's own thread, which the adapters behind it belong to.
        threads.add(threading.current_thread())
        return lambda name: []

    for _ in range(times):
        destinations = TelemetrySettings(file=file, sample_ratio=RATIO)
        telemetry_start.start_later(asyncio.get_running_loop(), destinations, observe)
    deadline = time.monotonic() + 10
    while not caplog.messages:
        assert time.monotonic() < deadline, "telemetry did not start in time"
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.05)
    assert len(threads) == 1
    return caplog.messages


async def test_telemetry_starts_once_a_process_and_then_samples(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    said = await started(monkeypatch, caplog, 2, str(tmp_path / "sent.jsonl"))
    assert [text.split(" after ")[0] for text in said] == ["telemetry is on"]
    assert telemetry._ratio == RATIO
    telemetry.sample(0.0)


async def test_telemetry_that_cannot_start_stays_off_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert await started(monkeypatch, caplog, 1, str(tmp_path)) == ["telemetry stays off"]
    assert telemetry._ratio == 0.0


class Store:
    """Redis as Counters sees it; away while `fails`."""

    def __init__(self) -> None:
        self.fails = False
        self.sums: dict[str, int] = {}

    async def add_counts(self, counts: dict[str, int]) -> None:
        if self.fails:
            raise DatabaseUnavailable("away")
        for name, count in counts.items():
            self.sums[name] = self.sums.get(name, 0) + count

    async def counts(self) -> dict[str, int]:
        return self.sums


async def test_a_process_never_forgets_what_it_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.services.counters.FLUSH_AFTER_S", 0.0)
    store = Store()
    counters = Counters(store)
    seen = []
    for store.fails in (False, True, True, False):
        counters.add("requests", 2)
        seen.append(counters.process_totals()["requests"])
        assert counters._flush is not None
        await counters._flush
        seen.append(counters.process_totals()["requests"])
    assert seen == [2, 2, 4, 4, 6, 6, 8, 8]
    assert store.sums == {"requests": 8}


class Idle:
    error_count = 3

    @staticmethod
    def process_totals() -> dict[str, int]:
        return {"requests": 5, "limiter_open": 2, "refused.key_missing": 1, "refused.rate_limited": 4}


def measurements(clock: list[float], asked: list[int]) -> Measurements:
    async def status() -> Status:
        asked.append(1)
        return STATUS

    return Measurements(Idle(), Idle(), status, lambda: clock[0])


STATUS: Status = msgspec.convert(
    {
        "version": "1",
        "now": "2026-01-02T15:00:00Z",
        "market_now": "2026-01-02T15:00:00Z",
        "counts": None,
        "outbox": {"depth": 4, "oldest_s": 12.5},
        "payments": {"waiting": 0, "oldest_s": 0.0, "failed": 0},
        "publish_latency": {"count": 0, "p50_ms": None, "p95_ms": None, "p99_ms": None},
        "last_sequences": {},
        "feeds": [
            {
                "symbol": "ES",
                "state": "stale",
                "age_s": 400.0,
                "last_open_time": "2026-01-02T14:52:00Z",
                "source": "live",
            }
        ],
        "models": [{"strategy": "s", "version": None, "basis": "base_rate", "trained_at": None}],
    },
    Status,
)


async def test_the_status_is_read_at_most_every_so_often_and_not_told_when_old() -> None:
    clock, asked = [100.0], list[int]()
    measured = measurements(clock, asked)
    assert measured.points(MetricName.OUTBOX_AGE) == []
    await measured.refresh()
    clock[0] += 1
    await measured.refresh()
    assert len(asked) == 1
    assert measured.points(MetricName.OUTBOX_AGE) == [Observation(12.5)]
    assert measured.points(MetricName.BARS_AGE) == [Observation(400.0, {"symbol": "ES", "state": "stale"})]
    clock[0] += STALE_AFTER_S
    assert measured.points(MetricName.OUTBOX_AGE) == []


async def test_every_metric_but_the_histogram_has_points() -> None:
    measured = measurements([0.0], [])
    await measured.refresh()
    read = {metric.name: measured.points(metric.name) for metric in METRICS if metric.kind != "histogram"}
    assert all(read.values())
    assert set(COUNTED) <= set(read)
    assert read[MetricName.REQUESTS_REFUSED] == [
        Observation(1, {"code": "key_missing"}),
        Observation(4, {"code": "rate_limited"}),
    ]
    assert (read[MetricName.LIMITER_OPEN], read[MetricName.LICENSE_STORE_ERRORS]) == (
        [Observation(2)],
        [Observation(3)],
    )


async def test_telemetry_begins_without_a_pepper(monkeypatch: pytest.MonkeyPatch) -> None:
    """It stayed off for the life of a process whose pepper was not there in its first two seconds."""
    settings = Settings("", "", 1, "redis://127.0.0.1:1", "", "", "signals", "", "wall", "INFO")
    made = Container(settings)
    with pytest.raises(ConfigurationError):
        made.credentials.pepper()
    monkeypatch.setattr(Container, "tables", Idle())
    assert made.measurements.points(MetricName.LIMITER_OPEN) == [Observation(0)]
    await made.close()
