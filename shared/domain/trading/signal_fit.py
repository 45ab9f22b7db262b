"""States how closely a trade must follow the signal that it names, and describes suspicious trades."""

from datetime import datetime, timedelta
from typing import Literal

import msgspec

from shared.domain.limits import ClockSkew


class SignalFit(msgspec.Struct, frozen=True, kw_only=True):
    """A trade has its signal's symbol, side and strategy, and enters near its time and price.

    That is from `before` the signal's time to `after` its expiry (`default_expiry` after its time if it has
    none), and within `price_share` of the signal's price, or within `price_points` if that is more.
    """

    before: timedelta = ClockSkew.TRADE
    after: timedelta = ClockSkew.TRADE
    default_expiry: timedelta = timedelta(hours=1)
    # Index futures move about a tenth of a percent in five minutes.
    price_share: float = 0.005
    # Twenty ticks of crude oil, whose price has been near zero.
    price_points: float = 0.2


FIT = SignalFit()

SuspicionReason = Literal[
    "unknown_signal", "other_signal", "entry_time", "entry_price", "exit_price", "win_without_gain", "volume"
]


class SuspiciousTrade(msgspec.Struct, frozen=True, kw_only=True):
    """A trade that does not fit what it claims.

    - `unknown_signal`: its signal does not exist.
    - `other_signal`: its signal is no entry, or has another side or strategy.
    - `entry_time`, `entry_price`: it entered too early or too late, or far from the signal's price.
    - `exit_price`: it won (after fees) by an exit at a price that the bars around its exit never reached.
    - `win_without_gain`: it won (after fees), although its exit is no better than its entry.
    - `volume`: its account reports many times as many trades as others.

    `trades` is the number of the account's trades with this reason at that time; only the newest are listed.
    """

    account_id: str
    trade_id: str
    symbol: str
    signal_sequence: int
    reason: SuspicionReason
    trades: int
    exit_at: datetime
    found_at: datetime
