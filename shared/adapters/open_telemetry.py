"""OpenTelemetry: traces and metrics to Azure Monitor, and locally to a file of OTLP JSON lines.

Of Azure's packages this uses the exporter and not the distribution around it, azure-monitor-opentelemetry:
that one brings instrumentations of Django, Flask, FastAPI, psycopg2, requests and urllib, none of which runs
here, live metrics and performance counters with threads of their own, and a second sampling decision. What
it would set up in the end is the three objects below, and the file gets exactly what Azure gets.

Importing this module takes 0.3 s, so it is loaded by a thread after the first request.
"""

import logging
import os
import socket
import sys
from collections.abc import Awaitable, Callable, Iterable, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple
from urllib.parse import urlsplit

from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.sdk.metrics import Histogram, MeterProvider, ObservableCounter
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    MetricExporter,
    PeriodicExportingMetricReader,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from shared.telemetry import METRICS, Point, Request, System

SERVICE = "signal-cloud"
# Azure Monitor's exporter reads it off each span: percent of requests traced, so a row stands for 100 / rate.
SAMPLE_RATE = "_MS.sampleRate"
# As Azure Monitor's exporter has it: a counter's row says how many since the row before.
TEMPORALITY: dict[type, AggregationTemporality] = {
    ObservableCounter: AggregationTemporality.DELTA,
    Histogram: AggregationTemporality.DELTA,
}
# A line goes out in one write, so that lines of several processes never mix: larger than any batch.
_FILE_BUFFER_BYTES = 8 * 1024 * 1024

_propagator = TraceContextTextMapPropagator()


class Exporters(NamedTuple):
    """One destination; `stream` is what they write to, where it is a file of ours."""

    spans: SpanExporter
    metrics: MetricExporter
    stream: IO[str] | None = None


def azure_exporters(connection_string: str, client_id: str) -> Exporters:
    """To Application Insights; with a `client_id`, as the user-assigned managed identity of that id."""
    from azure.identity import ManagedIdentityCredential
    from azure.monitor.opentelemetry.exporter import AzureMonitorMetricExporter, AzureMonitorTraceExporter

    # It would log each of its own requests, with headers, at INFO.
    logging.getLogger("azure.core.pipeline.policies.http_logging_policy").setLevel(logging.WARNING)
    options: dict[str, Any] = {
        "connection_string": connection_string,
        "credential": ManagedIdentityCredential(client_id=client_id) if client_id else None,
        # What cannot be sent is dropped: telemetry is for people watching, and no reason to fill a disk.
        "disable_offline_storage": True,
    }
    return Exporters(AzureMonitorTraceExporter(**options), AzureMonitorMetricExporter(**options))


def file_exporters(path: str) -> Exporters:
    """To a file of OTLP JSON lines that processes may share, or with `-` to standard output."""
    from opentelemetry.exporter.otlp.json.file import FileMetricExporter, FileSpanExporter

    stream = None
    if path != "-":
        stream = Path(path).open("a", _FILE_BUFFER_BYTES, encoding="utf-8")  # noqa: SIM115 - as long as the process
    out = stream or sys.stdout
    metrics = FileMetricExporter(stream=out, preferred_temporality=TEMPORALITY)
    return Exporters(FileSpanExporter(stream=out), metrics, stream)


class OpenTelemetry:
    """The recorder of one process; `observe` gives the points of a counter or gauge by its name.

    Metrics go out every minute and spans every five seconds, or as OTEL_METRIC_EXPORT_INTERVAL and
    OTEL_BSP_SCHEDULE_DELAY (ms) say, by threads that die with the process.
    """

    def __init__(
        self,
        exporters: Sequence[Exporters],
        *,
        version: str,
        ratio: float,
        observe: Callable[[str], Iterable[Point]],
    ) -> None:
        resource = Resource.create(
            {
                "service.name": SERVICE,
                "service.version": version,
                "service.instance.id": f"{socket.gethostname()}-{os.getpid()}",
            }
        )
        # Nothing relies on a clean end of the process: the platform tells none.
        self._traces = TracerProvider(ALWAYS_ON, resource, shutdown_on_exit=False)
        readers = [PeriodicExportingMetricReader(each.metrics) for each in exporters]
        self._metrics = MeterProvider(readers, resource, shutdown_on_exit=False)
        for each in exporters:
            self._traces.add_span_processor(BatchSpanProcessor(each.spans))
        self._streams = [each.stream for each in exporters if each.stream is not None]
        self._tracer = self._traces.get_tracer(SERVICE, version)
        self._sample_rate = ratio * 100
        self._observe = observe
        self._make_instruments(version)

    def begin(self, request: Request) -> "RequestTrace":
        """Continues the caller's `traceparent`, if there is one."""
        return RequestTrace(self._tracer, request, self._sample_rate)

    def published(self, latency_s: float) -> None:
        self._publish_latency.record(latency_s)

    def close(self) -> None:
        """Sends what is left; for tests and tools."""
        self._traces.shutdown()
        self._metrics.shutdown()
        for stream in self._streams:
            stream.close()

    def _make_instruments(self, version: str) -> None:
        meter = self._metrics.get_meter(SERVICE, version)
        for name, kind, unit, description in METRICS:
            if kind == "histogram":
                self._publish_latency = meter.create_histogram(name, unit, description)
                continue
            make = meter.create_observable_counter if kind == "counter" else meter.create_observable_gauge
            make(name, [self._callback(name)], unit, description)

    def _callback(self, name: str) -> Callable[[CallbackOptions], Iterable[Observation]]:
        def observe(_: CallbackOptions) -> Iterable[Observation]:
            return [Observation(point.value, point.attributes) for point in self._observe(name)]

        return observe


class RequestTrace:
    """One request's span and those of the calls that it waits for."""

    def __init__(self, tracer: Tracer, request: Request, sample_rate: float) -> None:
        self._tracer = tracer
        self._sample_rate = sample_rate
        route = _route(request)
        self._span: Span = tracer.start_span(
            f"{request.method} {route}",
            _propagator.extract(request.headers),
            SpanKind.SERVER,
            {"http.request.method": request.method, "http.route": route, SAMPLE_RATE: sample_rate},
        )
        self._context = set_span_in_context(self._span)

    async def timed[T](self, waiting: Awaitable[T], operation: str, system: System) -> T:
        if not self._span.is_recording():
            # A task that this request began and that lives on, such as the flush of counts.
            return await waiting
        kind = "messaging.system" if system == "webpubsub" else "db.system.name"
        named = "messaging.operation.name" if system == "webpubsub" else "db.operation.name"
        span = self._tracer.start_span(
            operation,
            self._context,
            SpanKind.CLIENT,
            {kind: system, named: operation, SAMPLE_RATE: self._sample_rate},
        )
        try:
            return await waiting
        except BaseException as error:
            span.set_status(Status(StatusCode.ERROR, type(error).__name__))
            raise
        finally:
            span.end()

    def failed(self, error: Exception) -> None:
        """Notes an error that nobody expected, with its traceback."""
        self._span.record_exception(error)

    def end(self, request_id: str, status: int, code: str) -> None:
        self._span.set_attributes(
            {"http.response.status_code": status, "signal_cloud.request_id": request_id}
        )
        if code:
            self._span.set_attribute("signal_cloud.code", code)
        if status >= 500:
            self._span.set_status(Status(StatusCode.ERROR, code))
        self._span.end()


def _route(request: Request) -> str:
    """The path with its variable parts named, so that a route is one name: /api/ops/licenses/{id}."""
    path = urlsplit(request.url).path
    for name, value in request.route_params.items():
        if value:
            path = path.replace(value, f"{{{name}}}", 1)
    return path
