"""Entries are made as the rules say, whatever the batches, the gaps and the side."""

from collections.abc import Iterable, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from itertools import pairwise

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shared.domain.market.bars import BAR_INTERVAL, Bar
from shared.domain.market.indicators import SessionVwap, VolumeRatio
from shared.strategies.vwap_bounce.entry_rules import EntryState, after_jump
from tests.support.market import TICK, bar, bar_runs, utc
from tests.support.strategies import market_state
from tests.support.vwap_bounce import ES, RULES, play

OPEN = utc("2025-10-13T22:00")  # of the session of 14 October


def walk(closes: Sequence[float], start: datetime = OPEN) -> list[Bar]:
    return [bar(start + index * BAR_INTERVAL, close) for index, close in enumerate(closes)]


def mirrored(bars: Iterable[Bar]) -> list[Bar]:
    top = Decimal(12_000)
    return [
        Bar(one.open_time, top - one.open, top - one.low, top - one.high, top - one.close, one.volume)
        for one in bars
    ]


def range_then(*tail: float) -> list[Bar]:
    """Forty quiet minutes around 6000 (deviation half a point, RSI about 50), then the closes of `tail`."""
    return walk([6000 + (0.5 if minute % 2 else -0.5) for minute in range(40)] + list(tail))


FALL = (5997, 5994, 5991, 5988)
BOUNCE = (*FALL, 5989)


def test_entry_at_the_first_turn_of_rsi_beyond_the_band() -> None:
    bars = range_then(*BOUNCE)
    _, drafts = play(bars)
    (draft,) = drafts
    assert draft.side == "LONG"
    assert draft.kind == "entry"
    assert draft.price == Decimal("5989")
    assert draft.event_at == bars[-1].open_time + BAR_INTERVAL
    assert draft.expires_at == draft.event_at + timedelta(minutes=5)
    assert (draft.strategy, draft.strategy_version, draft.symbol, draft.source) == (
        "vwap_bounce",
        1,
        "ES",
        "simulated",
    )
    assert draft.stop_price is not None
    assert draft.target_price is not None
    assert draft.stop_price < Decimal("5988") < draft.price < draft.target_price < Decimal("6000")
    assert draft.received_at is None
    assert draft.idempotency_key == "vwap_bounce:ES:LONG:20251013T2245Z"


def test_features_are_the_readings_at_the_close_of_the_bar() -> None:
    bars = range_then(*BOUNCE)
    state, (draft,) = play(bars)
    assert draft.features["rsi"] == round(state.rsi.value or 0, 4)
    assert draft.features["atr"] == round(state.atr.value or 0, 4)
    assert draft.features["volume_ratio"] == 1.0
    assert draft.features["hour"] == 18
    vwap, deviation = state.vwap.vwap, state.vwap.deviation
    assert vwap is not None
    assert deviation is not None
    assert draft.features["vwap_distance"] == round((vwap - 5989) / deviation, 4)
    assert draft.target_price == ES.to_tick(vwap)


def test_a_fall_without_a_turn_gives_no_entry() -> None:
    assert play(range_then(*FALL, 5987, 5986, 5985))[1] == []


def test_an_unchanged_close_is_no_turn() -> None:
    assert play(range_then(*FALL, 5988, 5988, 5988))[1] == []


def test_a_turn_without_an_oversold_bar_gives_no_entry() -> None:
    strict = msgspec.structs.replace(RULES, oversold=1)
    assert play(range_then(*BOUNCE), strict)[1] == []


def test_a_turn_without_a_touch_of_the_band_gives_no_entry() -> None:
    far = msgspec.structs.replace(RULES, band=20.0)
    assert play(range_then(*BOUNCE), far)[1] == []


def dip_then(*closes: float) -> list[Bar]:
    """A bar whose low alone reaches a far band, then the closes, which never do."""
    bars = range_then(5998.5, 5998, *closes)
    bars[41] = msgspec.structs.replace(bars[41], low=Decimal(5985))
    return bars


FAR = msgspec.structs.replace(RULES, band=6.0, oversold=45)


def test_a_touch_by_the_low_alone_counts() -> None:
    assert [draft.side for draft in play(dip_then(5998.25), FAR)[1]] == ["LONG"]
    assert play(range_then(5998.5, 5998, 5998.25), FAR)[1] == []


def test_a_turn_too_long_after_the_touch_gives_no_entry() -> None:
    assert len(play(dip_then(5997.75, 5997.5, 5998), FAR)[1]) == 1  # three bars after the touch
    assert play(dip_then(5997.75, 5997.5, 5997.25, 5997.75), FAR)[1] == []


def test_a_turn_within_the_inner_band_gives_no_entry() -> None:
    assert play(dip_then(5999.5), FAR)[1] == []


def test_one_excursion_gives_one_entry_until_price_was_back_within_the_inner_band() -> None:
    again = (5988, 5986, 5987, 5985, 5986)
    assert len(play(range_then(*BOUNCE, *again))[1]) == 1
    back = (5996, 5999, 6000, 6000, 6000)
    second_fall = (5996, 5992, 5988, 5984, 5980, 5981)
    assert len(play(range_then(*BOUNCE, *again, *back, *second_fall))[1]) == 2


def test_bands_are_not_trusted_before_enough_bars() -> None:
    quick = msgspec.structs.replace(RULES, min_bars=45)
    bars = range_then(*BOUNCE)
    assert len(bars) == 45
    assert len(play(bars, quick)[1]) == 1
    slow = msgspec.structs.replace(RULES, min_bars=46)
    assert play(bars, slow)[1] == []


def test_bands_are_not_trusted_while_they_are_too_narrow() -> None:
    wide = msgspec.structs.replace(RULES, min_deviation_ticks=40)
    assert play(range_then(*BOUNCE), wide)[1] == []


def shifted_from(bars: list[Bar], index: int, minutes: int) -> list[Bar]:
    late = [
        msgspec.structs.replace(one, open_time=one.open_time + timedelta(minutes=minutes))
        for one in bars[index:]
    ]
    return bars[:index] + late


def test_a_hole_in_the_feed_forgets_the_excursion_and_the_turn() -> None:
    bars = range_then(*BOUNCE)
    assert len(play(shifted_from(bars, 44, 4))[1]) == 1  # five minutes from bar to bar: still contiguous
    state, drafts = play(shifted_from(bars, 44, 5))
    assert drafts == []
    assert state.long.phase != "entered"
    # A turn that is seen whole after the hole is an entry.
    after = bars[-1].open_time + BAR_INTERVAL
    later = walk([5985, 5986], start=after)
    assert len(play(later, state=state)[1]) == 1


def test_an_entry_that_was_made_stays_made_across_a_hole() -> None:
    state, drafts = play(range_then(*BOUNCE))
    assert len(drafts) == 1
    later = walk([5985, 5983, 5984], start=OPEN + timedelta(minutes=60))
    assert play(later, state=state)[1] == []


def test_no_entry_in_the_last_minutes_of_a_session() -> None:
    closes_at = utc("2025-10-14T21:00")
    bars = range_then(*BOUNCE)
    for quiet, expected in ((15, 1), (16, 0)):
        last_close = closes_at - timedelta(minutes=15)
        moved = shifted_from(bars, 0, int((last_close - bars[-1].close_time).total_seconds()) // 60)
        assert len(play(moved, msgspec.structs.replace(RULES, quiet_minutes=quiet))[1]) == expected


def test_bars_out_of_session_change_nothing() -> None:
    state, _ = play(range_then(*FALL))
    friday_after_close = bar(utc("2025-10-17T21:00"), 5993)
    labor_day_afternoon = bar(utc("2025-09-01T18:00"), 5993)
    assert play([friday_after_close, labor_day_afternoon], state=state) == (state, [])


def test_a_bar_without_volume_changes_nothing() -> None:
    bars = range_then(*BOUNCE)
    state, drafts = play(bars)
    silent = msgspec.structs.replace(bar(bars[-1].close_time, 5900, high=6100), volume=0)
    assert play([silent], state=state) == (state, [])
    quiet = [*bars[:42], msgspec.structs.replace(bars[42], volume=0), *bars[43:]]
    assert play(quiet) == play([*bars[:42], *bars[43:]])
    assert len(drafts) == 1


def test_after_a_jump_the_rules_begin_again_and_the_range_goes_on() -> None:
    state, _ = play(range_then(*FALL))
    assert state.long.phase == "stretched"
    after = after_jump(state, 6060.0)
    assert after == EntryState(atr=msgspec.structs.replace(state.atr, last_close=6060.0))
    early, _ = play(range_then()[:10])
    assert after_jump(early, 6060.0) == EntryState()


def test_the_vwap_restarts_with_the_session_and_rsi_runs_on() -> None:
    state, _ = play(walk([6000 + minute % 3 for minute in range(60)]))
    first = bar(utc("2025-10-14T22:00"), 6050, volume=7)
    after, _ = play([first], state=state)
    assert after.vwap == SessionVwap().push(first)
    assert after.volumes == VolumeRatio().push(7)
    assert after.bars == 1
    assert after.trading_day == date(2025, 10, 15)
    assert after.rsi == state.rsi.push(6050.0)
    assert after.long.phase == after.short.phase == "armed"


def test_the_entry_is_mirrored_for_short() -> None:
    bars = range_then(*BOUNCE)
    _, (long,) = play(bars)
    _, (short,) = play(mirrored(bars))
    assert short.side == "SHORT"
    assert short.price == 12_000 - long.price
    assert long.stop_price is not None
    assert short.stop_price == 12_000 - long.stop_price
    assert short.features["vwap_distance"] == long.features["vwap_distance"]
    assert short.features["rsi"] == pytest.approx(100 - float(long.features["rsi"]), abs=1e-3)


EAGER = msgspec.structs.replace(
    RULES, band=1.2, inner_band=0.6, oversold=45, min_bars=15, min_deviation_ticks=1
)
long_runs = bar_runs(start=OPEN, min_size=60, max_size=250)


@given(long_runs, st.lists(st.integers(0, 250), max_size=6))
@example(list(range_then(*BOUNCE)), [44])
def test_signals_do_not_depend_on_how_bars_were_batched(bars: list[Bar], cuts: list[int]) -> None:
    expected_state, expected = play(bars, EAGER)
    state, found = EntryState(), []
    edges = [0, *sorted(min(cut, len(bars)) for cut in cuts), len(bars)]
    for first, last in pairwise(edges):
        state, drafts = play(bars[first:last], EAGER, state)
        found += drafts
        state = msgspec.json.decode(msgspec.json.encode(state), type=EntryState)
    assert found == expected
    assert state == expected_state


@given(long_runs)
@example(list(range_then(*BOUNCE)))
def test_every_entry_can_be_traded_and_fits_the_feature_schema(bars: list[Bar]) -> None:
    closes = {one.close_time: one.close for one in bars}
    for draft in play(bars, EAGER)[1]:
        assert draft.price == closes[draft.event_at]
        assert draft.stop_price is not None
        assert draft.target_price is not None
        if draft.side == "LONG":
            assert draft.stop_price < draft.price <= draft.target_price
        else:
            assert draft.target_price <= draft.price < draft.stop_price
        for price in (draft.price, draft.stop_price, draft.target_price):
            assert price % TICK == 0
        market_state("vwap_bounce", draft.symbol, draft.side, draft.features)


@given(long_runs)
def test_a_mirrored_market_gives_mirrored_entries(bars: list[Bar]) -> None:
    other = {"LONG": "SHORT", "SHORT": "LONG"}
    straight = [(draft.event_at, draft.side, draft.price) for draft in play(bars, EAGER)[1]]
    turned = [
        (draft.event_at, other[draft.side], 12_000 - draft.price) for draft in play(mirrored(bars), EAGER)[1]
    ]
    assert turned == straight
