"""Names the counts and metrics that the app keeps."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, Protocol


class Count(StrEnum):
    """A number that a process counts up; the status route and telemetry report the same numbers."""

    REQUESTS = "requests"
    REQUESTS_FAILED = "requests_failed"
    LIMITER_OPEN = "limiter_open"
    CONFIDENCE_ASKED = "confidence_asked"
    CONFIDENCE_CACHED = "confidence_cached"
    CONFIDENCE_COMPUTED = "confidence_computed"
    NEGOTIATED = "negotiated"
    SIGNALS_PUBLISHED = "signals_published"
    BARS_RECEIVED = "bars_received"
    BARS_QUARANTINED = "bars_quarantined"
    BARS_REFUSED = "bars_refused"
    TRADES_RECORDED = "trades_recorded"
    TRADES_REFUSED = "trades_refused"
    TRADES_WITHDRAWN = "trades_withdrawn"
    TRAINING_FROZEN = "training_frozen"
    CONNECTIONS_OPENED = "connections_opened"
    CONNECTIONS_CLOSED = "connections_closed"
    CONNECTIONS_REFUSED = "connections_refused"
    CONNECTIONS_EXCEEDED = "connections_exceeded"
    CONNECTIONS_UNCOUNTED = "connections_uncounted"
    LICENSE_EXPORTS = "license_exports"
    NOTIFICATIONS_SENT = "notifications_sent"
    NOTIFICATIONS_DROPPED = "notifications_dropped"
    NOTIFICATIONS_REFUSED = "notifications_refused"
    NOTIFICATIONS_UNANSWERED = "notifications_unanswered"
    NOTIFICATIONS_PARKED = "notifications_parked"
    SESSIONS_TAKEN = "sessions_taken"
    SESSIONS_REFUSED = "sessions_refused"
    SESSIONS_TAKEN_OVER = "sessions_taken_over"
    SESSIONS_UNCHECKED = "sessions_unchecked"
    PAYMENT_EVENTS_RECEIVED = "payment_events_received"
    PAYMENT_EVENTS_REPEATED = "payment_events_repeated"
    PAYMENT_EVENTS_REFUSED = "payment_events_refused"
    PAYMENT_EVENTS_FAILED = "payment_events_failed"


# Refused requests are counted by problem code; the names of these counts begin with this.
REFUSED = "refused."


class Counter(Protocol):
    """Adds to one count; the name is a Count, or REFUSED followed by a problem code."""

    def __call__(self, name: str, count: int = 1) -> None: ...


class MetricName(StrEnum):
    """The name of a metric in telemetry, alerts and the workbook."""

    REQUESTS = "signal_cloud.requests"
    REQUESTS_FAILED = "signal_cloud.requests.failed"
    REQUESTS_REFUSED = "signal_cloud.requests.refused"
    CONFIDENCE_ASKED = "signal_cloud.confidence.asked"
    CONFIDENCE_CACHED = "signal_cloud.confidence.cached"
    CONFIDENCE_COMPUTED = "signal_cloud.confidence.computed"
    LIMITER_OPEN = "signal_cloud.limiter.open"
    CONNECTIONS_EXCEEDED = "signal_cloud.connections.exceeded"
    CONNECTIONS_UNCOUNTED = "signal_cloud.connections.uncounted"
    LICENSE_EXPORTS = "signal_cloud.license_exports"
    LICENSE_STORE_ERRORS = "signal_cloud.license_store.errors"
    SIGNALS_PUBLISHED = "signal_cloud.signals.published"
    TRADES_WRITTEN = "signal_cloud.trades.written"
    TRAINING_FROZEN = "signal_cloud.training.frozen"
    PUBLISH_LATENCY = "signal_cloud.publish.latency"
    OUTBOX_DEPTH = "signal_cloud.outbox.depth"
    OUTBOX_AGE = "signal_cloud.outbox.age"
    BARS_AGE = "signal_cloud.bars.age"
    BARS_QUARANTINED = "signal_cloud.bars.quarantined"
    MODEL_IN_USE = "signal_cloud.model.in_use"
    NOTIFICATIONS_SENT = "signal_cloud.notifications.sent"
    NOTIFICATIONS_UNANSWERED = "signal_cloud.notifications.unanswered"
    NOTIFICATIONS_PARKED = "signal_cloud.notifications.parked"
    PAYMENTS_AGE = "signal_cloud.payments.age"
    PAYMENTS_FAILED = "signal_cloud.payments.failed"


@dataclass(frozen=True, slots=True)
class Metric:
    """A counter counts from the start of the process; a gauge is read; values of a histogram are recorded.

    `count` is the count that the metric reports, if it reports one.
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
    Metric(_N.REQUESTS_REFUSED, "counter", "{request}", "requests answered 401, 403 or 429, by code"),
    Metric(_N.CONFIDENCE_ASKED, "counter", "{state}", "market states in requests", Count.CONFIDENCE_ASKED),
    Metric(
        _N.CONFIDENCE_CACHED,
        "counter",
        "{state}",
        "market states answered from the cache",
        Count.CONFIDENCE_CACHED,
    ),
    Metric(
        _N.CONFIDENCE_COMPUTED, "counter", "{state}", "market states evaluated", Count.CONFIDENCE_COMPUTED
    ),
    Metric(_N.LIMITER_OPEN, "counter", "{request}", "requests that no limit counted", Count.LIMITER_OPEN),
    Metric(
        _N.CONNECTIONS_EXCEEDED,
        "counter",
        "{connection}",
        "connections refused over the limit of their license",
        Count.CONNECTIONS_EXCEEDED,
    ),
    Metric(
        _N.CONNECTIONS_UNCOUNTED,
        "counter",
        "{connection}",
        "connections that no limit counted",
        Count.CONNECTIONS_UNCOUNTED,
    ),
    Metric(
        _N.LICENSE_EXPORTS, "counter", "{export}", "exports of all licenses and keys", Count.LICENSE_EXPORTS
    ),
    Metric(_N.LICENSE_STORE_ERRORS, "counter", "{error}", "failed calls to Table Storage"),
    Metric(_N.SIGNALS_PUBLISHED, "counter", "{signal}", "new signals", Count.SIGNALS_PUBLISHED),
    Metric(
        _N.TRADES_WRITTEN, "counter", "{trade}", "recorded trades, without duplicates", Count.TRADES_RECORDED
    ),
    Metric(
        _N.TRAINING_FROZEN,
        "counter",
        "{run}",
        "training runs whose result waits for an operator",
        Count.TRAINING_FROZEN,
    ),
    Metric(_N.PUBLISH_LATENCY, "histogram", "s", "time from queueing a signal to sending it"),
    Metric(_N.OUTBOX_DEPTH, "gauge", "{message}", "unsent messages"),
    Metric(_N.OUTBOX_AGE, "gauge", "s", "age of the oldest unsent message"),
    Metric(_N.BARS_AGE, "gauge", "s", "time since a symbol's newest bar closed, with its state"),
    Metric(
        _N.BARS_QUARANTINED,
        "counter",
        "{bar}",
        "bars whose prices are too far from those around them",
        Count.BARS_QUARANTINED,
    ),
    Metric(_N.MODEL_IN_USE, "gauge", "1", "1 for the model version that serves a strategy"),
    Metric(
        _N.NOTIFICATIONS_SENT,
        "counter",
        "{notification}",
        "notifications that their receiver took",
        Count.NOTIFICATIONS_SENT,
    ),
    Metric(
        _N.NOTIFICATIONS_UNANSWERED,
        "counter",
        "{attempt}",
        "attempts whose answer was lost, so that the receiver may get the notification twice",
        Count.NOTIFICATIONS_UNANSWERED,
    ),
    Metric(
        _N.NOTIFICATIONS_PARKED,
        "counter",
        "{notification}",
        "notifications that were given up until an operator lets them be tried again",
        Count.NOTIFICATIONS_PARKED,
    ),
    Metric(_N.PAYMENTS_AGE, "gauge", "s", "age of the oldest payment event that waits"),
    Metric(_N.PAYMENTS_FAILED, "gauge", "{event}", "payment events given up within a day"),
)
