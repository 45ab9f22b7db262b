"""A day of bars in random orders, cuts, repeats and corrections ends in the state of the ordered feed.

No signal is published that the ordered feed would not have made, except those that the first versions of
corrected bars have honestly made.
"""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

import pytest

from shared.adapters.postgres import BarStore, Database
from shared.domain.market.arrivals import StoredCounts
from shared.domain.market.bars import Bar, Source
from shared.domain.market.signals import Signal
from shared.services.signal_engine import SignalEngine
from tests.support.disorder import content, deliveries
from tests.support.market import real_es, simulated_es
from tests.support.memory_bars import MemoryBarStore
from tests.support.strategies import VWAP_BOUNCE_RULES as RULES
from tests.support.vwap_bounce import CALENDARS

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)
LONG_AGO = NOW - timedelta(days=1)
GROUPS, ORDERS = 10, 10

type Content = tuple[object, ...]


class Memory(MemoryBarStore):
    async def insert(
        self, symbol: str, bars: Sequence[Bar], source: Source, received_at: datetime
    ) -> StoredCounts:
        return self.put(symbol, bars, source, received_at)


class Store(Protocol):
    async def insert(
        self, symbol: str, bars: Sequence[Bar], source: Source, received_at: datetime
    ) -> StoredCounts: ...
    def engine_turn(self, symbol: str, strategy: str) -> Any: ...
    async def behind(self, strategy: str) -> list[str]: ...


async def fed(
    store: Store, bodies: Sequence[Sequence[Bar]], received_at: datetime = NOW
) -> list[list[Signal]]:
    """The signals that each body has made."""
    engine = SignalEngine(store, CALENDARS, RULES, "bars")
    signals = []
    for body in bodies:
        await store.insert("ES", body, "live", received_at)
        signals.append((await engine.run("ES", NOW)).signals)
    return signals


async def state_of(store: Store) -> bytes | None:
    async with store.engine_turn("ES", RULES.name) as turn:
        assert turn.changed_from is None
        return bytes(turn.state)


async def ordered(bars: Sequence[Bar]) -> tuple[bytes | None, set[Content]]:
    """State and signals of the feed that sends `bars` in order and in time."""
    store = Memory()
    (signals,) = await fed(store, [bars], LONG_AGO)
    return await state_of(store), {content(signal) for signal in signals}


async def check(
    store: Store, day: Sequence[Bar], seed: int, expected: tuple[bytes | None, set[Content]]
) -> int:
    """Feeds `day` in the order of `seed`, and returns the number of its signals."""
    bodies = deliveries(day, seed)
    made = await fed(store, bodies)
    state, honest = expected
    assert await state_of(store) == state, f"order {seed} ends in another state"
    known: dict[datetime, Bar] = {bar.open_time: bar for bar in day}
    for body, signals in zip(bodies, made, strict=True):
        known.update({bar.open_time: bar for bar in body})
        strange = {content(signal) for signal in signals} - honest
        if strange:
            # Only versions that are corrected later can have made them.
            _, of_versions = await ordered([known[bar.open_time] for bar in day])
            assert strange <= of_versions, f"order {seed} has signals of its own"
    keys = [(signal.event_at, signal.side) for signals in made for signal in signals]
    assert len(set(keys)) == len(keys), f"order {seed} sends a signal twice"
    return len(keys)


def session(bars: Sequence[Bar], number: int) -> list[Bar]:
    """The bars of one session, without those before and after it."""
    days: dict[datetime, list[Bar]] = {}
    for bar in bars:
        found = CALENDARS.session_at("ES", bar.open_time)
        if found is not None:
            days.setdefault(found.opens_at, []).append(bar)
    return list(days.values())[number]


DAYS = {"simulated": lambda: session(simulated_es(), 1), "real": lambda: session(real_es(), 12)}


@pytest.mark.parametrize("group", range(GROUPS))
@pytest.mark.parametrize("day", DAYS)
async def test_a_hundred_orders_of_a_day_end_alike_and_publish_nothing_of_their_own(
    day: str, group: int
) -> None:
    bars = DAYS[day]()
    expected = await ordered(bars)
    assert len(expected[1]) > 5
    published = [
        await check(Memory(), bars, seed, expected) for seed in range(group * ORDERS, (group + 1) * ORDERS)
    ]
    assert sum(published) > 0, "holding everything back would be no art"
    assert max(published) <= len(expected[1]) + 5


@pytest.mark.parametrize("seed", range(5))
async def test_the_same_on_a_real_server(database: Database, seed: int) -> None:
    bars = session(simulated_es(), 1)
    await check(BarStore(database), bars, seed, await ordered(bars))


async def test_feeders_and_engines_at_once_end_in_the_state_of_the_ordered_feed(database: Database) -> None:
    bars = session(simulated_es(), 1)[:400]
    store = BarStore(database)
    pieces = [deliveries(bars[start : start + 100], seed=start) for start in range(0, 400, 100)]
    await asyncio.gather(*(fed(store, bodies) for bodies in pieces))
    await SignalEngine(store, CALENDARS, RULES, "bars").catch_up(NOW)
    state, _ = await ordered(bars)
    assert await state_of(store) == state
    assert await store.behind(RULES.name) == []
