"""Names the counts that the app keeps."""

from enum import StrEnum
from typing import Protocol


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
    TRADES_RECORDED = "trades_recorded"
    CONNECTIONS_OPENED = "connections_opened"
    CONNECTIONS_CLOSED = "connections_closed"
    CONNECTIONS_REFUSED = "connections_refused"


# Refused requests are counted by problem code; the names of these counts begin with this.
REFUSED = "refused."


class Counter(Protocol):
    """Adds to one count; the name is a Count, or REFUSED followed by a problem code."""

    def __call__(self, name: str, count: int = 1) -> None: ...
