"""Paper trading for bot.py: bars from a file, a clock over them, and a broker that fills on them."""

import csv
import gzip
import time
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

FEATURES = ("vwap_distance", "rsi", "atr", "volume_ratio", "hour")
TIME_LIMIT_BARS = 30
ROUND_TRIP_FEES_USD = Decimal("4.50")
POINT_VALUE_USD = {"ES": 50, "NQ": 20, "CL": 1000, "YM": 5, "RTY": 50}


@dataclass(frozen=True, slots=True)
class Bar:
    """One minute of the bot's own market data."""

    open_time: datetime
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal


def read_bars(path: Path, start: datetime | None, end: datetime | None) -> list[Bar]:
    """Bars of a CSV (gzip by its name), `start` inclusive, `end` exclusive."""
    bars = []
    with gzip.open(path, "rt", newline="") if path.suffix == ".gz" else path.open(newline="") as file:
        for row in csv.DictReader(file):
            at = datetime.fromisoformat(row["open_time"])
            if (start is None or at >= start) and (end is None or at < end):
                prices = (Decimal(row[name]) for name in ("open", "high", "low", "close"))
                bars.append(Bar(at, *prices))
    return bars


class Market:
    """Bars and a clock over them, counted in closed bars, because a replay skips closed hours.

    Messages set the clock: a heartbeat is sent at the market's own time, so it sets it both ways;
    a signal may arrive late and only moves it forward. It never runs backwards. A time after the last
    bar is not of this market (before a replay's first bar, heartbeats carry today's) and sets nothing.
    """

    def __init__(self, symbol: str, bars: list[Bar], speed: float) -> None:
        self.symbol = symbol
        self.bars = bars
        self._closes = [bar.open_time + timedelta(minutes=1) for bar in bars]
        self._bars_per_s = speed / 60
        self._anchor: tuple[float, float] | None = None
        self._latest = 0

    def index_of(self, instant: datetime) -> int:
        """How many bars have closed at `instant`: the index of the first bar that opens after it."""
        return bisect_right(self._closes, instant)

    def set_clock(self, instant: datetime, *, exact: bool) -> None:
        if not self._closes or instant > self._closes[-1]:
            return
        index, now = float(self.index_of(instant)), time.monotonic()
        if exact or self._anchor is None or index > self._estimate(now):
            self._anchor = (index, now)

    def closed(self) -> int:
        """How many bars have closed by now."""
        if self._anchor is not None:
            estimate = min(int(self._estimate(time.monotonic())), len(self.bars))
            self._latest = max(self._latest, estimate)
        return self._latest

    def lateness_s(self, event_at: datetime) -> float:
        """Real seconds since `event_at`. In a replay the market is faster, the network is not."""
        return max(0.0, (self.closed() - self.index_of(event_at)) / self._bars_per_s)

    def _estimate(self, now: float) -> float:
        assert self._anchor is not None
        index, at = self._anchor
        return index + (now - at) * self._bars_per_s


@dataclass
class Position:
    """One paper trade; `entry` is filled by the first bar it lives through."""

    signal: dict[str, Any]
    answer: dict[str, Any]
    next_index: int
    entry: Bar | None = None
    bars_held: int = 0
    exit_wanted: bool = False

    def advance(self, bar: Bar) -> Decimal | None:
        """Live through one closed bar; the exit price where it ended the trade.

        Where a bar touches both stop and target, the stop is taken: the order within is unknown.
        """
        if self.entry is None:
            self.entry = bar
        elif self.exit_wanted:
            return bar.open
        is_long = self.signal["side"] == "LONG"
        stop, target = (_price(self.signal[name]) for name in ("stop_price", "target_price"))
        if stop is not None and (bar.low <= stop if is_long else bar.high >= stop):
            return min(stop, bar.open) if is_long else max(stop, bar.open)
        if target is not None and (bar.high >= target if is_long else bar.low <= target):
            return target
        self.bars_held += 1
        return bar.close if self.bars_held >= TIME_LIMIT_BARS else None


def _price(value: str | float | None) -> Decimal | None:
    return None if value is None else Decimal(str(value))


class Broker:
    """Paper trading on the market's bars; finished trades go to `report`."""

    def __init__(self, name: str, market: Market | None, report: Callable[[dict[str, Any]], None]) -> None:
        self._name = name
        self.market = market
        self._report = report
        self.open: list[Position] = []

    def trades(self, symbol: str) -> bool:
        return self.market is not None and self.market.symbol == symbol

    def enter(self, signal: dict[str, Any], answer: dict[str, Any], lateness_s: float) -> None:
        assert self.market is not None
        event_at = datetime.fromisoformat(signal["event_at"])
        index = self.market.index_of(event_at) + int(lateness_s // 60)
        self.open.append(Position(signal, answer, index))

    def exit(self, signal: dict[str, Any]) -> None:
        """The strategy wants out: at the next bar's open."""
        for position in self.open:
            if (position.signal["symbol"], position.signal["side"]) == (signal["symbol"], signal["side"]):
                position.exit_wanted = True

    def tick(self) -> None:
        """Let every open position live through the bars that have closed since."""
        if self.market is None or not self.open:
            return
        closed, bars = self.market.closed(), self.market.bars
        still_open = []
        for position in self.open:
            exit_price = None
            while exit_price is None and position.next_index < closed:
                bar = bars[position.next_index]
                exit_price = position.advance(bar)
                if exit_price is None and position.next_index + 1 == len(bars):
                    exit_price = bar.close  # the data ends here, and with it the trading
                position.next_index += 1
            if exit_price is not None:
                self._report(self._trade(position, exit_price, bars[position.next_index - 1]))
            elif position.next_index < len(bars):
                still_open.append(position)
        self.open = still_open

    def _trade(self, position: Position, exit_price: Decimal, last: Bar) -> dict[str, Any]:
        signal, entry = position.signal, position.entry
        assert entry is not None
        points = exit_price - entry.open if signal["side"] == "LONG" else entry.open - exit_price
        trade = {
            "trade_id": f"{self._name}:{signal['symbol']}:{signal['sequence']}",
            "symbol": signal["symbol"],
            "side": signal["side"],
            "strategy": signal["strategy"],
            "entry_price": str(entry.open),
            "exit_price": str(exit_price),
            "entry_at": entry.open_time.isoformat(),
            "exit_at": (last.open_time + timedelta(minutes=1)).isoformat(),
            # Before fees: the server takes them from it, and refuses a pnl that contradicts the prices.
            "pnl": str(points * POINT_VALUE_USD.get(signal["symbol"], 1)),
            "fees": str(ROUND_TRIP_FEES_USD),
            "signal_sequence": signal["sequence"],
            "features": features_of(signal),
        }
        if position.answer:
            trade["confidence"] = position.answer["confidence"]
            trade["model_version"] = position.answer["model_version"]
        return trade


def features_of(signal: dict[str, Any]) -> dict[str, float]:
    """What the confidence is asked with, and what is reported with the trade."""
    return {name: signal["features"][name] for name in FEATURES if name in signal["features"]}
