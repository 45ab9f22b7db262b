"""Compares the reported pnl of a trade with its prices."""

from decimal import Decimal

from shared.domain.market.instruments import Instrument
from shared.domain.market.signals import Side
from shared.domain.numbers import plain
from shared.domain.problems import Problems

_CENT = Decimal("0.01")
# Platforms round average fill prices. A tenth of a tick is above that, and below the usual costs of a trade.
_TICKS_A_CONTRACT = Decimal("0.1")
# So many micro contracts are worth one contract, of every instrument that we know.
_MICROS_A_CONTRACT = 10


def pnl_of(
    instrument: Instrument, side: Side, quantity: Decimal, entry_price: Decimal, exit_price: Decimal
) -> Decimal:
    """The pnl before fees of a round trip, in USD: points gained, times contracts, times USD a point."""
    points = exit_price - entry_price if side == "LONG" else entry_price - exit_price
    return points * quantity * instrument.point_value


def tolerance_of(instrument: Instrument, quantity: Decimal) -> Decimal:
    """How far a reported pnl may be from `pnl_of`, in USD: one cent, and a tenth of a tick a contract."""
    return _CENT + _TICKS_A_CONTRACT * instrument.tick_size * instrument.point_value * quantity


def check_pnl(
    problems: Problems,
    instrument: Instrument,
    side: Side,
    *,
    quantity: Decimal,
    entry_price: Decimal,
    exit_price: Decimal,
    pnl: Decimal,
    fees: Decimal,
) -> None:
    """Adds a problem if `pnl` contradicts the prices by more than rounding. All numbers must be storable."""
    expected = pnl_of(instrument, side, quantity, entry_price, exit_price)
    if pnl == expected:  # nearly always, and the rest costs as much again
        return
    tolerance = tolerance_of(instrument, quantity)
    if abs(pnl - expected) <= tolerance:
        return
    hint = ""
    if fees != 0 and abs(pnl - (expected - fees)) <= tolerance:
        hint = " It is the amount after fees."
    elif abs(pnl * _MICROS_A_CONTRACT - expected) <= tolerance:
        hint = " It is the pnl of a micro contract, which is a quantity of 0.1."
    problems.add(
        "pnl",
        "out_of_range",
        f"Expected {plain(expected)} USD within {plain(tolerance)}, by the prices, side and quantity at "
        f"{plain(instrument.point_value)} USD a point of {instrument.symbol}; got {plain(pnl)}.{hint} "
        "Send pnl before fees, and the costs of the round trip as fees. Average prices need their decimals.",
    )
