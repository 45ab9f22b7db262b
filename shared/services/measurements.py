"""Measures this process and the system, for telemetry to read."""

import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

from opentelemetry.metrics import Observation

from shared.metrics import METRICS, REFUSED, MetricName
from shared.services.status import Status

# Which count a metric reads.
COUNTED = {metric.name: metric.count for metric in METRICS if metric.count is not None}
# Reading the status costs about ten queries.
REFRESH_S = 15.0
# An older reading is not reported: another instance's timers have taken over, or no timer runs. Timers may
# run as seldom as once a minute.
STALE_AFTER_S = 150.0


class Counts(Protocol):
    def process_totals(self) -> Mapping[str, int]: ...


class KeyStore(Protocol):
    @property
    def error_count(self) -> int: ...


class Measurements:
    """The counts of this process, and the last status of the system that this process's timers read.

    `points` is called from telemetry's own thread and so only reads what is in memory.
    """

    def __init__(
        self,
        counts: Counts,
        key_store: KeyStore,
        status: Callable[[], Awaitable[Status]],
        clock: Callable[[], float] = time.monotonic,
        *,
        is_read: bool = True,
    ) -> None:
        """`is_read` is False if telemetry is off; then the status is never read."""
        self._counts = counts
        self._key_store = key_store
        self._status = status
        self._clock = clock
        self._is_read = is_read
        self._read: tuple[float, Status] | None = None

    async def refresh(self) -> None:
        """Reads the status, at most once in REFRESH_S; raises Unavailable."""
        if not self._is_read:
            return
        if self._read is None or self._clock() - self._read[0] >= REFRESH_S:
            self._read = (self._clock(), await self._status())

    def points(self, metric: MetricName) -> list[Observation]:
        """The values of a counter or gauge of METRICS; none if this process has no value."""
        if metric in COUNTED:
            return [Observation(self._counts.process_totals().get(COUNTED[metric], 0))]
        match metric:
            case MetricName.REQUESTS_REFUSED:
                return [
                    Observation(count, {"code": name.removeprefix(REFUSED)})
                    for name, count in self._counts.process_totals().items()
                    if name.startswith(REFUSED)
                ]
            case MetricName.LICENSE_STORE_ERRORS:
                return [Observation(self._key_store.error_count)]
        read = self._read
        if read is None or self._clock() - read[0] > STALE_AFTER_S:
            return []
        return _status_points(metric, read[1])


def _status_points(metric: MetricName, status: Status) -> list[Observation]:
    single = {
        MetricName.OUTBOX_DEPTH: status.outbox.depth,
        MetricName.OUTBOX_AGE: status.outbox.oldest_s,
        MetricName.PAYMENTS_AGE: status.payments.oldest_s,
        MetricName.PAYMENTS_FAILED: status.payments.failed,
    }
    if metric in single:
        return [Observation(single[metric])]
    match metric:
        case MetricName.BARS_AGE:
            return [
                Observation(feed.age_s, {"symbol": feed.symbol, "state": feed.state}) for feed in status.feeds
            ]
        case MetricName.MODEL_IN_USE:
            return [
                Observation(
                    1,
                    {
                        "strategy": model.strategy,
                        "version": model.version or "untrained",
                        "basis": model.basis,
                    },
                )
                for model in status.models
            ]
    raise KeyError(metric)
