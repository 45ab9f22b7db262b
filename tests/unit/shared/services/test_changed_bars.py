"""Bars that come late, twice, with other content or with suspicious prices, as the engine plays them."""

import asyncio
import random
from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.adapters.calendars import market_calendars
from shared.domain.market.bars import BAR_INTERVAL, Bar
from shared.domain.market.feeds import ClockSource
from shared.domain.market.hindsight import Hindsight
from shared.domain.market.holes import PATIENCE
from shared.domain.market.signals import Signal
from shared.services.engine_memory import KEPT_SESSIONS, decoded_checkpoints
from shared.services.signal_engine import EngineReport, SignalEngine
from shared.strategies.vwap_bounce.engine_state import EngineState
from tests.support.disorder import dense
from tests.support.market import simulated_es, utc
from tests.support.memory_bars import MemoryBarStore
from tests.support.strategies import VWAP_BOUNCE_RULES as RULES

NOW = utc("2025-11-21T12:00")
# A session in which every minute trades.
DAY = dense(simulated_es()[:1_320])
NO_CHANGE = Hindsight()


class Feed:
    """A store and its engine; every bar is received at NOW unless a test says otherwise."""

    def __init__(self, clock: ClockSource = "bars") -> None:
        self.store = MemoryBarStore()
        self.engine = SignalEngine(self.store, market_calendars(), RULES, clock)

    async def send(self, bars: Sequence[Bar], now: datetime = NOW) -> EngineReport:
        self.store.put("ES", bars, received_at=now)
        return await self.engine.run("ES", now)

    @property
    def state(self) -> bytes | None:
        return self.store.state("ES", RULES.name)

    @property
    def quarantined(self) -> list[datetime]:
        return [at for at, stored in self.store.bars["ES"].items() if stored.quarantined]


async def ordered(bars: Sequence[Bar] = DAY) -> Feed:
    feed = Feed()
    await feed.send(bars)
    return feed


def said(signals: Sequence[Signal]) -> list[tuple[datetime, str, Decimal]]:
    return [(one.event_at, one.side, one.price) for one in signals]


def index_of(signal: Signal) -> int:
    """The place in DAY of the bar at whose close the signal was made."""
    return next(n for n, bar in enumerate(DAY) if bar.close_time == signal.event_at)


async def a_signal(number: int = 2) -> tuple[Signal, int]:
    signal = (await ordered()).store.signals("ES")[number]
    return signal, index_of(signal)


# Late


async def test_missed_bars_after_the_live_one_give_the_state_of_the_ordered_feed() -> None:
    feed = Feed()
    await feed.send(DAY[:600])
    await feed.send(DAY[615:616])
    assert feed.state != (await ordered(DAY[:616])).state
    report = await feed.send(DAY[600:615])
    assert feed.state == (await ordered(DAY[:616])).state
    assert report.hindsight is not None
    await feed.send(DAY[616:])
    assert feed.state == (await ordered()).state


async def test_an_entry_from_a_bar_behind_a_hole_waits_and_comes_when_the_hole_is_filled() -> None:
    signal, at = await a_signal()
    feed = Feed()
    await feed.send(DAY[: at - 15])
    assert (await feed.send(DAY[at : at + 1])).signals == []
    report = await feed.send(DAY[at - 15 : at])
    assert said(report.signals) == said([signal])
    assert report.hindsight == NO_CHANGE


async def test_an_entry_in_the_past_is_not_published_but_told() -> None:
    signal, at = await a_signal()
    feed = Feed()
    await feed.send(DAY[: at - 5])
    await feed.send(DAY[at + 4 : at + 8])
    report = await feed.send(DAY[at - 5 : at + 4])
    assert report.signals == []
    assert report.hindsight == Hindsight(missed=[signal.event_at])


async def test_by_the_wall_clock_late_bars_publish_only_while_they_are_timely() -> None:
    signal, at = await a_signal()
    for delay, published in ((timedelta(minutes=2, seconds=59), 1), (timedelta(minutes=3, seconds=1), 0)):
        feed = Feed("wall")
        await feed.send(DAY[: at - 3], DAY[at - 4].close_time)
        await feed.send(DAY[at : at + 1], signal.event_at)
        report = await feed.send(DAY[at - 3 : at], signal.event_at + delay)
        assert len(report.signals) == published
        assert report.hindsight == (NO_CHANGE if published else Hindsight(missed=[signal.event_at]))
        assert [draft.received_at for draft in feed.store.drafts] == [signal.event_at + delay] * published


async def test_a_hole_is_given_up_after_a_while_and_only_then() -> None:
    """In a market that trades every minute, two absent minutes are a hole."""
    signal, at = await a_signal()
    hole = at - 40
    for waited, published in ((PATIENCE - timedelta(seconds=1), 0), (PATIENCE, 1)):
        feed = Feed()
        await feed.send(DAY[:hole], NOW)
        await feed.send(DAY[hole + 2 : at], NOW)
        assert len((await feed.send(DAY[at : at + 1], NOW + waited)).signals) == published
    assert signal.sequence > 0


async def test_a_feed_that_begins_in_the_session_signals_after_the_same_while() -> None:
    signal, at = await a_signal()
    feed = Feed()
    await feed.send(DAY[at - 60 : at], NOW)
    assert (await feed.send(DAY[at : at + 1], NOW)).signals == []
    assert signal.event_at == DAY[at].close_time


async def test_a_quiet_minute_of_a_thin_market_delays_an_entry_by_a_minute() -> None:
    signal, at = await a_signal()
    quiet = {at - 1, at - 50, at - 51, at - 120, *range(10, at - 130, 20)}
    thin = [bar for n, bar in enumerate(DAY) if n not in quiet]
    expected = (await ordered(thin)).store.signals("ES")
    assert signal.event_at in [one.event_at for one in expected]
    feed = Feed()
    published: dict[datetime, datetime] = {}
    for bar in thin:
        for one in (await feed.send([bar])).signals:
            published[one.event_at] = bar.close_time
    assert said(feed.store.signals("ES")) == said(expected)
    delays = {event_at: at - event_at for event_at, at in published.items()}
    assert delays[signal.event_at] == BAR_INTERVAL
    assert set(delays.values()) <= {timedelta(0), BAR_INTERVAL, 2 * BAR_INTERVAL}


async def test_a_feed_that_was_late_within_the_hour_is_not_believed_that_a_minute_was_quiet() -> None:
    signal, at = await a_signal()
    thin = [bar for n, bar in enumerate(DAY) if n not in {at - 1, *range(10, at - 200, 20)}]
    place = next(n for n, bar in enumerate(thin) if bar.close_time == signal.event_at)
    for back, published in ((30, False), (75, True)):
        late = place - back
        feed = Feed()
        await feed.send(thin[:late])
        await feed.send(thin[late + 1 : late + 2])
        await feed.send(thin[late : late + 1])
        await feed.send(thin[late + 2 : place + 3])
        events = [one.event_at for one in feed.store.signals("ES")]
        assert (signal.event_at in events) is published


async def test_bars_older_than_the_kept_sessions_are_stored_and_move_nothing() -> None:
    bars = simulated_es()
    feed = Feed()
    await feed.send(bars[100:])
    checkpoints = decoded_checkpoints(feed.store._rows["ES", RULES.name].checkpoints, "ES")
    assert len(checkpoints) == KEPT_SESSIONS + 1
    before = feed.state
    report = await feed.send(bars[:100])
    assert (feed.state, report) == (before, EngineReport())
    assert await feed.store.behind(RULES.name) == []


@pytest.mark.parametrize("sessions_back", range(KEPT_SESSIONS))
async def test_late_bars_of_each_kept_session_are_played(sessions_back: int) -> None:
    bars = list(simulated_es()[:6_000])
    checkpoints = decoded_checkpoints((await ordered(bars)).store._rows["ES", RULES.name].checkpoints, "ES")
    opens_at = checkpoints[-1 - sessions_back].opens_at
    assert opens_at is not None
    held = [bar for bar in bars if timedelta() <= bar.open_time - opens_at < timedelta(minutes=20)]
    feed = Feed()
    await feed.send([bar for bar in bars if bar not in held])
    await feed.send(held)
    assert feed.state == (await ordered(bars)).state


# Corrected


def corrected(bar: Bar, ticks: int) -> Bar:
    close = bar.close + ticks * Decimal("0.25")
    return msgspec.structs.replace(
        bar, close=close, high=max(bar.high, close), low=min(bar.low, close), volume=bar.volume + 1
    )


@given(st.integers(0, 399), st.integers(-12, 12))
@settings(max_examples=20, deadline=None)
def test_a_correction_gives_the_state_of_the_feed_that_sent_it_at_first(place: int, ticks: int) -> None:
    async def both() -> tuple[bytes | None, bytes | None]:
        right = corrected(DAY[place], ticks)
        feed = Feed()
        await feed.send(DAY[:400])
        await feed.send([right])
        return feed.state, (await ordered([*DAY[:place], right, *DAY[place + 1 : 400]])).state

    got, expected = asyncio.run(both())
    assert got == expected


async def test_a_signal_that_was_sent_is_never_changed_nor_sent_again() -> None:
    signal, at = await a_signal(0)
    feed = Feed()
    await feed.send(DAY[: at + 1])
    sent = feed.store.signals("ES")
    assert said(sent) == said([signal])
    # The price turns back where the entry was: with this close there was no entry.
    report = await feed.send([corrected(DAY[at], -8 if signal.side == "LONG" else 8)])
    assert report.signals == []
    assert report.hindsight == Hindsight(dropped=[signal.sequence])
    assert feed.store.signals("ES") == sent
    report = await feed.send([DAY[at]])
    assert (report.signals, report.hindsight) == ([], NO_CHANGE), "the first version is right again"
    report = await feed.send([msgspec.structs.replace(DAY[at - 30], volume=DAY[at - 30].volume * 9)])
    assert report.hindsight == Hindsight(changed=[signal.sequence]), "its target would be another"
    assert feed.store.signals("ES") == sent


async def test_a_correction_that_makes_an_entry_of_the_present_publishes_it() -> None:
    signal, at = await a_signal(0)
    wrong = corrected(DAY[at], -8 if signal.side == "LONG" else 8)
    feed = Feed()
    assert (await feed.send([*DAY[:at], wrong])).signals == []
    report = await feed.send([DAY[at]])
    assert said(report.signals) == said([signal])
    assert report.hindsight == NO_CHANGE


async def test_an_import_of_old_bars_has_missed_nothing_by_the_wall_clock() -> None:
    feed = Feed("wall")
    assert await feed.send(DAY) == EngineReport()
    report = await feed.send([corrected(DAY[5], 1)])
    assert report == EngineReport(hindsight=NO_CHANGE)


# Suspicious prices


def moved(bars: Sequence[Bar], points: int) -> list[Bar]:
    return [
        msgspec.structs.replace(
            bar,
            open=bar.open + points,
            high=bar.high + points,
            low=bar.low + points,
            close=bar.close + points,
        )
        for bar in bars
    ]


@pytest.mark.parametrize("points", [60, -60, 600_000, -6_000])
async def test_a_splice_makes_no_entry_and_is_used_once_two_more_bars_confirm_it(points: int) -> None:
    for at in range(200, 1_000, 100):
        feed = Feed()
        before = len((await feed.send(DAY[:at])).signals)
        spliced = moved(DAY[at:], points)
        state = feed.state
        for n in range(2):
            report = await feed.send(spliced[n : n + 1])
            assert report.quarantined == {spliced[n].open_time}
        assert played(feed) == played_by(state), "the indicators have not seen it"
        report = await feed.send(spliced[2:3])
        assert (report.quarantined, feed.quarantined) == (frozenset(), [])
        assert (played(feed).bars, played(feed).long.phase) == (3, "armed")
        assert played(feed).atr.average < played_by(state).atr.average + 3, "the jump is no range"
        await feed.send(spliced[3:])
        after = feed.store.signals("ES")[before:]
        assert all(one.event_at > spliced[29].open_time for one in after), "bands begin again"
        alone = Feed()
        alone.store.put("ES", spliced, received_at=NOW - PATIENCE)
        expected = (await alone.engine.run("ES", NOW)).signals
        assert said(after)[-2:] == said(expected)[-2:], "the session goes on at the new level"


def played_by(state: bytes | None):  # type: ignore[no-untyped-def]
    return msgspec.json.decode(state or b"", type=tuple[int, EngineState])[1].entry


def played(feed: Feed):  # type: ignore[no-untyped-def]
    return played_by(feed.state)


SPIKES = {
    "low of a factor of 100": {"low": Decimal("62.25")},
    "low one tick above zero": {"low": Decimal("0.25")},
    "high": {"high": Decimal("6400.00")},
    "all by a factor of 100": dict.fromkeys(("open", "high", "low", "close"), Decimal("620000.00")),
}


@pytest.mark.parametrize("spike", SPIKES.values(), ids=SPIKES)
async def test_a_spike_that_nothing_confirms_never_reaches_the_indicators(spike: dict[str, Decimal]) -> None:
    at = 500
    bad = msgspec.structs.replace(DAY[at], **spike)
    feed = Feed()
    await feed.send(DAY[:at])
    assert (await feed.send([bad])).quarantined == {bad.open_time}
    await feed.send(DAY[at + 1 :])
    assert feed.quarantined == [bad.open_time]
    assert feed.state == (await ordered([*DAY[:at], *DAY[at + 1 :]])).state
    # Its correction is used as if it had come at first.
    await feed.send([DAY[at]])
    assert feed.quarantined == []
    assert feed.state == (await ordered()).state


async def test_two_spikes_at_different_levels_confirm_each_other_not() -> None:
    feed = Feed()
    await feed.send(DAY[:500])
    wild = [moved(DAY[500 + n : 501 + n], points)[0] for n, points in enumerate((60, -60, 120, -120))]
    await feed.send([*wild, *DAY[504:]])
    assert feed.quarantined == [bar.open_time for bar in wild]
    assert feed.state == (await ordered([*DAY[:500], *DAY[504:]])).state


async def test_the_first_bars_of_a_symbol_yield_to_a_longer_run_at_another_level() -> None:
    bad = moved(DAY[:1], 600_000)
    feed = Feed()
    await feed.send([*bad, *DAY[1:4]])
    assert feed.quarantined == []
    alone = await ordered(DAY[1:4])
    assert played(feed) == played(alone)


async def test_a_new_session_may_open_far_away_after_a_weekend() -> None:
    friday = [bar for bar in DAY if bar.open_time < DAY[0].open_time + timedelta(hours=2)]
    shift = utc("2025-10-17T18:59") - friday[-1].open_time
    monday = utc("2025-10-19T22:00") - friday[0].open_time
    first = [msgspec.structs.replace(bar, open_time=bar.open_time + shift) for bar in friday]
    for points in (150, -150):
        second = [msgspec.structs.replace(bar, open_time=bar.open_time + monday) for bar in friday]
        feed = Feed()
        assert (await feed.send([*first, *moved(second, points)])).quarantined == frozenset()


# No volume


async def test_one_quiet_minute_gives_the_same_signals_whether_it_is_absent_or_sent_without_volume() -> None:
    rng = random.Random(7)
    for quiet in ({300}, {300, 700}, {*rng.sample(range(1, len(DAY)), 60)}):
        silent = [msgspec.structs.replace(bar, volume=0) if n in quiet else bar for n, bar in enumerate(DAY)]
        absent = [bar for n, bar in enumerate(DAY) if n not in quiet]
        expected = said((await ordered(silent)).store.signals("ES"))
        assert said((await ordered(absent)).store.signals("ES")) == expected
        feed = Feed()
        for bar in absent:
            await feed.send([bar])
        assert said(feed.store.signals("ES")) == expected


@given(st.sets(st.integers(0, 399), max_size=60))
@settings(max_examples=15, deadline=None)
def test_a_minute_without_volume_is_the_same_as_an_absent_one(quiet: set[int]) -> None:
    async def both() -> tuple[Feed, Feed]:
        silent = [
            msgspec.structs.replace(bar, volume=0, high=bar.high + 50) if n in quiet else bar
            for n, bar in enumerate(DAY[:400])
        ]
        absent = [bar for n, bar in enumerate(DAY[:400]) if n not in quiet]
        old = utc("2025-06-01T00:00")
        sent, unsent = Feed(), Feed()
        await sent.send(silent, old)
        await unsent.send(absent, old)
        return sent, unsent

    sent, unsent = asyncio.run(both())
    assert sent.state == unsent.state
    assert sent.quarantined == []
