"""The time that the market is judged by."""

from datetime import UTC, datetime, timedelta

import pytest

from shared.domain.market.bars import FeedState
from shared.errors import DatabaseUnavailable
from shared.services.market_clock import MarketClock

NOW = datetime(2026, 3, 2, 14, 30, tzinfo=UTC)
BAR_AT = datetime(2025, 10, 13, 14, tzinfo=UTC)
FEEDS = [
    FeedState("ES", BAR_AT, NOW, "replay"),
    FeedState("NQ", BAR_AT - timedelta(minutes=1), NOW, "replay"),
]


class Feeds:
    def __init__(self, states: list[FeedState] | None) -> None:
        self.states = states

    async def feeds(self) -> list[FeedState]:
        if self.states is None:
            raise DatabaseUnavailable("The database cannot be reached.")
        return self.states


async def test_the_wall_clock_needs_no_bars() -> None:
    clock = MarketClock("wall", Feeds(None), lambda: NOW)
    assert await clock.now() == NOW
    assert clock.judging(FEEDS) == NOW


async def test_a_replay_goes_by_the_close_of_its_newest_bar() -> None:
    clock = MarketClock("bars", Feeds(FEEDS), lambda: NOW)
    assert await clock.now() == BAR_AT + timedelta(minutes=1)
    assert clock.judging(FEEDS) == BAR_AT + timedelta(minutes=1)
    assert await MarketClock("bars", Feeds([]), lambda: NOW).now() == NOW


async def test_a_replay_without_the_database_has_no_time() -> None:
    with pytest.raises(DatabaseUnavailable):
        await MarketClock("bars", Feeds(None), lambda: NOW).now()
