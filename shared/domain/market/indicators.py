"""Computes indicators bar by bar, as immutable states: `push` returns the next state, at a constant cost.

All states are plain structs. msgspec encodes them as JSON and restores them exactly, so an indicator can be
saved and loaded between two bars without any difference.

RSI and ATR continue across sessions, because the last bars before a break still show how stretched the market
is. The VWAP and the volume ratio restart with each session.
"""

import math
from decimal import Decimal

import msgspec

from shared.domain.market.bars import MAX_PRICE_DECIMALS, Bar

WILDER_PERIOD = 14
VOLUME_PERIOD = 20
NEUTRAL_RSI = 50.0
# A smaller average move counts as none. It is far below any tick: smoothing leaves it of old moves.
_NO_MOVE = 1e-14
# A typical price is (high + low + close) / 3. Three times that, in millionths of a point, is an integer.
_TYPICAL_UNITS: int = 3 * 10**MAX_PRICE_DECIMALS


class SessionVwap(msgspec.Struct, frozen=True, array_like=True):
    """Volume-weighted mean and standard deviation of the typical price since the session began.

    With volume v and typical price p = (high + low + close) / 3 of each bar:
    vwap = sum(v p) / sum(v); deviation = sqrt(sum(v (p - vwap)^2) / sum(v)).

    The sums are integers: prices in thirds of a millionth of a point, minus the first price, which keeps
    them short. So no digit is lost, for any order and number of bars; only the final division rounds.
    """

    origin: int = 0
    volume: int = 0
    weighted: int = 0
    weighted_square: int = 0

    def push(self, bar: Bar) -> "SessionVwap":
        if bar.volume == 0:
            return self
        typical = _whole_units(bar.high + bar.low + bar.close)
        if self.volume == 0:
            return SessionVwap(typical, bar.volume, 0, 0)
        offset = typical - self.origin
        return SessionVwap(
            self.origin,
            self.volume + bar.volume,
            self.weighted + bar.volume * offset,
            self.weighted_square + bar.volume * offset * offset,
        )

    @property
    def vwap(self) -> float | None:
        """In points; None until something was traded."""
        if self.volume == 0:
            return None
        return (self.origin * self.volume + self.weighted) / (self.volume * _TYPICAL_UNITS)

    @property
    def deviation(self) -> float | None:
        """In points, at least 0; None until something was traded."""
        if self.volume == 0:
            return None
        spread = self.volume * self.weighted_square - self.weighted * self.weighted
        return math.sqrt(spread) / (self.volume * _TYPICAL_UNITS)


class WilderRsi(msgspec.Struct, frozen=True, array_like=True):
    """Relative strength index after Wilder, "New Concepts in Technical Trading Systems" (1978), 0 to 100.

    The first averages are the means of the first 14 gains and losses; each later one is
    (13 * previous + current) / 14. RSI = 100 * gain / (gain + loss). If the market has not moved at all, the
    RSI is 50 (neutral), and not 0 (oversold) as in some libraries.
    """

    last_close: float | None = None
    changes: int = 0
    gain: float = 0.0
    loss: float = 0.0

    def push(self, close: float) -> "WilderRsi":
        if self.last_close is None:
            return WilderRsi(close)
        change = close - self.last_close
        return WilderRsi(
            close,
            min(self.changes + 1, WILDER_PERIOD),
            _wilder(self.gain, max(change, 0.0), self.changes),
            _wilder(self.loss, max(-change, 0.0), self.changes),
        )

    @property
    def value(self) -> float | None:
        """None until 14 changes are known."""
        if self.changes < WILDER_PERIOD:
            return None
        moved = self.gain + self.loss
        return 100.0 * self.gain / moved if moved > _NO_MOVE else NEUTRAL_RSI


class WilderAtr(msgspec.Struct, frozen=True, array_like=True):
    """Average true range after Wilder (1978), in points, with the same smoothing as the RSI.

    True range = max(high, previous close) - min(low, previous close).
    """

    last_close: float | None = None
    ranges: int = 0
    average: float = 0.0

    def push(self, high: float, low: float, close: float) -> "WilderAtr":
        if self.last_close is None:
            return WilderAtr(close)
        true_range = max(high, self.last_close) - min(low, self.last_close)
        return WilderAtr(
            close, min(self.ranges + 1, WILDER_PERIOD), _wilder(self.average, true_range, self.ranges)
        )

    @property
    def value(self) -> float | None:
        """None until 14 true ranges are known."""
        return self.average if self.ranges >= WILDER_PERIOD else None


class VolumeRatio(msgspec.Struct, frozen=True, array_like=True):
    """The last bar's volume over the mean volume of the 20 bars before it."""

    volumes: tuple[int, ...] = ()

    def push(self, volume: int) -> "VolumeRatio":
        return VolumeRatio((*self.volumes[-VOLUME_PERIOD:], volume))

    @property
    def value(self) -> float | None:
        """None if there are fewer than 20 bars before the last, or if nothing was traded in them."""
        if len(self.volumes) <= VOLUME_PERIOD:
            return None
        before = sum(self.volumes[:-1])
        return self.volumes[-1] * VOLUME_PERIOD / before if before else None


def _wilder(average: float, value: float, seen: int) -> float:
    """The running mean over the first 14 values, Wilder's smoothing after them."""
    weight = min(seen + 1, WILDER_PERIOD)
    return average + (value - average) / weight


def _whole_units(price: Decimal) -> int:
    return int(price.scaleb(MAX_PRICE_DECIMALS))
