"""Lists the futures that we know: their tick size, point value, market and sign of prices."""

from decimal import ROUND_HALF_EVEN, Decimal
from typing import Literal

import msgspec

Market = Literal["equity", "crude"]


class Instrument(msgspec.Struct, frozen=True):
    """`tick_size` is the smallest price step in points, `point_value` one point of one contract in USD.

    `market` names the calendar in shared/calendars. `max_price` is far above every price so far, in points:
    a price beyond it, on either side of zero, is a mistake.
    """

    symbol: str
    tick_size: Decimal
    point_value: Decimal
    market: Market
    max_price: Decimal
    can_be_negative: bool = False

    def is_possible(self, price: Decimal) -> bool:
        """Whether a price can have the sign and size of `price`, which is finite and may lie off the tick."""
        return abs(price) <= self.max_price and (self.can_be_negative or price > 0)

    def to_tick(self, price: Decimal | float) -> Decimal:
        """The nearest tradable price; if two are equally near, the one with the even number of ticks."""
        steps = (Decimal(price) / self.tick_size).quantize(Decimal(1), ROUND_HALF_EVEN)
        return steps * self.tick_size


INSTRUMENTS = {
    instrument.symbol: instrument
    for instrument in (
        Instrument("ES", Decimal("0.25"), Decimal(50), "equity", Decimal(100_000)),
        Instrument("NQ", Decimal("0.25"), Decimal(20), "equity", Decimal(200_000)),
        Instrument("YM", Decimal(1), Decimal(5), "equity", Decimal(500_000)),
        Instrument("RTY", Decimal("0.10"), Decimal(50), "equity", Decimal(50_000)),
        # Crude oil settled at -37.63 on 20 April 2020.
        Instrument("CL", Decimal("0.01"), Decimal(1000), "crude", Decimal(1_000), can_be_negative=True),
    )
}
