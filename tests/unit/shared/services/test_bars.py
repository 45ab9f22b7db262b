"""Bars are stored, run through the engine, and what that publishes is pushed and counted."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import msgspec
import pytest

from shared.adapters.calendars import market_calendars
from shared.domain.items import Items
from shared.domain.market.bars import Bar
from shared.domain.market.hindsight import Hindsight
from shared.domain.market.signals import Signal
from shared.errors import BatchTooLarge, DatabaseUnavailable, SymbolNotLicensed, ValidationFailed
from shared.services.bars import BarService, SentBars
from shared.services.signal_engine import EngineReport, SignalEngine
from tests.support.counting import Counted
from tests.support.engine_feed import DAY
from tests.support.grants import grant_of
from tests.support.market import bar
from tests.support.memory_stores import MemoryStores
from tests.support.samples import a_signal
from tests.support.strategies import VWAP_BOUNCE_RULES

NOW = datetime(2025, 10, 13, 14, tzinfo=UTC)
GRANT = grant_of("acct-1", "ES", "NQ", scopes=("feeder",))


def made(symbol: str, sequence: int = 1) -> Signal:
    return msgspec.structs.replace(a_signal(sequence, NOW), symbol=symbol)


@dataclass
class FakeEngine:
    """Gives what it was told to, or fails."""

    signals: list[Signal] = field(default_factory=list)
    quarantined: frozenset[datetime] = frozenset()
    hindsight: Hindsight | None = None
    away: bool = False
    ran: list[tuple[str | None, datetime]] = field(default_factory=list)

    async def run(self, symbol: str, now: datetime) -> EngineReport:
        return await self._answered(symbol, now)

    async def catch_up(self, now: datetime) -> list[EngineReport]:
        return [await self._answered(None, now)]

    async def _answered(self, symbol: str | None, now: datetime) -> EngineReport:
        if self.away:
            raise DatabaseUnavailable("The database cannot be reached.")
        self.ran.append((symbol, now))
        return EngineReport(self.signals, self.quarantined, self.hindsight)


class World:
    """The service over stores in memory; `pushed` are the symbols that were pushed."""

    def __init__(self, engine: FakeEngine) -> None:
        self.engine = engine
        self.stores = MemoryStores(NOW)
        self.counted = Counted()
        self.pushed: list[str] = []
        self.service = BarService(
            bars=self.stores.bars,
            engine=engine,
            calendars=market_calendars(),
            push=self._push,
            now=lambda: NOW,
            count=self.counted,
        )

    async def _push(self, symbol: str) -> None:
        self.pushed.append(symbol)


MINUTE = timedelta(minutes=1)


def sent(*bars: Bar, symbol: str = "ES") -> SentBars:
    return SentBars(symbol, "live", Items("bars", bars))


GOOD = [bar(NOW - 2 * MINUTE, 6500), bar(NOW - MINUTE, 6501)]
# Its minute is over 58 seconds from now.
FUTURE = bar(NOW, 6500)


async def test_bars_are_stored_then_run_then_pushed_and_all_are_counted() -> None:
    world = World(FakeEngine([made("ES", 1), made("ES", 2)]))
    report = await world.service.take(GRANT, sent(*GOOD))
    assert (report.symbol, report.received, report.inserted, report.duplicates) == ("ES", 2, 2, 0)
    assert [message.sequence for message in report.signals] == [1, 2]
    assert world.engine.ran == [("ES", NOW)]
    assert world.pushed == ["ES"]
    assert world.counted == {"bars_received": 2, "signals_published": 2}
    assert (report.quarantined, report.hindsight) == (0, None)
    again = await world.service.take(GRANT, sent(*GOOD))
    assert (again.received, again.inserted, again.duplicates, again.corrected) == (2, 0, 2, 0)


async def test_the_report_counts_what_became_of_each_bar() -> None:
    world = World(FakeEngine())
    late, first, second = (bar(NOW - n * MINUTE, 6500) for n in (9, 2, 1))
    # The maintenance hour of the day before has no session.
    closed = bar(datetime(2025, 10, 12, 21, 30, tzinfo=UTC), 6500)
    await world.service.take(GRANT, sent(first))
    corrected = bar(first.open_time, 6501)
    report = await world.service.take(GRANT, sent(closed, FUTURE, second, first, corrected, late))
    assert (report.received, report.accepted, report.inserted, report.duplicates) == (6, 5, 3, 1)
    assert (report.corrected, report.late, report.out_of_session) == (1, 2, 1)


async def test_a_bar_that_stays_in_quarantine_is_reported_again() -> None:
    world = World(FakeEngine())
    world.service._engine = SignalEngine(world.stores.bars, market_calendars(), VWAP_BOUNCE_RULES, "bars")
    bad = [spiked(DAY[200], price) for price in ("62000.00", "61000.00")]
    now = DAY[-1].close_time
    world.service._now = lambda: now
    reports = [
        await world.service.take(GRANT, sent(*bars))
        for bars in (DAY[:200], bad[:1], bad[:1], bad[1:], DAY[201:210], [DAY[200]])
    ]
    assert [report.quarantined for report in reports] == [0, 1, 1, 1, 0, 0]
    assert [report.corrected for report in reports] == [0, 0, 0, 1, 0, 1]
    assert world.counted["bars_quarantined"] == 1


def spiked(one: Bar, price: str) -> Bar:
    return msgspec.structs.replace(one, **dict.fromkeys(("open", "high", "low", "close"), Decimal(price)))


async def test_the_report_names_quarantined_bars_of_the_body_only_and_hindsight() -> None:
    hindsight = Hindsight([1], [2], [NOW])
    quarantined = frozenset({NOW - MINUTE, NOW - 90 * MINUTE})
    world = World(FakeEngine(quarantined=quarantined, hindsight=hindsight))
    await world.service.take(GRANT, sent(*GOOD))
    stored = world.stores.bars.bars["ES"]
    stored[NOW - MINUTE] = msgspec.structs.replace(stored[NOW - MINUTE], quarantined=True)
    world.counted.clear()
    report = await world.service.take(GRANT, sent(*GOOD))
    assert (report.quarantined, report.hindsight) == (1, hindsight)
    assert world.counted == {"bars_received": 2, "bars_quarantined": 2}
    assert await world.service.catch_up() == 0
    assert world.counted["bars_quarantined"] == 4


async def test_bars_that_make_no_signal_push_nothing() -> None:
    world = World(FakeEngine())
    await world.service.take(GRANT, sent(*GOOD))
    assert world.pushed == []
    assert world.counted.get("signals_published", 0) == 0


async def test_refused_bars_are_neither_stored_nor_run_nor_counted() -> None:
    world = World(FakeEngine())
    for request, error in (
        (sent(*GOOD, symbol="CL"), SymbolNotLicensed),
        (sent(FUTURE), ValidationFailed),
        (sent(), ValidationFailed),
        (sent(*GOOD * 2_501), BatchTooLarge),
    ):
        with pytest.raises(error):
            await world.service.take(GRANT, request)
    assert (world.stores.bars.bars, world.engine.ran, world.counted) == ({}, [], {})


async def test_a_bad_bar_leaves_the_others_stored_and_is_named_by_its_place() -> None:
    world = World(FakeEngine())
    report = await world.service.take(GRANT, sent(GOOD[0], FUTURE, GOOD[1]))
    assert (report.received, report.accepted, report.inserted, report.duplicates) == (3, 2, 2, 0)
    ((refused,),) = [report.refused]
    assert (refused.index, refused.code) == (1, "validation_failed")
    assert [error.field for error in refused.errors] == ["bars[1].open_time"]
    assert [*world.stores.bars.bars["ES"]] == [each.open_time for each in GOOD]
    assert world.engine.ran == [("ES", NOW)]
    assert world.counted == {"bars_received": 2, "bars_refused": 1}


async def test_a_strict_request_with_a_bad_bar_stores_nothing() -> None:
    world = World(FakeEngine())
    with pytest.raises(ValidationFailed) as refused:
        await world.service.take(GRANT, sent(GOOD[0], FUTURE, FUTURE), strict=True)
    assert [error.field for error in refused.value.errors] == ["bars[1].open_time", "bars[2].open_time"]
    assert refused.value.detail == "2 of 3 bars cannot be accepted, so nothing was stored. See errors."
    assert (world.stores.bars.bars, world.engine.ran, world.counted) == ({}, [], {})


async def test_catching_up_pushes_each_symbol_once_and_counts() -> None:
    world = World(FakeEngine([made("ES", 1), made("NQ", 1), made("ES", 2)]))
    assert await world.service.catch_up() == 3
    assert sorted(world.pushed) == ["ES", "NQ"]
    assert world.counted == {"signals_published": 3}
    assert world.engine.ran == [(None, NOW)]


async def test_catching_up_with_nothing_pushes_and_counts_nothing() -> None:
    world = World(FakeEngine())
    assert await world.service.catch_up() == 0
    assert (world.pushed, world.counted) == ([], {})


async def test_an_outage_while_catching_up_is_raised() -> None:
    world = World(FakeEngine(away=True))
    with pytest.raises(DatabaseUnavailable):
        await world.service.catch_up()
    assert world.counted == {}
