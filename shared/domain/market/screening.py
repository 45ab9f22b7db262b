"""Judges whether a bar is suspicious: whether its prices are too far from what the market did just before.

The measure is the average true range of the last minutes (Wilder, 14 bars), and each limit has a floor, so
that a dead calm makes no tick suspicious. A bar is suspicious if one of these is above its limit:

- the jump from the last close to its open: JUMP ranges;
- the spike of its high or its low beyond open and close: SPIKE ranges;
- the distance from its low to its high: RANGE ranges.

After a pause, the limits grow with the square root of its minutes, because a price that wanders gets that
much further. Those of spike and range grow by LONGEST_PAUSE at most, because they concern one minute.

The limits stay clear of real trading: none of 48,307 minutes of ES in September and October 2025, weekends
and news among them, is suspicious. Before the average is known, a limit is UNKNOWN_SHARE of the price.
"""

from datetime import datetime, timedelta
from decimal import Decimal

import msgspec

from shared.domain.market.bars import BAR_INTERVAL, Bar, Source
from shared.domain.market.indicators import WilderAtr

JUMP, SPIKE, RANGE = 8.0, 12.0, 20.0
# The floors, in shares of the last close and in ticks; the larger counts.
JUMP_FLOOR, SPIKE_FLOOR, RANGE_FLOOR = (0.001, 20), (0.0025, 40), (0.005, 80)
UNKNOWN_SHARE = 0.02
LONGEST_PAUSE = timedelta(hours=1)
# This many bars at the new price level, after the suspicious one, confirm it.
CONFIRMING_BARS = 2


class Suspect(msgspec.Struct, frozen=True, array_like=True):
    """A quarantined bar that waits for the next ones to confirm it."""

    bar: Bar
    source: Source


class Level(msgspec.Struct, frozen=True):
    """Where the market was: its last close in points, the start of that minute, and the average range."""

    close: float
    open_time: datetime
    atr: WilderAtr
    tick_size: Decimal

    def limit(self, ranges: float, floor: tuple[float, int]) -> float:
        """The distance in points up to which a price counts as usual."""
        share, ticks = floor
        average = self.atr.value
        measured = UNKNOWN_SHARE * abs(self.close) if average is None else ranges * average
        return max(measured, share * abs(self.close), ticks * float(self.tick_size))


def is_suspicious(bar: Bar, suspects: tuple[Suspect, ...], level: Level) -> bool:
    """Whether `bar` jumps, spikes or ranges beyond its limits, judged from `level`.

    After `suspects` the time of the first one counts, because a price that stays away does not become usual.
    """
    since = suspects[0].bar.open_time if suspects else bar.open_time
    pause = max(since - level.open_time, BAR_INTERVAL)
    within = _growth(min(pause, LONGEST_PAUSE))
    span = float(bar.high) - float(bar.low)
    return (
        _jump(bar, level) > level.limit(JUMP * _growth(pause), JUMP_FLOOR)
        or _spike(bar) > level.limit(SPIKE * within, SPIKE_FLOOR)
        or span > level.limit(RANGE * within, RANGE_FLOOR)
    )


def confirms(bar: Bar, suspects: tuple[Suspect, ...], level: Level) -> bool:
    """Whether `bar` trades where the last of `suspects` closed; `level` is that before them."""
    last = suspects[-1].bar
    reached = Level(float(last.close), last.open_time, level.atr, level.tick_size)
    growth = _growth(max(bar.open_time - last.open_time, BAR_INTERVAL))
    return _jump(bar, reached) <= reached.limit(JUMP * growth, JUMP_FLOOR) and _spike(bar) <= reached.limit(
        SPIKE, SPIKE_FLOOR
    )


def _growth(pause: timedelta) -> float:
    return float((pause / BAR_INTERVAL) ** 0.5)


def _jump(bar: Bar, level: Level) -> float:
    return abs(float(bar.open) - level.close)


def _spike(bar: Bar) -> float:
    return float(max(bar.high - max(bar.open, bar.close), min(bar.open, bar.close) - bar.low))
