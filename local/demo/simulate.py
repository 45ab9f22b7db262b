"""Simulates ES bars from a seed: real session hours and a plausible day, but no market ever traded them.

What is modelled: volatility and volume by the time of day in New York, with the opening burst at 09:30;
trends and ranges of half an hour to three hours; sharp moves that run out and come partly back; gaps from
one session to the next, wider over a weekend; early closes and holidays by the calendar; thin minutes
overnight in which nothing trades, and which therefore have no bar.
"""

import argparse
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path

from local.demo.bar_files.writing import write_bars
from local.demo.options import BUNDLED_BARS
from shared.adapters.calendars import market_calendars
from shared.domain.market.bars import BAR_INTERVAL, Bar
from shared.domain.market.calendars import NEW_YORK, MarketCalendars, TradingSession
from shared.domain.market.instruments import INSTRUMENTS

SYMBOL = "ES"
DEFAULT_SEED = 5
# A week and a day with both kinds of early close (3 and 4 July) and a weekend in it.
DEFAULT_SESSIONS = 7
DEFAULT_FIRST = date(2025, 6, 30)
MAX_SESSIONS = 500

_START_PRICE = 6200.0
_STEPS_PER_MINUTE = 8
# From this New York time on: volatility in points a minute, mean contracts a minute.
_PROFILE = (
    ("00:00", 0.55, 45),
    ("02:00", 0.80, 110),
    ("03:00", 1.20, 320),
    ("05:00", 0.85, 180),
    ("08:00", 1.20, 420),
    ("08:30", 2.10, 1_500),
    ("08:45", 1.30, 700),
    ("09:30", 4.60, 9_800),
    ("09:35", 3.60, 6_400),
    ("10:00", 2.80, 4_300),
    ("11:30", 1.90, 2_200),
    ("14:00", 2.20, 2_700),
    ("15:30", 2.70, 4_600),
    ("15:55", 3.30, 9_000),
    ("16:00", 1.10, 900),
    ("16:15", 0.70, 130),
    ("18:00", 1.30, 300),
    ("18:10", 0.75, 90),
    ("20:00", 0.70, 80),
    ("22:00", 0.55, 40),
)


@dataclass(slots=True)
class _Market:
    """The forces on the price: `trend` in volatilities a minute, for `trend_minutes` more.

    A shock is a sharp move: for `shock_minutes` the price is pushed by `shock` volatilities a minute, then
    drawn back by a third of that for twice as long.
    """

    price: float
    trend: float = 0.0
    trend_minutes: int = 0
    shock: float = 0.0
    shock_minutes: int = 0
    recovery_minutes: int = 0

    def drift(self, rng: random.Random) -> float:
        """The push of the next minute, in volatilities."""
        if self.trend_minutes == 0:
            self.trend_minutes = rng.randrange(30, 180)
            # Half of the time the market ranges.
            self.trend = 0.0 if rng.random() < 0.5 else rng.gauss(0.0, 0.12)
        self.trend_minutes -= 1
        if self.shock_minutes == 0 and self.recovery_minutes == 0 and rng.random() < 1 / 75:
            self.shock = rng.choice((-1.0, 1.0)) * rng.uniform(0.8, 1.6)
            self.shock_minutes = rng.randrange(4, 12)
            self.recovery_minutes = 2 * self.shock_minutes
        if self.shock_minutes:
            self.shock_minutes -= 1
            return self.trend + self.shock
        if self.recovery_minutes:
            self.recovery_minutes -= 1
            return self.trend - self.shock / 3
        return self.trend


def simulated_bars(
    seed: int, count: int, first: date = DEFAULT_FIRST, *, calendar: MarketCalendars | None = None
) -> Iterator[Bar]:
    """Bars of `count` sessions from trading day `first` on; the same arguments give the same bars.

    Raises ValueError if the calendar ends before that many sessions.
    """
    rng = random.Random(seed)  # noqa: S311  # must be repeatable, protects nothing
    market = _Market(_START_PRICE)
    for session, days in _sessions(calendar or market_calendars(), first, count):
        # Points; a weekend moves the price more than a maintenance hour does.
        market.price += rng.gauss(0.0, 2.0 if days == 1 else 9.0)
        yield from _session_bars(rng, market, session)


def _sessions(calendar: MarketCalendars, first: date, count: int) -> Iterator[tuple[TradingSession, int]]:
    """`count` sessions, each with the days from the one before it."""
    day, found, days = first, 0, 1
    while found < count:
        if calendar.days_left(day) < 0:
            raise ValueError(f"the calendar ends before {count} sessions from {first}")
        session = calendar.session_of(SYMBOL, day)
        if session is not None:
            yield session, days
            found, days = found + 1, 0
        if found:
            days += 1
        day += timedelta(days=1)


def _session_bars(rng: random.Random, market: _Market, session: TradingSession) -> Iterator[Bar]:
    moment = session.opens_at
    while moment < session.closes_at:
        volatility, mean_volume = _profile_at(moment)
        drift = market.drift(rng)
        prices = _minute(rng, market, drift * volatility, volatility)
        # Moves draw volume; the log-normal factor has mean 1.
        effort = 0.6 + 0.4 * abs(prices[-1] - prices[0]) / volatility
        volume = int(mean_volume * effort * rng.lognormvariate(-0.18, 0.6))
        # A minute with a mean of a few contracts often has none at all.
        if rng.random() < 3.0 / (3.0 + volume):
            volume = 0
        if volume:
            yield _bar(moment, prices, volume)
        moment += BAR_INTERVAL


def _minute(rng: random.Random, market: _Market, drift: float, volatility: float) -> list[float]:
    """The prices traded in one minute, in order."""
    prices = [market.price]
    for _ in range(_STEPS_PER_MINUTE):
        market.price += drift / _STEPS_PER_MINUTE + rng.gauss(0.0, volatility / _STEPS_PER_MINUTE**0.5)
        prices.append(market.price)
    return prices


def _bar(moment: datetime, prices: list[float], volume: int) -> Bar:
    tick = INSTRUMENTS[SYMBOL].to_tick
    opened, closed = tick(prices[0]), tick(prices[-1])
    high, low = tick(max(prices)), tick(min(prices))
    return Bar(open_time=moment, open=opened, high=high, low=low, close=closed, volume=volume)


def _profile_at(moment: datetime) -> tuple[float, int]:
    clock = moment.astimezone(NEW_YORK).strftime("%H:%M")
    volatility, volume = next(entry[1:] for entry in reversed(_PROFILE) if entry[0] <= clock)
    return volatility, volume


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m local simulate", description="Writes simulated one-minute ES bars."
    )
    parser.add_argument("--seed", type=int, default=DEFAULT_SEED)
    parser.add_argument("--sessions", type=int, default=DEFAULT_SESSIONS, help=f"1 to {MAX_SESSIONS}")
    parser.add_argument(
        "--first", type=date.fromisoformat, default=DEFAULT_FIRST, help="first trading day, YYYY-MM-DD"
    )
    parser.add_argument(
        "--out", type=Path, default=BUNDLED_BARS, help="file to write, gzipped if it ends in .gz"
    )
    arguments = parser.parse_args(argv)
    if not 1 <= arguments.sessions <= MAX_SESSIONS:
        parser.error(f"--sessions must be from 1 to {MAX_SESSIONS}")
    try:
        written = write_bars(
            arguments.out, simulated_bars(arguments.seed, arguments.sessions, arguments.first)
        )
    except (ValueError, OSError) as error:
        parser.error(str(error))
    print(f"wrote {written} simulated bars to {arguments.out}")
    return 0
