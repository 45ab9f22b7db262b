"""Names everything that the app counts and measures."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, Protocol


class Count(StrEnum):
    """A number that a process counts up; the status page and telemetry read the same ones."""

    REQUESTS = "requests"
    REQUESTS_FAILED = "requests_failed"
    LIMITER_OPEN = "limiter_open"
    CONFIDENCE_ASKED = "confidence_asked"
    CONFIDENCE_CACHED = "confidence_cached"
    CONFIDENCE_COMPUTED = "confidence_computed"
    NEGOTIATED = "negotiated"
    SIGNALS_PUBLISHED = "signals_published"
    BARS_RECEIVED = "bars_received"
    TRADES_RECORDED = "trades_recorded"
    CONNECTIONS_OPENED = "connections_opened"
    CONNECTIONS_CLOSED = "connections_closed"
    CONNECTIONS_REFUSED = "connections_refused"


# Refused requests are counted by their problem's code, under names that begin so.
REFUSED = "refused."


class Counter(Protocol):
    """Adds to one count; the name is a Count, or REFUSED and a problem's code."""

    def __call__(self, name: str, count: int = 1) -> None: ...


class MetricName(StrEnum):
    """A metric as telemetry, alerts and the workbook know it."""

    REQUESTS = "signal_cloud.requests"
    REQUESTS_FAILED = "signal_cloud.requests.failed"
    REQUESTS_REFUSED = "signal_cloud.requests.refused"
    CONFIDENCE_ASKED = "signal_cloud.confidence.asked"
    CONFIDENCE_CACHED = "signal_cloud.confidence.cached"
    CONFIDENCE_COMPUTED = "signal_cloud.confidence.computed"
    LIMITER_OPEN = "signal_cloud.limiter.open"
    LICENSE_STORE_ERRORS = "signal_cloud.license_store.errors"
    SIGNALS_PUBLISHED = "signal_cloud.signals.published"
    TRADES_WRITTEN = "signal_cloud.trades.written"
    PUBLISH_LATENCY = "signal_cloud.publish.latency"
    OUTBOX_DEPTH = "signal_cloud.outbox.depth"
    OUTBOX_AGE = "signal_cloud.outbox.age"
    BARS_AGE = "signal_cloud.bars.age"
    MODEL_IN_USE = "signal_cloud.model.in_use"


@dataclass(frozen=True, slots=True)
class Metric:
    """A counter counts since the process began, a gauge is read, a histogram is recorded.

    `count` is the count that the metric reads, if it reads one.
    """

    name: MetricName
    kind: Literal["counter", "gauge", "histogram"]
    unit: str
    description: str
    count: Count | None = None


_N = MetricName
METRICS = (
    Metric(_N.REQUESTS, "counter", "{request}", "requests that reached a function", Count.REQUESTS),
    Metric(_N.REQUESTS_FAILED, "counter", "{request}", "requests answered 5xx", Count.REQUESTS_FAILED),
    Metric(_N.REQUESTS_REFUSED, "counter", "{request}", "answered 401, 403 or 429, by code"),
    Metric(_N.CONFIDENCE_ASKED, "counter", "{state}", "market states asked about", Count.CONFIDENCE_ASKED),
    Metric(_N.CONFIDENCE_CACHED, "counter", "{state}", "answered from the cache", Count.CONFIDENCE_CACHED),
    Metric(_N.CONFIDENCE_COMPUTED, "counter", "{state}", "evaluated", Count.CONFIDENCE_COMPUTED),
    Metric(_N.LIMITER_OPEN, "counter", "{request}", "requests that no limit counted", Count.LIMITER_OPEN),
    Metric(_N.LICENSE_STORE_ERRORS, "counter", "{error}", "calls that Table Storage failed"),
    Metric(_N.SIGNALS_PUBLISHED, "counter", "{signal}", "new signals", Count.SIGNALS_PUBLISHED),
    Metric(_N.TRADES_WRITTEN, "counter", "{trade}", "trades recorded, no duplicates", Count.TRADES_RECORDED),
    Metric(_N.PUBLISH_LATENCY, "histogram", "s", "from queueing a signal to having sent it"),
    Metric(_N.OUTBOX_DEPTH, "gauge", "{message}", "messages not yet sent"),
    Metric(_N.OUTBOX_AGE, "gauge", "s", "age of the oldest message not yet sent"),
    Metric(_N.BARS_AGE, "gauge", "s", "since the close of a symbol's newest bar, with its state"),
    Metric(_N.MODEL_IN_USE, "gauge", "1", "1 for the version that serves a strategy"),
)
