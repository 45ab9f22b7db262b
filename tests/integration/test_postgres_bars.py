"""Bars and the engine's turns on a real server: each minute once, each bar processed exactly once."""

import asyncio
import random
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from shared.adapters.postgres import BarStore, Database, SignalStore
from shared.domain.market.bars import Bar, FeedState
from shared.errors import InvalidInput
from tests.support.samples import START, a_bar, a_draft

NOW = datetime(2025, 9, 2, 20, 0, tzinfo=UTC)
STRATEGY = "vwap_bounce"


@pytest.fixture
def store(database: Database) -> BarStore:
    return BarStore(database)


async def batch_bars(store: BarStore, symbol: str = "ES", limit: int = 5_000) -> list[Bar]:
    async with store.engine_batch(symbol, STRATEGY, limit=limit) as batch:
        return [stored.bar for stored in batch.bars]


async def test_bars_read_back_exactly(store: BarStore) -> None:
    bars = [a_bar(0, "6487.25"), a_bar(1, "-37.630000"), a_bar(5, "0.00000001", low=Decimal(-1))]
    assert await store.insert("ES", bars, "replay", NOW) == 3
    async with store.engine_batch("ES", STRATEGY) as batch:
        assert [stored.bar for stored in batch.bars] == bars
        closes = [format(stored.bar.close, "f") for stored in batch.bars]
        assert closes == ["6487.25", "-37.63", "0.00000001"]
        assert {(stored.source, stored.received_at) for stored in batch.bars} == {("replay", NOW)}
        assert batch.state is None


async def test_a_minute_is_stored_once_and_its_first_bar_stays(store: BarStore) -> None:
    assert await store.insert("ES", [a_bar(0), a_bar(1)], "live", NOW) == 2
    assert await store.insert("ES", [a_bar(1, "1.00"), a_bar(2), a_bar(2)], "live", NOW) == 1
    assert await store.insert("NQ", [a_bar(1)], "live", NOW) == 1
    assert await batch_bars(store) == [a_bar(0), a_bar(1), a_bar(2)]


async def test_feeders_at_once_store_each_minute_once(store: BarStore) -> None:
    bars = [a_bar(n) for n in range(200)]
    orders = [random.Random(seed).sample(bars, len(bars)) for seed in range(4)]
    counts = await asyncio.gather(*(store.insert("ES", order, "live", NOW) for order in orders))
    assert sum(counts) == 200
    assert await batch_bars(store) == bars


async def test_a_request_of_the_largest_size_fits_in_one_statement(store: BarStore) -> None:
    assert await store.insert("ES", [a_bar(n) for n in range(5_000)], "live", NOW) == 5_000


@pytest.mark.parametrize(
    "changed",
    [{"high": Decimal(1)}, {"low": Decimal(9999)}, {"volume": -1}, {"close": Decimal("NaN")}],
    ids=lambda changed: next(iter(changed)),
)
async def test_an_impossible_bar_is_refused_with_its_whole_batch(
    store: BarStore, changed: dict[str, Any]
) -> None:
    with pytest.raises(InvalidInput):
        await store.insert("ES", [a_bar(0), a_bar(1, **changed)], "live", NOW)
    assert await batch_bars(store) == []
    assert await store.feeds() == []


async def test_feeds_tell_the_newest_bar_of_each_symbol(store: BarStore) -> None:
    await store.insert("NQ", [a_bar(3)], "simulated", NOW)
    await store.insert("ES", [a_bar(2), a_bar(1)], "live", NOW)
    later = NOW + timedelta(minutes=1)
    await store.insert("ES", [a_bar(0)], "replay", later)  # an older minute, late
    await store.insert("ES", [a_bar(2)], "replay", later)  # a duplicate
    assert await store.feeds() == [
        FeedState("ES", START + timedelta(minutes=2), NOW, "live"),
        FeedState("NQ", START + timedelta(minutes=3), NOW, "simulated"),
    ]
    await store.insert("ES", [a_bar(4)], "live", later)
    assert (await store.feeds())[0] == FeedState("ES", START + timedelta(minutes=4), later, "live")


async def test_a_turn_goes_on_where_the_last_one_saved(store: BarStore) -> None:
    await store.insert("ES", [a_bar(n) for n in range(5)], "live", NOW)
    assert await store.behind(STRATEGY) == ["ES"]
    async with store.engine_batch("ES", STRATEGY, limit=3) as batch:
        assert len(batch.bars) == 3
        await batch.save(b"after 3", batch.bars[-1].bar.open_time, [])
    assert await store.behind(STRATEGY) == ["ES"]
    async with store.engine_batch("ES", STRATEGY) as batch:
        assert batch.state == b"after 3"
        assert [stored.bar for stored in batch.bars] == [a_bar(3), a_bar(4)]
        await batch.save(b"after 5", batch.bars[-1].bar.open_time, [])
    assert await store.behind(STRATEGY) == []
    assert await store.behind("another_strategy") == ["ES"]
    assert await batch_bars(store) == []


async def test_a_turn_that_fails_changes_nothing(store: BarStore, database: Database) -> None:
    await store.insert("ES", [a_bar(0)], "live", NOW)
    with pytest.raises(RuntimeError):
        async with store.engine_batch("ES", STRATEGY) as batch:
            await batch.save(b"state", batch.bars[-1].bar.open_time, [a_draft()])
            raise RuntimeError("the process dies here")
    assert await SignalStore(database).list("ES", after=0, limit=10) == []
    async with store.engine_batch("ES", STRATEGY) as batch:
        assert batch.state is None
        assert len(batch.bars) == 1
        (signal,) = await batch.save(b"state", batch.bars[-1].bar.open_time, [a_draft()])
    assert signal.sequence == 1


async def test_a_draft_that_was_published_already_is_not_published_again(
    store: BarStore, database: Database
) -> None:
    await SignalStore(database).publish(a_draft(idempotency_key="bar-0"))
    await store.insert("ES", [a_bar(0)], "live", NOW)
    drafts = [a_draft(idempotency_key="bar-0"), a_draft(idempotency_key="bar-1"), a_draft()]
    async with store.engine_batch("ES", STRATEGY) as batch:
        signals = await batch.save(b"state", batch.bars[-1].bar.open_time, drafts)
    assert [signal.sequence for signal in signals] == [2, 3]


async def test_engines_at_once_process_every_bar_exactly_once(store: BarStore, database: Database) -> None:
    """Each engine counts what it saw in its state and signals every bar; a feeder adds more meanwhile."""
    total = 60

    async def feed() -> None:
        for n in range(0, total, 5):
            await store.insert("ES", [a_bar(n + more) for more in range(5)], "live", NOW)

    async def run() -> None:
        while True:
            async with store.engine_batch("ES", STRATEGY, limit=4) as batch:
                if batch.bars:
                    seen = int(batch.state or b"0") + len(batch.bars)
                    drafts = [a_draft(event_at=stored.bar.open_time) for stored in batch.bars]
                    await batch.save(str(seen).encode(), batch.bars[-1].bar.open_time, drafts)
                elif int(batch.state or b"0") == total:
                    return

    async with asyncio.timeout(30):
        await asyncio.gather(feed(), *(run() for _ in range(4)))
    signals = await SignalStore(database).list("ES", after=0, limit=1_000)
    assert [signal.event_at for signal in signals] == [START + timedelta(minutes=n) for n in range(total)]
    assert [signal.sequence for signal in signals] == [*range(1, total + 1)]
