"""Bars with suspicious prices or without volume, as the engine plays them."""

import asyncio
import random
from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.domain.market.bars import Bar
from shared.domain.market.holes import PATIENCE
from tests.support.engine_feed import DAY, NOW, Feed, ordered, said
from tests.support.market import utc


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
        state = feed.played
        for n in range(2):
            report = await feed.send(spliced[n : n + 1])
            assert report.quarantined == {spliced[n].open_time}
        assert feed.played == state, "the indicators have not seen it"
        report = await feed.send(spliced[2:3])
        assert (report.quarantined, feed.quarantined) == (frozenset(), [])
        assert (feed.played.bars, feed.played.long.phase) == (3, "armed")
        assert feed.played.atr.average < state.atr.average + 3, "the jump is no range"
        await feed.send(spliced[3:])
        after = feed.store.signals("ES")[before:]
        assert all(one.event_at > spliced[29].open_time for one in after), "bands begin again"
        alone = Feed()
        alone.store.put("ES", spliced, received_at=NOW - PATIENCE)
        expected = (await alone.engine.run("ES", NOW)).signals
        assert said(after)[-2:] == said(expected)[-2:], "the session goes on at the new level"


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
    assert feed.played == alone.played


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
