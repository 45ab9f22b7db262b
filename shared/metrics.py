"""Names everything that the app counts."""

from enum import StrEnum
from typing import Protocol


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


# Requests refused are counted by their problem's code, under names that begin so.
REFUSED = "refused."


class Counter(Protocol):
    """Adds to one count; the name is a Count, or REFUSED and a problem's code."""

    def __call__(self, name: str, count: int = 1) -> None: ...
