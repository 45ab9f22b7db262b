import math
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction

import msgspec
import numpy as np
import pytest
import talib
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.market.bars import Bar
from shared.domain.market.indicators import (
    VOLUME_PERIOD,
    WILDER_PERIOD,
    SessionVwap,
    VolumeRatio,
    WilderAtr,
    WilderRsi,
)
from tests.support.market import bar, bar_runs, real_es, simulated_es, utc

START = utc("2025-10-13T13:30")
closes_on_tick = st.lists(st.integers(20_000, 28_000).map(lambda ticks: ticks / 4), min_size=1, max_size=120)


def recomputed(bars: list[Bar]) -> tuple[Fraction, Fraction]:
    """Mean and variance of the typical price by the definition, in rational numbers."""
    weighted = [(one.volume, Fraction(one.high + one.low + one.close) / 3) for one in bars]
    volume = sum(weight for weight, _ in weighted)
    mean = sum((weight * price for weight, price in weighted), Fraction(0)) / volume
    variance = sum((weight * (price - mean) ** 2 for weight, price in weighted), Fraction(0)) / volume
    return mean, variance


def vwap_of(bars: list[Bar]) -> SessionVwap:
    state = SessionVwap()
    for one in bars:
        state = state.push(one)
    return state


@given(bar_runs(start=START))
def test_vwap_equals_a_recomputation_in_rational_numbers(bars: list[Bar]) -> None:
    state = vwap_of(bars)
    if sum(one.volume for one in bars) == 0:
        assert state.vwap is None
        assert state.deviation is None
        return
    mean, variance = recomputed(bars)
    assert state.vwap == float(mean)
    assert state.deviation == pytest.approx(math.sqrt(variance), rel=1e-12, abs=0)


def test_vwap_loses_no_digit_at_prices_that_dwarf_their_deviation() -> None:
    bars = [
        bar(
            START + timedelta(minutes=minute), Decimal(9_000_000) + Decimal(minute % 2) / 10_000, volume=10**8
        )
        for minute in range(2_000)
    ]
    state = vwap_of(bars)
    mean, variance = recomputed(bars)
    assert state.vwap == float(mean)
    assert state.deviation == pytest.approx(0.00005, rel=1e-12)
    assert math.sqrt(variance) == pytest.approx(0.00005, rel=1e-12)


def test_vwap_by_hand() -> None:
    state = vwap_of([bar(START, 100, volume=3), bar(START, 104, volume=1)])
    assert state.vwap == 101.0
    assert state.deviation == pytest.approx(math.sqrt(3.0), rel=1e-15)


def test_a_negative_price_is_a_price() -> None:
    assert vwap_of([bar(START, Decimal("-37.63"), volume=2)]).vwap == -37.63


@given(bar_runs(start=START, max_size=60), st.integers(0, 60))
def test_indicators_go_on_after_a_round_trip_through_json(bars: list[Bar], cut: int) -> None:
    class All(msgspec.Struct, frozen=True):
        vwap: SessionVwap = SessionVwap()
        rsi: WilderRsi = WilderRsi()
        atr: WilderAtr = WilderAtr()
        volumes: VolumeRatio = VolumeRatio()

        def push(self, one: Bar) -> "All":
            high, low, close = float(one.high), float(one.low), float(one.close)
            return All(
                self.vwap.push(one),
                self.rsi.push(close),
                self.atr.push(high, low, close),
                self.volumes.push(one.volume),
            )

    straight = broken = All()
    for index, one in enumerate(bars):
        straight, broken = straight.push(one), broken.push(one)
        if index == cut:
            broken = msgspec.json.decode(msgspec.json.encode(broken), type=All)
    assert broken == straight


def rsi_series(closes: list[float]) -> list[float]:
    state, values = WilderRsi(), []
    for close in closes:
        state = state.push(close)
        values.append(math.nan if state.value is None else state.value)
    return values


def atr_series(bars: list[Bar]) -> list[float]:
    state, values = WilderAtr(), []
    for one in bars:
        state = state.push(float(one.high), float(one.low), float(one.close))
        values.append(math.nan if state.value is None else state.value)
    return values


def talib_atr(bars: list[Bar]) -> list[float]:
    high, low, close = (
        np.array([float(getattr(one, name)) for one in bars]) for name in ("high", "low", "close")
    )
    return list(talib.ATR(high, low, close, timeperiod=WILDER_PERIOD))


@given(closes_on_tick)
def test_rsi_agrees_with_talib(closes: list[float]) -> None:
    expected = talib.RSI(np.array(closes), timeperiod=WILDER_PERIOD)
    for index, (ours, theirs) in enumerate(zip(rsi_series(closes), expected, strict=True)):
        if len(set(closes[: index + 1])) == 1 and index >= WILDER_PERIOD:
            assert ours == 50.0  # not a single move: TA-Lib says 0, which would read as oversold
        else:
            assert ours == pytest.approx(theirs, rel=1e-9, abs=1e-9, nan_ok=True)


@given(bar_runs(start=START, max_size=120))
def test_atr_agrees_with_talib(bars: list[Bar]) -> None:
    assert atr_series(bars) == pytest.approx(talib_atr(bars), rel=1e-9, nan_ok=True)


def test_rsi_and_atr_agree_with_talib_on_thousands_of_bars() -> None:
    bars = list(simulated_es())
    closes = [float(one.close) for one in bars]
    expected = list(talib.RSI(np.array(closes), timeperiod=WILDER_PERIOD))
    assert rsi_series(closes) == pytest.approx(expected, rel=1e-9, nan_ok=True)
    assert atr_series(bars) == pytest.approx(talib_atr(bars), rel=1e-9, nan_ok=True)


def test_indicators_are_exact_on_the_real_file() -> None:
    bars = list(real_es())
    closes = [float(one.close) for one in bars]
    expected = list(talib.RSI(np.array(closes), timeperiod=WILDER_PERIOD))
    assert rsi_series(closes) == pytest.approx(expected, rel=1e-9, nan_ok=True)
    assert atr_series(bars) == pytest.approx(talib_atr(bars), rel=1e-9, nan_ok=True)
    session = [one for one in bars if utc("2025-10-09T22:00") <= one.open_time < utc("2025-10-10T21:00")]
    mean, variance = recomputed(session)
    state = vwap_of(session)
    assert len(session) == 1_380
    assert state.vwap == float(mean)
    assert state.deviation == pytest.approx(math.sqrt(variance), rel=1e-12)


def test_rsi_of_a_market_that_only_rises_or_only_falls() -> None:
    assert rsi_series([float(step) for step in range(40)])[-1] == 100.0
    assert rsi_series([float(-step) for step in range(40)])[-1] == 0.0


@given(st.lists(st.integers(0, 10_000), max_size=80))
def test_volume_ratio_compares_with_the_twenty_bars_before(volumes: list[int]) -> None:
    state = VolumeRatio()
    for index, volume in enumerate(volumes):
        state = state.push(volume)
        before = volumes[max(0, index - VOLUME_PERIOD) : index]
        if len(before) < VOLUME_PERIOD or sum(before) == 0:
            assert state.value is None
        else:
            assert state.value == pytest.approx(volume / (sum(before) / VOLUME_PERIOD), rel=1e-12)
