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
from shared.services.signal_engine import MAX_BATCH_BARS, SIGNAL_MAX_AGE, SignalEngine
from tests.support.market import MemoryBarStore, MemoryTurn, simulated_es, utc
from tests.support.strategies import VWAP_BOUNCE_RULES

RULES = VWAP_BOUNCE_RULES
LATER = utc("2025-11-21T12:00")  # long after every bar
# Most of the first session of the bundled bars, with several signals.
BARS = simulated_es()[:1_200]


def engine(store: MemoryBarStore, clock_source: ClockSource = "bars") -> SignalEngine:
    return SignalEngine(store, market_calendars(), RULES, clock_source)


def content(signals: Sequence[Signal]) -> list[tuple[object, ...]]:
    return [(one.sequence, one.event_at, one.side, one.price, one.features) for one in signals]


async def all_at_once(bars: Sequence[Bar] = BARS) -> list[Signal]:
    store = MemoryBarStore()
    store.insert("ES", bars)
    return await engine(store).run("ES", LATER)


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
            store.insert("ES", BARS[start : start + size])
            found += await engine(store).run("ES", LATER)
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
    store.insert("ES", BARS)
    assert content(await engine(store).run("ES", LATER)) == expected
    assert store.turns == 7  # six full ones, and one that finds nothing left
    assert MAX_BATCH_BARS > 200


async def test_a_run_without_new_bars_makes_nothing_and_saves_nothing() -> None:
    store = MemoryBarStore()
    assert await engine(store).run("ES", LATER) == []
    store.insert("ES", BARS)
    first = await engine(store).run("ES", LATER)
    state = store.state("ES", RULES.name)
    assert await engine(store).run("ES", LATER) == []
    assert store.state("ES", RULES.name) == state
    assert store.signals["ES"] == first


async def test_a_symbol_that_the_engine_does_not_know_gives_no_signals() -> None:
    store = MemoryBarStore()
    store.insert("ZZ", BARS)
    assert await engine(store).run("ZZ", LATER) == []
    assert store.turns == 0


async def test_symbols_do_not_share_state() -> None:
    store = MemoryBarStore()
    store.insert("ES", BARS)
    store.insert("NQ", BARS)
    es, nq = await asyncio.gather(*(engine(store).run(symbol, LATER) for symbol in ("ES", "NQ")))
    assert [one.event_at for one in es] == [one.event_at for one in nq]
    assert {one.symbol for one in nq} == {"NQ"}


async def test_concurrent_runs_make_each_signal_once() -> None:
    store = MemoryBarStore()
    store.insert("ES", BARS)
    runs = await asyncio.gather(*(engine(store).run("ES", LATER) for _ in range(5)))
    expected = content(await all_at_once())
    assert content([one for run in runs for one in run]) == expected
    assert content(store.signals["ES"]) == expected


async def test_a_store_that_fails_in_the_middle_loses_and_repeats_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    expected = content(await all_at_once())
    monkeypatch.setattr(signal_engine, "MAX_BATCH_BARS", 250)
    store = MemoryBarStore()
    store.insert("ES", BARS[:250])
    await engine(store).run("ES", LATER)
    store.insert("ES", BARS[250:])
    store.fail_next_save = True
    with pytest.raises(ConnectionError):
        await engine(store).run("ES", LATER)
    await engine(store).run("ES", LATER)
    assert content(store.signals["ES"]) == expected


async def test_catch_up_runs_every_symbol_that_is_behind() -> None:
    store = MemoryBarStore()
    store.insert("ES", BARS)
    store.insert("NQ", BARS)
    await engine(store).run("ES", LATER)
    caught_up = await engine(store).catch_up(LATER)
    assert {one.symbol for one in caught_up} == {"NQ"}
    assert await store.behind(RULES.name) == []
    assert await engine(store).catch_up(LATER) == []


async def test_drafts_carry_source_and_time_of_arrival() -> None:
    store = MemoryBarStore()
    arrived = utc("2025-10-14T15:00:01")
    store.insert("ES", BARS, source="simulated", received_at=arrived)
    signals = await engine(store).run("ES", LATER)
    assert {one.source for one in signals} == {"simulated"}
    assert {draft.received_at for draft in store.drafts} == {arrived}
    assert len({draft.idempotency_key for draft in store.drafts}) == len(store.drafts) == len(signals)


@pytest.mark.parametrize(
    ("lateness", "published"),
    [
        (timedelta(0), True),
        (SIGNAL_MAX_AGE, True),
        (SIGNAL_MAX_AGE + timedelta(seconds=1), False),
        (-ClockSkew.ENGINE, True),
        (-ClockSkew.ENGINE - timedelta(seconds=1), False),
    ],
)
async def test_by_the_wall_clock_only_fresh_bars_signal(lateness: timedelta, published: bool) -> None:
    event_at = (await all_at_once())[0].event_at
    store = MemoryBarStore()
    store.insert("ES", [one for one in BARS if one.close_time < event_at])
    assert await engine(store, "wall").run("ES", LATER) == []
    store.insert("ES", [one for one in BARS if one.close_time == event_at])
    signals = await engine(store, "wall").run("ES", event_at + lateness)
    assert [one.event_at for one in signals] == ([event_at] if published else [])


async def test_stale_bars_still_move_the_rules_on() -> None:
    expected = await all_at_once()
    middle = expected[3].event_at
    store = MemoryBarStore()
    store.insert("ES", [one for one in BARS if one.close_time < middle])
    assert await engine(store, "wall").run("ES", LATER) == []
    late: list[Signal] = []
    for one in BARS:
        if one.close_time >= middle:
            store.insert("ES", [one])
            late += await engine(store, "wall").run("ES", one.close_time)
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
    store.insert("ES", saturday)
    assert await engine(store).run("ES", LATER) == []
    assert await store.behind(RULES.name) == []
    monday = moved(utc("2025-10-19T22:00"))
    store.insert("ES", monday)
    fresh = MemoryBarStore()
    fresh.insert("ES", monday)
    assert content(await engine(store).run("ES", LATER)) == content(await engine(fresh).run("ES", LATER))


@pytest.mark.parametrize("state", [b"", b"{", b"[0,[]]", b'[1,["never"]]', b"\x81\xa1a\x01"])
async def test_a_state_that_cannot_be_read_starts_anew_and_says_so(
    state: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    store = MemoryBarStore()
    store.insert("ES", BARS[:100])
    await engine(store).run("ES", LATER)
    store.corrupt_state("ES", RULES.name, state)
    store.insert("ES", BARS[100:])
    with caplog.at_level(logging.WARNING):
        again = await engine(store).run("ES", LATER)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "ES" in caplog.text
    fresh = await all_at_once(BARS[100:])
    assert [one.event_at for one in again] == [one.event_at for one in fresh]


async def test_a_symbol_that_fails_does_not_keep_the_others_from_signalling(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class FailsOnCrude(MemoryBarStore):
        @asynccontextmanager
        async def engine_batch(
            self, symbol: str, strategy: str, *, limit: int = 5_000
        ) -> AsyncIterator[MemoryTurn]:
            if symbol == "CL":
                raise ArithmeticError("a defect of ours")
            async with super().engine_batch(symbol, strategy, limit=limit) as batch:
                yield batch

    store = FailsOnCrude()
    store.insert("CL", BARS)
    store.insert("ES", BARS)
    signals = await engine(store).catch_up(LATER)
    assert content(signals) == content(await all_at_once())
    assert "the engine fails on CL" in caplog.text


async def test_an_outage_while_catching_up_is_raised_and_nothing_is_lost() -> None:
    class GoesAway(MemoryBarStore):
        away = True

        @asynccontextmanager
        async def engine_batch(
            self, symbol: str, strategy: str, *, limit: int = 5_000
        ) -> AsyncIterator[MemoryTurn]:
            if self.away:
                raise DatabaseUnavailable("The database cannot be reached.")
            async with super().engine_batch(symbol, strategy, limit=limit) as batch:
                yield batch

    store = GoesAway()
    store.insert("ES", BARS)
    for run in (engine(store).catch_up(LATER), engine(store).run("ES", LATER)):
        with pytest.raises(DatabaseUnavailable):
            await run
    store.away = False
    assert content(await engine(store).catch_up(LATER)) == content(await all_at_once())


async def test_the_state_of_another_version_is_told(caplog: pytest.LogCaptureFixture) -> None:
    store = MemoryBarStore()
    store.insert("ES", BARS[:10])
    await engine(store).run("ES", LATER)
    store.corrupt_state("ES", RULES.name, b"[7,[]]")
    store.insert("ES", BARS[10:20])
    await engine(store).run("ES", LATER)
    (told,) = caplog.messages
    assert "of version 7" in told
