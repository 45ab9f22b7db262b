"""Sends traces and metrics to Azure Monitor, and locally to a file of OTLP JSON lines.

Of Azure's packages this uses the exporter and not the distribution around it, azure-monitor-opentelemetry:
that one brings instrumentations of Django, Flask, FastAPI, psycopg2, requests and urllib, none of which runs
here, live metrics and performance counters with threads of their own, and a second sampling decision. What
it would set up in the end is the objects below, and the file gets exactly what Azure gets.

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

# As Azure Monitor's exporter has it: a counter's row says how many since the row before.
TEMPORALITY: dict[type, AggregationTemporality] = {
    ObservableCounter: AggregationTemporality.DELTA,
    Histogram: AggregationTemporality.DELTA,
}
# A line goes out in one write, so that lines of several processes never mix: larger than any batch.
_FILE_BUFFER_BYTES = 8 * 1024 * 1024


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
    """The SDK of one process; `observe` gives the values of a counter or gauge by its name.

    Metrics go out every minute and spans every five seconds, or as OTEL_METRIC_EXPORT_INTERVAL and
    OTEL_BSP_SCHEDULE_DELAY (ms) say, by threads that die with the process.
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
        # Nothing relies on a clean end of the process, because the platform announces none.
        # Every span is kept: shared/telemetry.py has drawn the sample before it makes one.
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
        """From now on the API's tracers and meters record; once a process."""
        set_tracer_provider(self.traces)
        set_meter_provider(self.metrics)

    def close(self) -> None:
        """Sends what is left; for tests and tools."""
        self.traces.shutdown()
        self.metrics.shutdown()
        for stream in self._streams:
            stream.close()

    def _callback(self, name: MetricName) -> Callable[[CallbackOptions], Iterable[Observation]]:
        return lambda _: self._observe(name)
