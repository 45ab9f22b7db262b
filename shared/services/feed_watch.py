"""Reports each outage of a feed once, while the market is open."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Protocol

from shared.domain.durations import shown_duration, shown_time
from shared.domain.market.bars import FeedState
from shared.domain.market.calendars import MarketCalendars
from shared.domain.market.feeds import FeedHealth, feed_states
from shared.domain.notifications.events import Event
from shared.services.market_clock import MarketClock


class Feeds(Protocol):
    async def feeds(self) -> list[FeedState]: ...


class FeedWatch:
    def __init__(
        self,
        *,
        feeds: Feeds,
        calendars: MarketCalendars,
        market_clock: MarketClock,
        tell: Callable[[Sequence[Event]], Awaitable[None]],
    ) -> None:
        self._feeds = feeds
        self._calendars = calendars
        self._market_clock = market_clock
        self._tell = tell

    async def run(self) -> int:
        """Reports the stale feeds and returns their number; a known outage is the same event.

        Raises Unavailable.
        """
        feeds = await self._feeds.feeds()
        now = self._market_clock.judging(feeds)
        stale = [each for each in feed_states(feeds, self._calendars, now) if each.state == "stale"]
        await self._tell([stale_event(each) for each in stale])
        return len(stale)


def stale_event(feed: FeedHealth) -> Event:
    """The event of one outage, which its last bar names."""
    age = timedelta(seconds=feed.age_s)
    return Event(
        event_id=f"feed_stale:{feed.symbol}:{shown_time(feed.last_open_time)}",
        kind="feed_stale",
        at=feed.last_open_time + age,
        values={
            "symbol": feed.symbol,
            "age": shown_duration(age),
            "last_bar_at": shown_time(feed.last_open_time),
        },
    )
