"""Judges how fresh each symbol's bars are, and separates stale feeds from closed markets."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Literal

import msgspec

from shared.domain.market.bars import BAR_INTERVAL, FeedState, Source
from shared.domain.market.calendars import MarketCalendars
from shared.domain.market.instruments import INSTRUMENTS

ClockSource = Literal["wall", "bars"]
# A minute without a trade has no bar, which happens overnight; several in a row are rare in these markets.
STALE_AFTER = timedelta(minutes=5)
# Longer than any closure of a market.
_SEARCHED = timedelta(days=14)


class FeedHealth(msgspec.Struct, frozen=True, kw_only=True):
    """One symbol's feed; `age_s` is the time since the close of its newest bar, never below 0.

    The newest bar of a known instrument is the newest in session, if the last two weeks have one.

    `missing_minutes` is the number of minutes without a bar, from the opening of the newest bar's session to
    that bar, and `first_missing` the first of them. A quiet minute has no bar either, and cannot be told from
    a hole.
    `quarantined` is the number of bars of the last day that the engine does not use.
    """

    symbol: str
    state: Literal["fresh", "stale", "closed"]
    age_s: float
    last_open_time: datetime
    source: Source
    missing_minutes: int = 0
    first_missing: datetime | None = None
    quarantined: int = 0


class Span(msgspec.Struct, frozen=True):
    """The minutes of one symbol from `first` to `last`, both inclusive; none if `first` is the later one."""

    symbol: str
    first: datetime
    last: datetime


class Coverage(msgspec.Struct, frozen=True):
    """What is stored of a span: the number of its bars, and its first minute without one.

    `quarantined` is the number of quarantined bars in the day before the end of the span.
    """

    symbol: str
    bars: int
    first_missing: datetime | None
    quarantined: int


def session_spans(symbol: str, calendars: MarketCalendars, *, since: datetime, until: datetime) -> list[Span]:
    """The minutes in which a bar of `symbol` counts: of the sessions from `since` to `until`, newest first.

    A symbol that we do not know has no hours, so all its minutes count.
    """
    if symbol not in INSTRUMENTS:
        return [Span(symbol, since, until)]
    spans = []
    session = calendars.session_before(symbol, until + BAR_INTERVAL)
    while session is not None and session.closes_at > since:
        spans.append(Span(symbol, session.opens_at, session.closes_at - BAR_INTERVAL))
        session = calendars.session_before(symbol, session.opens_at)
    return spans


def market_now(feeds: Sequence[FeedState], now: datetime, source: ClockSource) -> datetime:
    """The time by which feeds are judged: `now`, or in a replay the close of the newest of all bars."""
    if source == "wall" or not feeds:
        return now
    return max(feed.last_open_time for feed in feeds).astimezone(UTC) + BAR_INTERVAL


def feed_states(feeds: Sequence[FeedState], calendars: MarketCalendars, now: datetime) -> list[FeedHealth]:
    """The health of each feed at `now`, in the order given.

    Outside a session, a feed is `closed`, regardless of its last bar. In a session, it is `stale` if the last
    bar closed, and the session opened, more than STALE_AFTER ago. `now` comes from `market_now`.
    """
    return [_health(feed, calendars, now) for feed in feeds]


def spans_of_strays(feeds: Sequence[FeedState], calendars: MarketCalendars) -> list[Span]:
    """The minutes to look for the newest bar in session of each feed whose newest bar lies outside of it."""
    return [
        span
        for feed in feeds
        if feed.symbol in INSTRUMENTS and not calendars.is_open(feed.symbol, feed.last_open_time)
        for span in session_spans(
            feed.symbol, calendars, since=feed.last_open_time - _SEARCHED, until=feed.last_open_time
        )
    ]


def spans_to_cover(feeds: Sequence[FeedState], calendars: MarketCalendars) -> list[Span]:
    """Of each feed, the minutes from the opening of the newest bar's session to that bar."""
    spans = []
    for feed in feeds:
        session = calendars.session_at(feed.symbol, feed.last_open_time)
        first = feed.last_open_time + BAR_INTERVAL if session is None else session.opens_at
        spans.append(Span(feed.symbol, first, feed.last_open_time))
    return spans


def covered(health: FeedHealth, span: Span, coverage: Coverage) -> FeedHealth:
    """`health` with what `coverage` says of its `span`."""
    expected = max((span.last - span.first) // BAR_INTERVAL + 1, 0)
    return msgspec.structs.replace(
        health,
        missing_minutes=expected - coverage.bars,
        first_missing=coverage.first_missing,
        quarantined=coverage.quarantined,
    )


def _health(feed: FeedState, calendars: MarketCalendars, now: datetime) -> FeedHealth:
    last_close = feed.last_open_time.astimezone(UTC) + BAR_INTERVAL
    # In a replay, the newest bar closes exactly now; at the end of a session, that is outside the session.
    session = calendars.session_at(feed.symbol, now)
    state: Literal["fresh", "stale", "closed"] = "closed"
    if session is not None:
        expected_since = max(last_close, session.opens_at)
        state = "stale" if now - expected_since > STALE_AFTER else "fresh"
    return FeedHealth(
        symbol=feed.symbol,
        state=state,
        age_s=max(0.0, (now - last_close).total_seconds()),
        last_open_time=feed.last_open_time,
        source=feed.source,
    )
