"""Judges how fresh each symbol's bars are, and separates stale feeds from closed markets."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Literal

import msgspec

from shared.domain.market.bars import BAR_INTERVAL, FeedState, Source
from shared.domain.market.calendars import MarketCalendars

ClockSource = Literal["wall", "bars"]
# A minute without a trade has no bar, which happens overnight; several in a row are rare in these markets.
STALE_AFTER = timedelta(minutes=5)


class FeedHealth(msgspec.Struct, frozen=True, kw_only=True):
    """One symbol's feed; `age_s` is the time since the close of its newest bar, never below 0."""

    symbol: str
    state: Literal["fresh", "stale", "closed"]
    age_s: float
    last_open_time: datetime
    source: Source


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
