"""Describes the results of an account's trades, and the scores of the confidences that came with them."""

from decimal import Decimal

import msgspec


class _Figures(msgspec.Struct, frozen=True, kw_only=True):
    """Amounts in USD. A trade with pnl above 0 is a win, below 0 a loss; the bot reports the pnl.

    `max_drawdown` is the largest fall, 0 or more, of cumulative pnl (by exit_at, then trade_id) below its
    highest value so far; the curve starts at 0. For the `scored` trades that have a confidence p, with w = 1
    for a win, else 0: `brier` is the mean of (p - w)^2, and `ece`, the expected calibration error, is the
    sum over ten bins of equal width of |sum of p - sum of w|, divided by `scored` (the last bin includes 1).
    Averages are null if there are no values.
    """

    trades: int
    wins: int
    win_rate: float | None
    pnl: Decimal
    fees: Decimal
    average_win: Decimal | None
    average_loss: Decimal | None
    max_drawdown: Decimal
    scored: int
    brier: float | None
    ece: float | None


class SymbolPerformance(_Figures, frozen=True, kw_only=True):
    """The figures of one symbol; drawdown is over this symbol's trades only."""

    symbol: str


class Performance(_Figures, frozen=True, kw_only=True):
    """The figures of all selected trades together, and of each symbol, in order of name."""

    by_symbol: tuple[SymbolPerformance, ...]
