"""Describes bars (OHLCV of one symbol over one minute), as sent and as stored, and checks them."""

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Literal

import msgspec

from shared.domain.limits import is_storable
from shared.domain.market.symbols import symbol_fault
from shared.domain.problems import Problems

BAR_INTERVAL = timedelta(minutes=1)
MAX_BARS_PER_REQUEST = 5_000
# The VWAP sums prices exactly, as whole millionths; finer prices would have to be rounded.
MAX_PRICE_DECIMALS = 6
_FINEST = Decimal(1).scaleb(-MAX_PRICE_DECIMALS)
MAX_PRICE = Decimal(10_000_000)
MAX_VOLUME = 1_000_000_000

Source = Literal["live", "replay", "simulated"]
SYMBOL_PATTERN = r"^[A-Z][A-Z0-9]{0,11}\Z"
_SYMBOL = re.compile(SYMBOL_PATTERN)
Symbol = Annotated[str, msgspec.Meta(pattern=SYMBOL_PATTERN, extra={"explain": symbol_fault})]
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
    """A bar as it is stored, with its source and the time when we received it."""

    bar: Bar
    source: Source
    received_at: datetime


class FeedState(msgspec.Struct, frozen=True):
    """The newest bar of one symbol: its start, the time when we received it, and its source."""

    symbol: str
    last_open_time: datetime
    last_received_at: datetime
    source: Source


def is_symbol(text: str) -> bool:
    return _SYMBOL.fullmatch(text) is not None


def check_bar(bar: Bar, problems: Problems) -> None:
    """Adds every reason why `bar` is impossible, under the bar's own field names.

    Prices may be negative (crude oil's was in April 2020), but must be finite, at most MAX_PRICE from zero
    and have at most MAX_PRICE_DECIMALS; low <= open, close <= high; `open_time` is an aware whole minute.
    """
    before = len(problems)
    _check_open_time(bar.open_time, problems)
    for field, price in (("open", bar.open), ("high", bar.high), ("low", bar.low), ("close", bar.close)):
        _check_price(field, price, problems)
    if len(problems) > before:
        return
    if bar.high < max(bar.open, bar.close, bar.low):
        problems.add("high", "out_of_range", "Must not be below open, low or close.")
    if bar.low > min(bar.open, bar.close):
        problems.add("low", "out_of_range", "Must not be above open or close.")
    if not 0 <= bar.volume <= MAX_VOLUME:
        problems.add("volume", "out_of_range", f"Must be from 0 to {MAX_VOLUME}.")


def _check_price(field: str, price: Decimal, problems: Problems) -> None:
    if not price.is_finite() or not -MAX_PRICE <= price <= MAX_PRICE:
        problems.add(field, "out_of_range", f"Must be a number from -{MAX_PRICE} to {MAX_PRICE}.")
    elif not is_storable(price) or price != price.quantize(_FINEST):
        problems.add(field, "out_of_range", f"Must have at most {MAX_PRICE_DECIMALS} decimals.")


def _check_open_time(open_time: datetime, problems: Problems) -> None:
    if open_time.tzinfo is None:
        problems.add("open_time", "wrong_type", "Must have an offset from UTC, for example Z.")
    elif open_time.second or open_time.microsecond:
        problems.add("open_time", "out_of_range", "Must be the start of a whole minute.")
