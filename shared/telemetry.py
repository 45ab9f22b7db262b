"""Traces a share of the requests, and records latencies, through OpenTelemetry's API.

The API does nothing until shared/adapters/open_telemetry.py sets its SDK. Importing the SDK takes a third of
a second, so it is loaded in the background after the first request.

This module draws which requests are sampled before it makes a span. The caller has no influence, because the
share of traced requests decides our bill, and a caller's `traceparent` may say "sampled" on every request.
Sampled requests continue the caller's trace. docs/decisions/0007-telemetry-seam.md has the figures.
"""

import logging
from collections.abc import Awaitable, Mapping
from random import random
from typing import Literal, Protocol
from urllib.parse import urlsplit

from opentelemetry.context import Context, attach
from opentelemetry.metrics import get_meter
from opentelemetry.trace import (
    INVALID_SPAN,
    Span,
    SpanKind,
    Status,
    StatusCode,
    get_current_span,
    get_tracer,
    set_span_in_context,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from shared.metrics import METRICS, MetricName
from shared.version import VERSION

log = logging.getLogger(__name__)

SERVICE = "signal-cloud"
# The percentage of traced requests. Azure Monitor's exporter reads it: a row stands for 100 / rate requests.
SAMPLE_RATE = "_MS.sampleRate"

System = Literal["redis", "postgresql", "azure_tables", "webpubsub"]


class Request(Protocol):
    """The parts of a request that a trace uses; Azure Functions' HttpRequest has them."""

    @property
    def method(self) -> str: ...
    @property
    def url(self) -> str: ...
    @property
    def headers(self) -> Mapping[str, str]: ...
    @property
    def route_params(self) -> Mapping[str, str]: ...


_tracer = get_tracer(SERVICE, VERSION)
_propagator = TraceContextTextMapPropagator()
_ratio = 0.0

_LATENCY = next(metric for metric in METRICS if metric.name is MetricName.PUBLISH_LATENCY)
# Records the seconds from queueing a message to sending it.
publish_latency = get_meter(SERVICE, VERSION).create_histogram(
    _LATENCY.name, _LATENCY.unit, _LATENCY.description
)


def sample(ratio: float) -> None:
    """Traces the share `ratio` of all requests from now on."""
    global _ratio  # noqa: PLW0603 - one per process, like the providers of the API
    _ratio = ratio


def begin(request: Request) -> Span | None:
    """Returns the span of a request, if it is sampled; the caller ends it with `end`."""
    if random() >= _ratio:  # noqa: S311 - draws a sample, guards nothing
        return None
    try:
        route = _route(request)
        span = _tracer.start_span(
            f"{request.method} {route}",
            _propagator.extract(request.headers, Context()),
            SpanKind.SERVER,
            {"http.request.method": request.method, "http.route": route, SAMPLE_RATE: _ratio * 100},
        )
    except Exception:
        # A request that cannot be traced, for example because of an odd URL, must still be answered.
        log.exception("a request is not traced")
        return None
    attach(set_span_in_context(span))
    return span


def end(span: Span, request_id: str, status: int, code: str = "") -> None:
    """Ends the span that `begin` returned, in the same task; `code` is a problem code."""
    attach(set_span_in_context(INVALID_SPAN))
    span.set_attributes({"http.response.status_code": status, "signal_cloud.request_id": request_id})
    if code:
        span.set_attribute("signal_cloud.code", code)
    if status >= 500:
        span.set_status(Status(StatusCode.ERROR, code))
    span.end()


def traced[T](waiting: Awaitable[T], operation: str, system: System) -> Awaitable[T]:
    """Returns `waiting`, which is timed as a call of `system` if this is part of a sampled request."""
    return _timed(waiting, operation, system) if get_current_span().is_recording() else waiting


async def _timed[T](waiting: Awaitable[T], operation: str, system: System) -> T:
    if not get_current_span().is_recording():
        # The request has ended, but a task that it started still runs, such as the flush of counts.
        return await waiting
    kind = "messaging.system" if system == "webpubsub" else "db.system.name"
    named = "messaging.operation.name" if system == "webpubsub" else "db.operation.name"
    span = _tracer.start_span(
        operation,
        kind=SpanKind.CLIENT,
        attributes={kind: system, named: operation, SAMPLE_RATE: _ratio * 100},
    )
    try:
        return await waiting
    except BaseException as error:
        span.set_status(Status(StatusCode.ERROR, type(error).__name__))
        raise
    finally:
        span.end()


def _route(request: Request) -> str:
    """The path with names for its variable parts, so that a route has one name: /api/ops/{path}."""
    path = urlsplit(request.url).path
    for name, value in request.route_params.items():
        if value:
            path = path.replace(value, f"{{{name}}}", 1)
    return path
