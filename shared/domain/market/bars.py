"""Bars: OHLCV of one symbol over one minute, as sent, as stored, and what is wrong with a bad one."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Literal

import msgspec

from shared.domain.limits import is_storable
from shared.errors import FieldError

BAR_INTERVAL = timedelta(minutes=1)
MAX_BARS_PER_REQUEST = 5_000
# The VWAP sums prices as whole millionths, exactly; finer prices would have to be rounded.
MAX_PRICE_DECIMALS = 6
_FINEST = Decimal(1).scaleb(-MAX_PRICE_DECIMALS)
MAX_PRICE = Decimal(10_000_000)
MAX_VOLUME = 1_000_000_000

Source = Literal["live", "replay", "simulated"]
SYMBOL_PATTERN = r"^[A-Z][A-Z0-9]{0,11}$"
Symbol = Annotated[str, msgspec.Meta(pattern=SYMBOL_PATTERN)]
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


class StoredBar(msgspec.Struct, frozen=True):
    """A bar as it lies in Postgres, with where it came from and when we learned of it."""

    bar: Bar
    source: Source
    received_at: datetime


class FeedState(msgspec.Struct, frozen=True):
    """The newest bar of one symbol: its start, when it came in, and from where."""

    symbol: str
    last_open_time: datetime
    last_received_at: datetime
    source: Source


def bar_problems(bar: Bar) -> list[FieldError]:
    """Everything that makes `bar` impossible, empty when it may be stored; field names are the bar's own.

    Prices may be negative (crude oil was, in April 2020), but are finite, at most MAX_PRICE from zero
    and no finer than MAX_PRICE_DECIMALS; low <= open, close <= high; `open_time` is an aware whole minute.
    """
    problems = _time_problems(bar.open_time)
    for field, price in (("open", bar.open), ("high", bar.high), ("low", bar.low), ("close", bar.close)):
        problems += _price_problems(field, price)
    if problems:
        return problems
    if bar.high < max(bar.open, bar.close, bar.low):
        problems.append(FieldError("high", "out_of_range", "Must not be below open, low or close."))
    if bar.low > min(bar.open, bar.close):
        problems.append(FieldError("low", "out_of_range", "Must not be above open or close."))
    if not 0 <= bar.volume <= MAX_VOLUME:
        problems.append(FieldError("volume", "out_of_range", f"Must be from 0 to {MAX_VOLUME}."))
    return problems


def _price_problems(field: str, price: Decimal) -> list[FieldError]:
    if not price.is_finite() or not -MAX_PRICE <= price <= MAX_PRICE:
        return [FieldError(field, "out_of_range", f"Must be a number from -{MAX_PRICE} to {MAX_PRICE}.")]
    if not is_storable(price) or price != price.quantize(_FINEST):
        return [FieldError(field, "out_of_range", f"Must have at most {MAX_PRICE_DECIMALS} decimals.")]
    return []


def _time_problems(open_time: datetime) -> list[FieldError]:
    if open_time.tzinfo is None:
        return [FieldError("open_time", "wrong_type", "Must carry its offset from UTC, for example Z.")]
    if open_time.second or open_time.microsecond:
        return [FieldError("open_time", "out_of_range", "Must be the start of a whole minute.")]
    return []
