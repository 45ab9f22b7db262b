"""A feed of regular hours alone, and one that begins during a session, publish their signals."""

from collections.abc import Sequence
from datetime import date, time
from itertools import batched
from zoneinfo import ZoneInfo

import pytest

from shared.domain.market.bars import Bar, Source
from tests.support.engine_feed import NOW, Feed
from tests.support.market import simulated_es

NEW_YORK = ZoneInfo("America/New_York")
ALL = simulated_es()
REGULAR = [bar for bar in ALL if time(9, 30) <= bar.open_time.astimezone(NEW_YORK).time() < time(16)]
FIRST_DAY, SECOND_DAY = date(2025, 6, 30), date(2025, 7, 1)


async def days_with_signals(bars: Sequence[Bar], source: Source, size: int) -> list[date]:
    """The days of the signals of a feed that sends `size` bars at a time, all within a moment."""
    feed = Feed()
    found = []
    for body in batched(bars, size, strict=False):
        feed.store.put("ES", body, source, received_at=NOW)
        found += [signal.event_at.date() for signal in (await feed.engine.run("ES", NOW)).signals]
    return found


@pytest.mark.parametrize("size", [7, 2_000])
async def test_a_replay_of_regular_hours_publishes_from_its_first_day_on(size: int) -> None:
    found = await days_with_signals(REGULAR, "replay", size)
    assert found.count(FIRST_DAY) == 5
    assert len(found) == 29


@pytest.mark.parametrize("size", [7, 2_000])
async def test_a_live_feed_of_regular_hours_is_known_from_its_second_day_on(size: int) -> None:
    found = await days_with_signals(REGULAR, "live", size)
    assert FIRST_DAY not in found
    assert found == (await days_with_signals(REGULAR, "replay", size))[5:]
    assert found[0] == SECOND_DAY


async def test_a_replay_may_begin_during_a_session() -> None:
    """700 minutes of the first session are left out."""
    assert (await days_with_signals(ALL[700:], "replay", 500)).count(FIRST_DAY) == 13
