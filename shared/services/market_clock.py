"""Provides the time by which the market is judged."""

from collections.abc import Callable
from datetime import datetime
from typing import Protocol

from shared.domain.market.bars import FeedState
from shared.domain.market.feeds import ClockSource, market_now


class Feeds(Protocol):
    async def feeds(self) -> list[FeedState]: ...


class MarketClock:
    """The wall clock, or in a replay the close of the newest bar."""

    def __init__(self, source: ClockSource, feeds: Feeds, now: Callable[[], datetime]) -> None:
        self._source = source
        self._feeds = feeds
        self._now = now

    async def now(self) -> datetime:
        """The market's time; raises Unavailable in a replay while Postgres is unavailable."""
        return self.judging(await self._feeds.feeds() if self._source == "bars" else [])

    def judging(self, feeds: list[FeedState]) -> datetime:
        """The market's time for a caller that has already read `feeds`."""
        return market_now(feeds, self._now(), self._source)
