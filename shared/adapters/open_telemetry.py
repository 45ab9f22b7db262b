"""Sends traces and metrics to Azure Monitor, and locally to a file of OTLP JSON lines.

This module uses Azure's exporter and not the distribution azure-monitor-opentelemetry. The distribution adds
instrumentations that we do not use (Django, Flask, FastAPI, psycopg2, requests, urllib), live metrics and
performance counters with threads of their own, and a second sampling decision. Without it, the file gets
exactly what Azure gets.

Importing this module takes 0.3 s, so shared/adapters/telemetry_start.py does it in a thread.
"""

import logging
import os
import socket
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

from opentelemetry.metrics import CallbackOptions, Observation, set_meter_provider
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
from opentelemetry.trace import set_tracer_provider

from shared.metrics import METRICS, MetricName
from shared.telemetry import SERVICE
from shared.version import VERSION

# The same as in Azure Monitor's exporter: a counter's row holds the increase since the row before.
TEMPORALITY: dict[type, AggregationTemporality] = {
    ObservableCounter: AggregationTemporality.DELTA,
    Histogram: AggregationTemporality.DELTA,
}
# Larger than any batch, so that a line goes out in one write and lines of several processes never mix.
_FILE_BUFFER_BYTES = 8 * 1024 * 1024


class Exporters(NamedTuple):
    """The exporters of one destination; `stream` is the file that they write to, if we opened it."""

    spans: SpanExporter
    metrics: MetricExporter
    stream: IO[str] | None = None


def azure_exporters(connection_string: str, client_id: str) -> Exporters:
    """Exporters to Application Insights, under the managed identity of `client_id` if it is not empty."""
    from azure.identity import ManagedIdentityCredential
    from azure.monitor.opentelemetry.exporter import AzureMonitorMetricExporter, AzureMonitorTraceExporter

    # The exporter would log each of its own requests, with headers, at INFO.
    logging.getLogger("azure.core.pipeline.policies.http_logging_policy").setLevel(logging.WARNING)
    options: dict[str, Any] = {
        "connection_string": connection_string,
        "credential": ManagedIdentityCredential(client_id=client_id) if client_id else None,
        # Telemetry that cannot be sent is dropped, because it must not fill the disk.
        "disable_offline_storage": True,
    }
    return Exporters(AzureMonitorTraceExporter(**options), AzureMonitorMetricExporter(**options))


def file_exporters(path: str) -> Exporters:
    """Exporters to a file of OTLP JSON lines that processes may share; `-` is standard output."""
    from opentelemetry.exporter.otlp.json.file import FileMetricExporter, FileSpanExporter

    stream = None
    if path != "-":
        stream = Path(path).open("a", _FILE_BUFFER_BYTES, encoding="utf-8")  # noqa: SIM115 - as long as the process
    out = stream or sys.stdout
    metrics = FileMetricExporter(stream=out, preferred_temporality=TEMPORALITY)
    return Exporters(FileSpanExporter(stream=out), metrics, stream)


class OpenTelemetry:
    """The SDK of one process; `observe` returns the values of a counter or gauge by its name.

    Threads that end with the process send metrics every minute and spans every five seconds, unless
    OTEL_METRIC_EXPORT_INTERVAL and OTEL_BSP_SCHEDULE_DELAY (ms) say otherwise.
    """

    def __init__(
        self,
        exporters: Sequence[Exporters],
        *,
        observe: Callable[[MetricName], Iterable[Observation]],
    ) -> None:
        resource = Resource.create(
            {
                "service.name": SERVICE,
                "service.version": VERSION,
                "service.instance.id": f"{socket.gethostname()}-{os.getpid()}",
            }
        )
        # No hook runs at exit, because the platform does not announce the end of a process.
        # Every span is kept, because shared/telemetry.py makes spans only for sampled requests.
        self.traces = TracerProvider(ALWAYS_ON, resource, shutdown_on_exit=False)
        readers = [PeriodicExportingMetricReader(each.metrics) for each in exporters]
        self.metrics = MeterProvider(readers, resource, shutdown_on_exit=False)
        for each in exporters:
            self.traces.add_span_processor(BatchSpanProcessor(each.spans))
        self._streams = [each.stream for each in exporters if each.stream is not None]
        self._observe = observe
        meter = self.metrics.get_meter(SERVICE, VERSION)
        for metric in METRICS:
            described = (metric.name, [self._callback(metric.name)], metric.unit, metric.description)
            if metric.kind == "counter":
                meter.create_observable_counter(*described)
            elif metric.kind == "gauge":
                meter.create_observable_gauge(*described)

    def set_for_process(self) -> None:
        """Makes the API's tracers and meters record from now on; works once per process."""
        set_tracer_provider(self.traces)
        set_meter_provider(self.metrics)

    def close(self) -> None:
        """Sends the spans and metrics that are left; for tests and tools."""
        self.traces.shutdown()
        self.metrics.shutdown()
        for stream in self._streams:
            stream.close()

    def _callback(self, name: MetricName) -> Callable[[CallbackOptions], Iterable[Observation]]:
        return lambda _: self._observe(name)
