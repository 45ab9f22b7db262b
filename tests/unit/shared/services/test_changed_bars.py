"""Bars that come late, or with other content than before, as the engine plays them."""

import asyncio
from datetime import datetime, timedelta
from decimal import Decimal

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.domain.market.bars import BAR_INTERVAL, Bar
from shared.domain.market.hindsight import Hindsight
from shared.domain.market.holes import PATIENCE
from shared.domain.market.signals import Signal
from shared.services.engine_memory import KEPT_SESSIONS
from shared.services.signal_engine import EngineReport
from tests.support.engine_feed import DAY, NOW, Feed, ordered, said
from tests.support.market import simulated_es
from tests.support.strategies import VWAP_BOUNCE_RULES as RULES

NO_CHANGE = Hindsight()


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
    checkpoints = feed.checkpoints
    assert len(checkpoints) == KEPT_SESSIONS + 1
    before = feed.state
    report = await feed.send(bars[:100])
    assert (feed.state, report) == (before, EngineReport())
    assert await feed.store.behind(RULES.name) == []


@pytest.mark.parametrize("sessions_back", range(KEPT_SESSIONS))
async def test_late_bars_of_each_kept_session_are_played(sessions_back: int) -> None:
    bars = list(simulated_es()[:6_000])
    checkpoints = (await ordered(bars)).checkpoints
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
