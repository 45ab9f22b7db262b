"""Lists the futures that the signal engine knows: their tick size, and the market that sets their hours."""

from decimal import ROUND_HALF_EVEN, Decimal
from typing import Literal

import msgspec

Market = Literal["equity", "crude"]


class Instrument(msgspec.Struct, frozen=True):
    """`tick_size` is the smallest price step in points; `market` names the calendar in shared/calendars."""

    symbol: str
    tick_size: Decimal
    market: Market

    def to_tick(self, price: Decimal | float) -> Decimal:
        """The nearest tradable price; if two are equally near, the one with the even number of ticks."""
        steps = (Decimal(price) / self.tick_size).quantize(Decimal(1), ROUND_HALF_EVEN)
        return steps * self.tick_size


INSTRUMENTS = {
    instrument.symbol: instrument
    for instrument in (
        Instrument("ES", Decimal("0.25"), "equity"),
        Instrument("NQ", Decimal("0.25"), "equity"),
        Instrument("YM", Decimal("1"), "equity"),
        Instrument("RTY", Decimal("0.10"), "equity"),
        Instrument("CL", Decimal("0.01"), "crude"),
    )
}
