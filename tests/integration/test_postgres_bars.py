"""Bars and the engine's turns on a real server: each minute once, each bar processed exactly once."""

import asyncio
import random
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import psycopg
import pytest

from shared.adapters.postgres import BarStore, Database, SignalStore
from shared.domain.market.arrivals import StoredCounts
from shared.domain.market.bars import Bar, FeedState, StoredBar
from shared.domain.market.feeds import Coverage, Span
from shared.domain.market.hindsight import PublishedEntry
from shared.errors import InvalidInput
from tests.support.market import bar
from tests.support.samples import START, a_bar, a_draft

NOW = datetime(2025, 9, 2, 20, 0, tzinfo=UTC)
STRATEGY = "vwap_bounce"


@pytest.fixture
def store(database: Database) -> BarStore:
    return BarStore(database)


async def stored_bars(store: BarStore, symbol: str = "ES") -> list[StoredBar]:
    async with store.engine_turn(symbol, STRATEGY) as turn:
        return await turn.bars_after(None, 5_000)


async def batch_bars(store: BarStore, symbol: str = "ES") -> list[Bar]:
    return [stored.bar for stored in await stored_bars(store, symbol)]


async def test_bars_read_back_exactly(store: BarStore) -> None:
    bars = [a_bar(0, "6487.25"), a_bar(1, "-37.630000"), a_bar(5, "0.00000001", low=Decimal(-1))]
    assert await store.insert("ES", bars, "replay", NOW) == StoredCounts(3, 0, 0)
    found = await stored_bars(store)
    assert found == [StoredBar(bar, "replay", NOW) for bar in bars]
    closes = [format(stored.bar.close, "f") for stored in found]
    assert closes == ["6487.25", "-37.63", "0.00000001"]


async def test_the_same_content_of_a_minute_is_a_duplicate_however_it_is_written(store: BarStore) -> None:
    assert await store.insert("ES", [a_bar(0), a_bar(1)], "live", NOW) == StoredCounts(2, 0, 0)
    same = a_bar(1, open=Decimal("6487.250"), high=Decimal("6487.7500"))
    assert await store.insert("ES", [same, a_bar(2), a_bar(2)], "replay", NOW) == StoredCounts(1, 0, 0)
    assert await store.insert("NQ", [a_bar(1)], "live", NOW) == StoredCounts(1, 0, 0)
    assert await batch_bars(store) == [a_bar(0), a_bar(1), a_bar(2)]


CONTENT: list[dict[str, Any]] = [
    {"open": Decimal("6487.00")},
    {"high": Decimal("6490.00")},
    {"low": Decimal("6480.00")},
    {"close": Decimal("6487.00")},
    {"volume": 1_012},
]


@pytest.mark.parametrize("changed", CONTENT, ids=lambda changed: next(iter(changed)))
async def test_other_content_of_a_minute_is_its_correction_with_history(
    store: BarStore, database: Database, changed: dict[str, Any]
) -> None:
    later = NOW + timedelta(seconds=7)
    corrected = a_bar(1, **changed)
    await store.insert("ES", [a_bar(0), a_bar(1), a_bar(2)], "live", NOW)
    assert await store.insert("ES", [corrected], "replay", later) == StoredCounts(0, 1, 0)
    assert await store.insert("ES", [corrected], "live", later) == StoredCounts(0, 0, 0)
    found = await stored_bars(store)
    assert found[1] == StoredBar(corrected, "replay", NOW), "the minute keeps the time of its first version"
    assert [found[0].bar, found[2].bar] == [a_bar(0), a_bar(2)]
    assert await history(database) == [(a_bar(1), "live", later)]


async def history(database: Database) -> list[tuple[Bar, str, datetime]]:
    """What was replaced, in the order of the changes: content, source and time of the change."""
    async with database.transaction() as connection:
        cursor = await connection.execute(
            "select open_time, open, high, low, close, volume, source, changed_at from bar_changes"
            " where open is not null order by change"
        )
        return [(Bar(*row[:6]), row[6], row[7]) for row in await cursor.fetchall()]


async def test_versions_of_one_minute_in_one_body_correct_each_other_in_order(
    store: BarStore, database: Database
) -> None:
    versions = [a_bar(1, volume=volume) for volume in (900, 900, 950, 1_012)]
    assert await store.insert("ES", [a_bar(0), *versions, a_bar(2)], "live", NOW) == StoredCounts(3, 2, 0)
    assert await batch_bars(store) == [a_bar(0), versions[-1], a_bar(2)]
    assert [bar.volume for bar, _, _ in await history(database)] == [900, 950]
    again = [a_bar(1, volume=volume) for volume in (1_012, 1_013, 1_014)]
    assert await store.insert("ES", again, "live", NOW) == StoredCounts(0, 2, 0)
    assert [bar.volume for bar, _, _ in await history(database)] == [900, 950, 1_012, 1_013]


async def test_bars_that_come_after_a_later_minute_are_late(store: BarStore) -> None:
    assert await store.insert("ES", [a_bar(5)], "live", NOW) == StoredCounts(1, 0, 0)
    assert await store.insert("ES", [a_bar(2), a_bar(3), a_bar(6)], "live", NOW) == StoredCounts(3, 0, 2)
    assert await store.insert("ES", [a_bar(8), a_bar(7), a_bar(5)], "live", NOW) == StoredCounts(2, 0, 1)
    assert {stored.bar.open_time: stored.late for stored in await stored_bars(store)} == {
        a_bar(minute).open_time: minute in (2, 3, 7) for minute in (2, 3, 5, 6, 7, 8)
    }


async def test_a_turn_sees_from_where_the_past_has_changed_until_it_is_saved(store: BarStore) -> None:
    await store.insert("ES", [a_bar(3), a_bar(9)], "live", NOW)
    async with store.engine_turn("ES", STRATEGY) as turn:
        assert turn.changed_from is None
        await turn.save(b"state", a_bar(9).open_time, [])
    assert await store.behind(STRATEGY) == []
    await store.insert("ES", [a_bar(9, volume=7)], "live", NOW)
    await store.insert("ES", [a_bar(5), a_bar(4)], "live", NOW)
    assert await store.behind(STRATEGY) == ["ES"]
    async with store.engine_turn("ES", STRATEGY) as turn:
        assert turn.changed_from == a_bar(4).open_time
        assert await turn.is_unchanged()
        await store.insert("ES", [a_bar(1)], "live", NOW)
        assert not await turn.is_unchanged()
        await turn.save(b"state", a_bar(9).open_time, [])
    async with store.engine_turn("ES", STRATEGY) as turn:
        assert turn.changed_from == a_bar(1).open_time
        await turn.save(b"state", a_bar(9).open_time, [])
    assert await store.behind(STRATEGY) == []


async def test_checkpoints_and_marks_are_saved_with_the_state(store: BarStore) -> None:
    await store.insert("ES", [a_bar(0), a_bar(1)], "live", NOW)
    async with store.engine_turn("ES", STRATEGY) as turn:
        assert await turn.checkpoints() is None
        marks = {a_bar(0).open_time: False, a_bar(1).open_time: True}
        await turn.save(b"state", a_bar(1).open_time, [], checkpoints=b"first", marks=marks)
    async with store.engine_turn("ES", STRATEGY) as turn:
        assert await turn.checkpoints() == b"first"
        assert [stored.quarantined for stored in await turn.bars_after(None, 9)] == [False, True]
        await turn.save(b"state", a_bar(1).open_time, [])
    async with store.engine_turn("ES", STRATEGY) as turn:
        assert await turn.checkpoints() == b"first"
    last = a_bar(1).open_time
    assert (await store.coverage([Span("ES", START, last)]))[0].quarantined == 1
    assert (await store.coverage([Span("ES", START, last + timedelta(days=2))]))[0].quarantined == 0


async def test_coverage_names_the_first_of_the_missing_minutes(store: BarStore) -> None:
    minute = timedelta(minutes=1)
    await store.insert("ES", [a_bar(n) for n in (2, 3, 6, 9)], "live", NOW)
    await store.insert("NQ", [a_bar(n) for n in (0, 1, 2)], "live", NOW)
    spans = [
        Span("ES", START, START + 9 * minute),
        Span("NQ", START, START + 2 * minute),
    ]
    assert await store.coverage(spans) == [Coverage("ES", 4, START, 0), Coverage("NQ", 3, None, 0)]
    within = [Span("ES", START + 2 * minute, START + 9 * minute)]
    assert await store.coverage(within) == [Coverage("ES", 4, START + 4 * minute, 0)]
    closed = [Span("ES", START + 10 * minute, START + 9 * minute)]
    assert await store.coverage(closed) == [Coverage("ES", 0, None, 0)]


async def test_feeders_at_once_store_each_minute_once(store: BarStore) -> None:
    bars = [a_bar(n) for n in range(200)]
    orders = [random.Random(seed).sample(bars, len(bars)) for seed in range(4)]
    counts = await asyncio.gather(*(store.insert("ES", order, "live", NOW) for order in orders))
    assert sum(one.inserted for one in counts) == 200
    assert sum(one.corrected for one in counts) == 0
    assert await batch_bars(store) == bars


async def test_corrections_at_once_keep_every_version(store: BarStore, database: Database) -> None:
    volumes = [*range(1, 9)]
    counts = await asyncio.gather(
        *(store.insert("ES", [a_bar(0, volume=volume)], "live", NOW) for volume in volumes)
    )
    assert (sum(one.inserted for one in counts), sum(one.corrected for one in counts)) == (1, 7)
    (last,) = await batch_bars(store)
    assert sorted([last.volume, *(bar.volume for bar, _, _ in await history(database))]) == volumes


async def test_the_app_cannot_change_when_a_minute_was_received(store: BarStore, database: Database) -> None:
    await store.insert("ES", [a_bar(0)], "live", NOW)
    for column in ("received_at = now()", "late = true", "open_time = now()"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            async with database.transaction() as connection:
                await connection.execute(f"update bars set {column}".encode())


async def test_a_request_of_the_largest_size_fits_in_one_statement(store: BarStore) -> None:
    counts = await store.insert("ES", [a_bar(n) for n in range(5_000)], "live", NOW)
    assert counts == StoredCounts(5_000, 0, 0)
    versions = [a_bar(0, volume=1 + n) for n in range(5_000)]
    assert await store.insert("ES", versions, "live", NOW) == StoredCounts(0, 5_000, 0)


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


async def test_the_newest_bar_of_some_spans(store: BarStore) -> None:
    minute = timedelta(minutes=1)
    for symbol in ("ES", "NQ"):
        await store.insert(symbol, [bar(START + n * minute, 6500) for n in (0, 1, 5)], "live", START)
    spans = [
        Span("NQ", START + 9 * minute, START + 20 * minute),
        Span("ES", START, START),
        Span("ES", START + 1 * minute, START + 4 * minute),
    ]
    assert await store.newest_bars(spans) == [FeedState("ES", START + minute, START, "live")]


async def test_quarantined_bars_are_counted_among_some(store: BarStore) -> None:
    times = [START + n * timedelta(minutes=1) for n in range(4)]
    await store.insert("ES", [bar(at, 6500) for at in times], "live", START)
    async with store.engine_turn("ES", "vwap_bounce") as turn:
        await turn.save(b"state", times[-1], [], marks={times[1]: True, times[2]: True})
    assert await store.count_quarantined("ES", [times[0], times[1], times[1]]) == 1
    assert await store.count_quarantined("ES", times) == 2
    assert await store.count_quarantined("NQ", times) == await store.count_quarantined("ES", []) == 0


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
    async with store.engine_turn("ES", STRATEGY) as turn:
        assert (turn.state, turn.last_open_time) == (None, None)
        bars = await turn.bars_after(turn.last_open_time, 3)
        assert len(bars) == 3
        await turn.save(b"after 3", bars[-1].bar.open_time, [])
    assert await store.behind(STRATEGY) == ["ES"]
    async with store.engine_turn("ES", STRATEGY) as turn:
        assert turn.state == b"after 3"
        bars = await turn.bars_after(turn.last_open_time, 5_000)
        assert [stored.bar for stored in bars] == [a_bar(3), a_bar(4)]
        await turn.save(b"after 5", bars[-1].bar.open_time, [])
    assert await store.behind(STRATEGY) == []
    assert await store.behind("another_strategy") == ["ES"]
    async with store.engine_turn("ES", STRATEGY) as turn:
        assert await turn.bars_after(turn.last_open_time, 5_000) == []


async def test_a_turn_that_fails_changes_nothing(store: BarStore, database: Database) -> None:
    await store.insert("ES", [a_bar(0)], "live", NOW)
    at = a_bar(0).open_time
    with pytest.raises(RuntimeError):
        async with store.engine_turn("ES", STRATEGY) as turn:
            await turn.save(b"state", at, [a_draft()], checkpoints=b"c", marks={at: True})
            raise RuntimeError("the process dies here")
    assert await SignalStore(database).list("ES", after=0, limit=10) == []
    async with store.engine_turn("ES", STRATEGY) as turn:
        assert (turn.state, turn.last_open_time, await turn.checkpoints()) == (None, None, None)
        assert [one.quarantined for one in await turn.bars_after(None, 9)] == [False]
        (signal,) = await turn.save(b"state", at, [a_draft()])
    assert signal.sequence == 1


async def test_a_turn_knows_what_its_strategy_has_published(store: BarStore, database: Database) -> None:
    signals = SignalStore(database)
    minute = timedelta(minutes=1)
    await signals.publish(a_draft(idempotency_key="bar-0"))
    await signals.publish(a_draft(idempotency_key="bar-1", event_at=START + minute, price=Decimal("6490")))
    await signals.publish(a_draft(idempotency_key="bar-2", event_at=START + 2 * minute))
    await signals.publish(a_draft(idempotency_key="other", strategy="manual"))
    await signals.publish(a_draft("NQ", idempotency_key="bar-0"))
    await signals.publish(a_draft(strategy="vwap_bounce"))
    async with store.engine_turn("ES", STRATEGY) as turn:
        found = await turn.published(START, START + minute)
    assert [(one.sequence, one.idempotency_key) for one in found] == [(1, "bar-0"), (2, "bar-1")]
    assert found[0] == PublishedEntry(
        1, "bar-0", "LONG", Decimal("6487.25"), Decimal("6480.00"), None, START, {"rsi": 28.5}
    )
    assert found[1].price == Decimal("6490")


async def test_engines_at_once_process_every_bar_exactly_once(store: BarStore, database: Database) -> None:
    """Each engine counts what it saw in its state and signals every bar; a feeder adds more meanwhile."""
    total = 60

    async def feed() -> None:
        for n in range(0, total, 5):
            await store.insert("ES", [a_bar(n + more) for more in range(5)], "live", NOW)

    async def run() -> None:
        while True:
            async with store.engine_turn("ES", STRATEGY) as turn:
                bars = await turn.bars_after(turn.last_open_time, 4)
                if bars:
                    seen = int(turn.state or b"0") + len(bars)
                    drafts = [a_draft(event_at=stored.bar.open_time) for stored in bars]
                    await turn.save(str(seen).encode(), bars[-1].bar.open_time, drafts)
                elif int(turn.state or b"0") == total:
                    return

    async with asyncio.timeout(30):
        await asyncio.gather(feed(), *(run() for _ in range(4)))
    signals = await SignalStore(database).list("ES", after=0, limit=1_000)
    assert [signal.event_at for signal in signals] == [START + timedelta(minutes=n) for n in range(total)]
    assert [signal.sequence for signal in signals] == [*range(1, total + 1)]
