"""Describes the results of an account's trades, and the scores of the confidences that came with them."""

from decimal import Decimal
from typing import Annotated

import msgspec

_Wins = Annotated[int, msgspec.Meta(description="Trades with pnl - fees above 0; a loss is one below 0.")]
_WinRate = Annotated[float, msgspec.Meta(description="wins / trades.")]
_Pnl = Annotated[Decimal, msgspec.Meta(description="Sum of pnl, in USD before fees.")]
_Fees = Annotated[Decimal, msgspec.Meta(description="Sum of fees, in USD.")]
_NetPnl = Annotated[Decimal, msgspec.Meta(description="pnl - fees, in USD.")]
_AverageWin = Annotated[Decimal, msgspec.Meta(description="Mean of pnl - fees of the wins, in USD.")]
_AverageLoss = Annotated[Decimal, msgspec.Meta(description="Mean of pnl - fees of the losses, in USD.")]
_Drawdown = Annotated[
    Decimal,
    msgspec.Meta(description="Largest fall of cumulative pnl - fees below its highest value so far, in USD."),
]


class _Figures(msgspec.Struct, frozen=True, kw_only=True):
    """Amounts in USD. A trade is a win if its net pnl (pnl - fees) is above 0, and a loss if it is below 0.

    Averages and drawdown are net too. Trades that the account has withdrawn do not count.
    `max_drawdown` is the largest fall, 0 or more, of cumulative net pnl (by exit_at, then trade_id) below its
    highest value so far; the curve starts at 0. For the `scored` trades that have a confidence p, with w = 1
    for a win, else 0: `brier` is the mean of (p - w)^2, and `ece`, the expected calibration error, is the
    sum over ten bins of equal width of |sum of p - sum of w|, divided by `scored` (the last bin includes 1).
    Averages are null if there are no values.
    """

    trades: int
    wins: _Wins
    win_rate: _WinRate | None
    pnl: _Pnl
    fees: _Fees
    net_pnl: _NetPnl
    average_win: _AverageWin | None
    average_loss: _AverageLoss | None
    max_drawdown: _Drawdown
    scored: int
    brier: float | None
    ece: float | None


class SymbolPerformance(_Figures, frozen=True, kw_only=True):
    """The figures of one symbol; drawdown is over this symbol's trades only."""

    symbol: str


class Performance(_Figures, frozen=True, kw_only=True):
    """The figures of all selected trades together, and of each symbol, in order of name."""

    by_symbol: tuple[SymbolPerformance, ...]
