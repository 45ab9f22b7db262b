import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.adapters.calendars import market_calendars
from shared.domain.limits import ClockSkew
from shared.domain.market.bars import BAR_INTERVAL, Bar
from shared.domain.market.feeds import ClockSource
from shared.domain.market.signals import Signal
from shared.errors import DatabaseUnavailable
from shared.services import signal_engine
from shared.services.signal_engine import MAX_BATCH_BARS, EngineReport, SignalEngine
from shared.strategies.vwap_bounce.engine_state import SIGNAL_MAX_AGE
from tests.support.market import simulated_es, utc
from tests.support.memory_bars import MemoryBarStore, MemoryTurn
from tests.support.strategies import VWAP_BOUNCE_RULES

RULES = VWAP_BOUNCE_RULES
LATER = utc("2025-11-21T12:00")  # long after every bar
# Most of the first session of the bundled bars, with several signals.
BARS = simulated_es()[:1_200]


def engine(store: MemoryBarStore, clock_source: ClockSource = "bars") -> SignalEngine:
    return SignalEngine(store, market_calendars(), RULES, clock_source)


async def ran(store: MemoryBarStore, now: datetime = LATER, clock: ClockSource = "bars") -> list[Signal]:
    return (await engine(store, clock).run("ES", now)).signals


def content(signals: Sequence[Signal]) -> list[tuple[object, ...]]:
    return [(one.sequence, one.event_at, one.side, one.price, one.features) for one in signals]


async def all_at_once(bars: Sequence[Bar] = BARS) -> list[Signal]:
    store = MemoryBarStore()
    store.put("ES", bars)
    return await ran(store)


async def test_bars_become_signals_in_sequence() -> None:
    signals = await all_at_once()
    assert len(signals) >= 5
    assert [one.sequence for one in signals] == list(range(1, len(signals) + 1))
    assert {one.strategy for one in signals} == {"vwap_bounce"}
    assert [one.event_at for one in signals] == sorted(one.event_at for one in signals)


@given(st.lists(st.integers(1, 300), min_size=1, max_size=12))
@settings(max_examples=25, deadline=None)
def test_signals_do_not_depend_on_how_bars_arrived(sizes: list[int]) -> None:
    async def in_parts() -> list[Signal]:
        store, found, start = MemoryBarStore(), [], 0
        for size in [*sizes, len(BARS)]:
            store.put("ES", BARS[start : start + size])
            found += await ran(store)
            start += size
        return found

    async def both() -> tuple[list[Signal], list[Signal]]:
        return await in_parts(), await all_at_once()

    parts, whole = asyncio.run(both())
    assert content(parts) == content(whole)


async def test_a_run_takes_as_many_turns_as_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = content(await all_at_once())
    monkeypatch.setattr(signal_engine, "MAX_BATCH_BARS", 200)
    store = MemoryBarStore()
    store.put("ES", BARS)
    assert content(await ran(store)) == expected
    assert store.turns == 7  # six full ones, and one that finds nothing left
    assert MAX_BATCH_BARS > 200


async def test_a_run_without_new_bars_makes_nothing_and_saves_nothing() -> None:
    store = MemoryBarStore()
    assert await ran(store) == []
    store.put("ES", BARS)
    first = await ran(store)
    state = store.state("ES", RULES.name)
    assert await ran(store) == []
    assert store.state("ES", RULES.name) == state
    assert store.signals("ES") == first


async def test_a_symbol_that_the_engine_does_not_know_gives_no_signals() -> None:
    store = MemoryBarStore()
    store.put("ZZ", BARS)
    assert await engine(store).run("ZZ", LATER) == EngineReport()
    assert store.turns == 0


async def test_symbols_do_not_share_state() -> None:
    store = MemoryBarStore()
    store.put("ES", BARS)
    store.put("NQ", BARS)
    reports = await asyncio.gather(*(engine(store).run(symbol, LATER) for symbol in ("ES", "NQ")))
    es, nq = (report.signals for report in reports)
    assert [one.event_at for one in es] == [one.event_at for one in nq]
    assert {one.symbol for one in nq} == {"NQ"}


async def test_concurrent_runs_make_each_signal_once() -> None:
    store = MemoryBarStore()
    store.put("ES", BARS)
    runs = await asyncio.gather(*(ran(store) for _ in range(5)))
    expected = content(await all_at_once())
    assert content([one for run in runs for one in run]) == expected
    assert content(store.signals("ES")) == expected


async def test_a_store_that_fails_in_the_middle_loses_and_repeats_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    expected = content(await all_at_once())
    monkeypatch.setattr(signal_engine, "MAX_BATCH_BARS", 250)
    store = MemoryBarStore()
    store.put("ES", BARS[:250])
    await ran(store)
    store.put("ES", BARS[250:])
    store.fail_next_save = True
    with pytest.raises(ConnectionError):
        await ran(store)
    await ran(store)
    assert content(store.signals("ES")) == expected


async def test_catch_up_runs_every_symbol_that_is_behind() -> None:
    store = MemoryBarStore()
    store.put("ES", BARS)
    store.put("NQ", BARS)
    await ran(store)
    (caught_up,) = await engine(store).catch_up(LATER)
    assert {one.symbol for one in caught_up.signals} == {"NQ"}
    assert await store.behind(RULES.name) == []
    assert await engine(store).catch_up(LATER) == []


async def test_drafts_carry_source_and_time_of_arrival() -> None:
    store = MemoryBarStore()
    arrived = utc("2025-10-14T15:00:01")
    store.put("ES", BARS, source="simulated", received_at=arrived)
    signals = await ran(store)
    assert {one.source for one in signals} == {"simulated"}
    assert {draft.received_at for draft in store.drafts} == {arrived}
    assert len({draft.idempotency_key for draft in store.drafts}) == len(store.drafts) == len(signals)


@pytest.mark.parametrize(
    ("lateness", "published"),
    [
        (timedelta(0), True),
        (SIGNAL_MAX_AGE, True),
        (SIGNAL_MAX_AGE + timedelta(seconds=1), False),
        (-ClockSkew.BAR, True),
        (-ClockSkew.BAR - timedelta(seconds=1), False),
    ],
)
async def test_by_the_wall_clock_only_fresh_bars_signal(lateness: timedelta, published: bool) -> None:
    event_at = (await all_at_once())[0].event_at
    store = MemoryBarStore()
    store.put("ES", [one for one in BARS if one.close_time < event_at])
    assert await ran(store, clock="wall") == []
    store.put("ES", [one for one in BARS if one.close_time == event_at])
    signals = await ran(store, event_at + lateness, "wall")
    assert [one.event_at for one in signals] == ([event_at] if published else [])


async def test_stale_bars_still_move_the_rules_on() -> None:
    expected = await all_at_once()
    middle = expected[3].event_at
    store = MemoryBarStore()
    store.put("ES", [one for one in BARS if one.close_time < middle])
    assert await ran(store, clock="wall") == []
    late: list[Signal] = []
    for one in BARS:
        if one.close_time >= middle:
            store.put("ES", [one])
            late += await ran(store, one.close_time, "wall")
    # The first three went by unpublished; the sequence counts what was published.
    assert [(one.event_at, one.price) for one in late] == [(one.event_at, one.price) for one in expected[3:]]
    assert [one.sequence for one in late] == list(range(1, len(late) + 1))


async def test_bars_out_of_session_are_passed_over() -> None:
    def moved(to: datetime) -> list[Bar]:
        return [
            msgspec.structs.replace(one, open_time=to + index * BAR_INTERVAL)
            for index, one in enumerate(BARS)
        ]

    store = MemoryBarStore()
    saturday = moved(utc("2025-10-18T06:00"))
    store.put("ES", saturday)
    assert await ran(store) == []
    assert await store.behind(RULES.name) == []
    monday = moved(utc("2025-10-19T22:00"))
    store.put("ES", monday)
    fresh = MemoryBarStore()
    fresh.put("ES", monday)
    assert content(await ran(store)) == content(await ran(fresh))


@pytest.mark.parametrize("state", [b"", b"{", b"[0,[]]", b'[2,["never"]]', b"\x81\xa1a\x01"])
async def test_a_state_that_cannot_be_read_is_computed_again_from_the_bars_and_the_log_says_so(
    state: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    store = MemoryBarStore()
    store.put("ES", BARS[:700])
    before = await ran(store)
    sound = store.state("ES", RULES.name)
    store.corrupt_state("ES", RULES.name, state)
    with caplog.at_level(logging.WARNING):
        store.put("ES", BARS[700:])
        after = await ran(store)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "ES" in caplog.text
    assert content([*before, *after]) == content(await all_at_once())
    ordered = MemoryBarStore()
    ordered.put("ES", BARS)
    await ran(ordered)
    assert store.state("ES", RULES.name) == ordered.state("ES", RULES.name) != sound


async def test_a_symbol_that_fails_does_not_keep_the_others_from_signalling(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class FailsOnCrude(MemoryBarStore):
        @asynccontextmanager
        async def engine_turn(self, symbol: str, strategy: str) -> AsyncIterator[MemoryTurn]:
            if symbol == "CL":
                raise ArithmeticError("a defect of ours")
            async with super().engine_turn(symbol, strategy) as turn:
                yield turn

    store = FailsOnCrude()
    store.put("CL", BARS)
    store.put("ES", BARS)
    (report,) = await engine(store).catch_up(LATER)
    assert content(report.signals) == content(await all_at_once())
    assert "the engine fails on CL" in caplog.text


async def test_an_outage_while_catching_up_is_raised_and_nothing_is_lost() -> None:
    class GoesAway(MemoryBarStore):
        away = True

        @asynccontextmanager
        async def engine_turn(self, symbol: str, strategy: str) -> AsyncIterator[MemoryTurn]:
            if self.away:
                raise DatabaseUnavailable("The database cannot be reached.")
            async with super().engine_turn(symbol, strategy) as turn:
                yield turn

    store = GoesAway()
    store.put("ES", BARS)
    for run in (engine(store).catch_up(LATER), engine(store).run("ES", LATER)):
        with pytest.raises(DatabaseUnavailable):
            await run
    store.away = False
    (report,) = await engine(store).catch_up(LATER)
    assert content(report.signals) == content(await all_at_once())


async def test_the_state_of_another_version_is_told(caplog: pytest.LogCaptureFixture) -> None:
    store = MemoryBarStore()
    store.put("ES", BARS[:10])
    await ran(store)
    store.corrupt_state("ES", RULES.name, b"[7,[]]")
    store.put("ES", BARS[10:20])
    await ran(store)
    (told,) = caplog.messages
    assert "of version 7" in told
