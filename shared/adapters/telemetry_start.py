"""Starts telemetry after the first request, in a thread.

OpenTelemetry's SDK and Azure's exporter take a third of a second to import; no request may wait for that.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Iterable
from typing import Protocol

from opentelemetry.metrics import Observation

from shared import telemetry
from shared.metrics import MetricName

# By then the first request is answered.
START_AFTER_S = 2.0

log = logging.getLogger(__name__)

# The first start acquires it and never releases it: OpenTelemetry's API accepts one SDK per process.
_start_once = threading.Lock()

type Observe = Callable[[MetricName], Iterable[Observation]]


class Destinations(Protocol):
    """The destinations of traces and metrics, and the share of requests that is traced."""

    @property
    def connection_string(self) -> str: ...
    @property
    def client_id(self) -> str: ...
    @property
    def file(self) -> str: ...
    @property
    def sample_ratio(self) -> float: ...


def start_later(
    loop: asyncio.AbstractEventLoop, destinations: Destinations, observe: Callable[[], Observe]
) -> None:
    """Starts telemetry in START_AFTER_S, once per process.

    `observe` is called in `loop`; the function that it returns is called in other threads.
    """
    if not _start_once.acquire(blocking=False):
        return

    def start() -> None:
        threading.Thread(target=_start, args=(destinations, observe()), daemon=True).start()

    loop.call_later(START_AFTER_S, start)


def _start(destinations: Destinations, observe: Observe) -> None:
    """Begins to send traces and metrics. If anything fails, the app continues without them."""
    started = time.perf_counter()
    try:
        from shared.adapters.open_telemetry import OpenTelemetry, azure_exporters, file_exporters

        exporters = []
        if destinations.connection_string:
            exporters.append(azure_exporters(destinations.connection_string, destinations.client_id))
        if destinations.file:
            exporters.append(file_exporters(destinations.file))
        OpenTelemetry(exporters, observe=observe).set_for_process()
        telemetry.sample(destinations.sample_ratio)
    except Exception:
        log.exception("telemetry stays off")
    else:
        log.info("telemetry is on after %.0f ms", (time.perf_counter() - started) * 1000)
