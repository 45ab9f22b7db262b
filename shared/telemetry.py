"""Traces and metrics as the rest of the code sees them, with telemetry on or off; nothing of OpenTelemetry.

OpenTelemetry takes a third of a second to import, so shared/adapters/open_telemetry.py is loaded in the
background after the first request and plugged in here. Until then, where telemetry is off, and for every
request that is not sampled, a call costs a comparison.

Whether a request is sampled is drawn here, by nothing that its caller sent: the share of traced requests
decides a bill, and a caller's own `traceparent` may say "sampled" on every request. It is continued for the
requests that are.
"""

import logging
from collections.abc import Awaitable, Mapping
from contextvars import ContextVar
from random import random
from typing import Literal, NamedTuple, Protocol

log = logging.getLogger(__name__)

System = Literal["redis", "postgresql", "azure_tables", "webpubsub"]


class Request(Protocol):
    """What a trace is made of: Azure Functions' HttpRequest."""

    @property
    def method(self) -> str: ...
    @property
    def url(self) -> str: ...
    @property
    def headers(self) -> Mapping[str, str]: ...
    @property
    def route_params(self) -> Mapping[str, str]: ...


class Trace(Protocol):
    """One sampled request on its way."""

    def timed[T](self, waiting: Awaitable[T], operation: str, system: System) -> Awaitable[T]: ...
    def failed(self, error: Exception) -> None: ...
    def end(self, request_id: str, status: int, code: str) -> None: ...


class Recorder(Protocol):
    def begin(self, request: Request) -> Trace: ...
    def published(self, latency_s: float) -> None: ...


class Metric(NamedTuple):
    """A counter counts since the process began, a gauge is read, a histogram is recorded."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    unit: str
    description: str


class Point(NamedTuple):
    """One value of a metric, with its attributes."""

    value: float
    attributes: Mapping[str, str] = {}


METRICS = (
    Metric("signal_cloud.requests", "counter", "{request}", "requests that reached a function"),
    Metric("signal_cloud.requests.failed", "counter", "{request}", "requests answered 5xx"),
    Metric("signal_cloud.requests.refused", "counter", "{request}", "answered 401, 403 or 429, by code"),
    Metric("signal_cloud.confidence.asked", "counter", "{state}", "market states asked about"),
    Metric("signal_cloud.confidence.cached", "counter", "{state}", "answered from the cache"),
    Metric("signal_cloud.confidence.computed", "counter", "{state}", "evaluated"),
    Metric("signal_cloud.limiter.open", "counter", "{request}", "requests that no rate limit counted"),
    Metric("signal_cloud.license_store.errors", "counter", "{error}", "calls that Table Storage failed"),
    Metric("signal_cloud.signals.published", "counter", "{signal}", "new signals"),
    Metric("signal_cloud.trades.written", "counter", "{trade}", "trades recorded, duplicates apart"),
    Metric("signal_cloud.publish.latency", "histogram", "s", "from queueing a signal to having sent it"),
    Metric("signal_cloud.outbox.depth", "gauge", "{message}", "messages not yet sent"),
    Metric("signal_cloud.outbox.age", "gauge", "s", "age of the oldest message not yet sent"),
    Metric("signal_cloud.bars.age", "gauge", "s", "since the close of a symbol's newest bar, with its state"),
    Metric("signal_cloud.model.in_use", "gauge", "1", "1 for the version that a strategy is served by"),
)

_trace: ContextVar[Trace | None] = ContextVar("trace", default=None)
_recorder: Recorder | None = None
_ratio = 0.0


def plug(recorder: Recorder | None, ratio: float) -> None:
    """From now on `ratio` of all requests are traced by `recorder`; None unplugs it."""
    global _recorder, _ratio
    _recorder, _ratio = recorder, ratio if recorder is not None else 0.0


def begin(request: Request) -> Trace | None:
    """The trace of a request that is sampled; whoever began it also ends it, by `end`."""
    if random() >= _ratio:  # noqa: S311 - draws a sample, guards nothing
        return None
    assert _recorder is not None
    try:
        trace = _recorder.begin(request)
    except Exception:
        # A request that cannot be traced, for an odd URL say, is answered all the same.
        log.exception("a request is not traced")
        return None
    _trace.set(trace)
    return trace


def end(trace: Trace, request_id: str, status: int, code: str = "") -> None:
    """Ends what `begin` began, in the same task; `code` is a problem's."""
    _trace.set(None)
    trace.end(request_id, status, code)


def traced[T](waiting: Awaitable[T], operation: str, system: System) -> Awaitable[T]:
    """`waiting`, timed as a call of `system` where this is part of a sampled request."""
    trace = _trace.get()
    return waiting if trace is None else trace.timed(waiting, operation, system)


def published(latency_s: float) -> None:
    """Records how long one message took from being queued to having been sent."""
    if _recorder is not None:
        _recorder.published(latency_s)
