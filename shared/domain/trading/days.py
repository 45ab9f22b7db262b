"""Splits a range of time into whole UTC days, which have stored figures, and parts of days at its ends."""

from datetime import UTC, date, datetime, time, timedelta

import msgspec

from shared.domain.limits import EARLIEST

# No trade is later; the end of ranges without an end.
LATEST = datetime(2200, 1, 1, tzinfo=UTC)
_DAY = timedelta(days=1)


class Span(msgspec.Struct, frozen=True):
    """The time in [starts_at, ends_at), all on one UTC day."""

    day: date
    starts_at: datetime
    ends_at: datetime


class Days(msgspec.Struct, frozen=True):
    """The whole days in [first, last), and the parts of other days."""

    first: date
    last: date
    parts: tuple[Span, ...] = ()


def midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


def whole(day: date) -> Span:
    """All of one day."""
    return Span(day, midnight(day), midnight(day) + _DAY)


def days_of(since: datetime | None, until: datetime | None) -> Days:
    """The days of [since, until); None means from the first trade on, or to the last."""
    # Compares first, because a time near the ends of the calendar cannot be converted to UTC.
    start = EARLIEST if since is None or since <= EARLIEST else min(since, LATEST).astimezone(UTC)
    end = LATEST if until is None or until >= LATEST else max(until, EARLIEST).astimezone(UTC)
    first, last = start.date(), end.date()
    if start >= end:
        return Days(first, first)
    parts = []
    if start > midnight(first):
        parts.append(Span(first, start, min(midnight(first) + _DAY, end)))
        first += _DAY
    if end > midnight(last) and first <= last:
        parts.append(Span(last, midnight(last), end))
    return Days(first, max(first, last), tuple(parts))
