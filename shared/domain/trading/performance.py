"""How an account's trades went, and how well the confidences it acted on held."""

from decimal import Decimal

import msgspec


class _Figures(msgspec.Struct, frozen=True, kw_only=True):
    """Amounts in USD. A win is a trade with pnl above 0, a loss one below; pnl is as reported by the bot.

    `max_drawdown` is the deepest fall, 0 or more, of cumulative pnl (by exit_at, then trade_id) below its
    highest, where the curve starts at 0. Over the `scored` trades that carry a confidence p, with w = 1 for
    a win, else 0: `brier` is the mean of (p - w)^2, and `ece`, the expected calibration error, is the sum
    over ten bins of equal width of |sum of p - sum of w|, divided by `scored` (the last bin includes 1).
    Averages over nothing are null.
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
    """The figures of one symbol, drawdown over its own trades alone."""

    symbol: str


class Performance(_Figures, frozen=True, kw_only=True):
    """The figures of all chosen trades together, and of each symbol, by name."""

    by_symbol: tuple[SymbolPerformance, ...]
