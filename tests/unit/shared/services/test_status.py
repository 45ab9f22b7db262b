"""What ops are shown of the system."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from shared.adapters.calendars import market_calendars
from shared.domain.confidence.models import StoredModel
from shared.domain.market.bars import BAR_INTERVAL
from shared.domain.market.feeds import ClockSource
from shared.domain.payments.inbox import Backlog
from shared.errors import CacheUnavailable, DatabaseUnavailable
from shared.services.market_clock import MarketClock
from shared.services.status import ModelInUse, OutboxStatus, StatusService
from shared.version import VERSION
from tests.support.market import bar
from tests.support.memory_signals import Entry
from tests.support.memory_stores import MemoryStores

NOW = datetime(2025, 10, 14, 14, 6, tzinfo=UTC)


class Counts:
    away = False

    async def totals(self) -> dict[str, int]:
        if self.away:
            raise CacheUnavailable("The cache cannot be reached.")
        return {"requests": 7}


class World:
    def __init__(self, clock_source: ClockSource = "wall") -> None:
        self.stores = MemoryStores(NOW)
        self.counts = Counts()
        stores = self.stores
        self.service = StatusService(
            outbox=stores.outbox,
            payments=stores.payments,
            signals=stores.signals,
            bars=stores.bars,
            models=stores.models,
            counters=self.counts,
            strategies=("a", "b"),
            calendars=market_calendars(),
            now=lambda: NOW,
            market_clock=MarketClock(clock_source, stores.bars, lambda: NOW),
        )


async def test_it_says_what_was_done_and_how_it_stands() -> None:
    world = World()
    await world.stores.bars.insert("ES", [bar(NOW - timedelta(minutes=9), 6500)], "simulated", NOW)
    world.stores.outbox.waiting["ES"] = [Entry(1, b"", 1.23456), Entry(2, b"", 0.5)]
    world.stores.payments.waiting = Backlog(3, 301.5, 1)
    status = await world.service.status()
    assert (status.version, status.now, status.market_now) == (VERSION, NOW, NOW)
    assert status.counts == {"requests": 7}
    assert status.outbox == OutboxStatus(2, 1.235)
    assert status.payments == Backlog(3, 301.5, 1)
    assert (status.publish_latency.count, status.publish_latency.p99_ms) == (3, 3.0)
    assert world.stores.signals.asked_latency_since == [NOW - timedelta(minutes=15)]
    assert [(feed.symbol, feed.state, feed.age_s, feed.source) for feed in status.feeds] == [
        ("ES", "stale", 480.0, "simulated")
    ]


async def test_a_feed_shows_the_holes_of_its_session_and_its_quarantined_bars() -> None:
    world = World()
    opens_at = datetime(2025, 10, 13, 22, tzinfo=UTC)
    minutes = (NOW - opens_at) // BAR_INTERVAL
    missing = {300, 301, 700}
    bars = [bar(opens_at + n * BAR_INTERVAL, 6500) for n in range(minutes) if n not in missing]
    await world.stores.bars.insert("ES", bars, "live", NOW)
    # Two of Friday's last minutes; and a bar outside every session.
    friday = datetime(2025, 10, 10, 20, 57, tzinfo=UTC)
    await world.stores.bars.insert("CL", [bar(friday, 60), bar(friday + 2 * BAR_INTERVAL, 60)], "live", NOW)
    await world.stores.bars.insert("NQ", [bar(friday + timedelta(days=1), 60)], "live", NOW)
    stored = world.stores.bars.bars["ES"]
    stored[bars[-1].open_time] = msgspec.structs.replace(stored[bars[-1].open_time], quarantined=True)
    crude, equity, closed = (await world.service.status()).feeds
    assert (equity.missing_minutes, equity.first_missing) == (3, opens_at + 300 * BAR_INTERVAL)
    assert (equity.state, equity.quarantined) == ("fresh", 1)
    assert (crude.missing_minutes, crude.first_missing) == (1_378, datetime(2025, 10, 9, 22, tzinfo=UTC))
    assert (closed.missing_minutes, closed.first_missing) == (0, None)


async def test_a_bar_out_of_session_hides_no_hole() -> None:
    world = World()
    friday = datetime(2025, 10, 10, 20, 57, tzinfo=UTC)
    stray = bar(friday + timedelta(days=1), 60)
    for symbol in ("CL", "BTC"):
        bars = [bar(friday, 60), bar(friday + 2 * BAR_INTERVAL, 60), stray]
        await world.stores.bars.insert(symbol, bars, "live", NOW)
    unknown, crude = (await world.service.status()).feeds
    assert (crude.last_open_time, crude.missing_minutes) == (friday + 2 * BAR_INTERVAL, 1_378)
    assert (unknown.last_open_time, unknown.missing_minutes) == (stray.open_time, 0)


async def test_a_trained_model_is_told_from_the_prior() -> None:
    world = World()
    await world.stores.models.add(
        StoredModel(
            version="a-1",
            strategy="a",
            status="champion",
            basis="model",
            artefact=b"",
            document={},
            created_at=NOW - timedelta(days=1),
        )
    )
    assert (await world.service.status()).models == [
        ModelInUse("a", "a-1", "model", NOW - timedelta(days=1)),
        ModelInUse("b", None, "base_rate", None),
    ]


async def test_a_replay_has_a_time_of_its_own() -> None:
    world = World("bars")
    await world.stores.bars.insert("ES", [bar(NOW - timedelta(minutes=90), 6500)], "replay", NOW)
    status = await world.service.status()
    assert (status.now, status.market_now) == (NOW, NOW - timedelta(minutes=89))
    assert [feed.state for feed in status.feeds] == ["fresh"]


async def test_counts_are_null_without_the_cache_and_nothing_is_told_without_the_database() -> None:
    world = World()
    world.counts.away = True
    assert (await world.service.status()).counts is None
    world.stores.server.away = True
    with pytest.raises(DatabaseUnavailable):
        await world.service.status()
