"""Bars: OHLCV of one symbol over one minute."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Literal

import msgspec

BAR_INTERVAL = timedelta(minutes=1)
MAX_BARS_PER_REQUEST = 5_000

Source = Literal["live", "replay", "simulated"]
Symbol = Annotated[str, msgspec.Meta(pattern=r"^[A-Z][A-Z0-9]{0,11}$")]
Price = Annotated[Decimal, msgspec.Meta(description="index points or currency, exact")]


class Bar(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One minute of trading; `open_time` is its start, aware, UTC; prices in points, volume in contracts."""

    open_time: datetime
    open: Price
    high: Price
    low: Price
    close: Price
    volume: Annotated[int, msgspec.Meta(ge=0)]

    @property
    def close_time(self) -> datetime:
        return self.open_time.astimezone(UTC) + BAR_INTERVAL
