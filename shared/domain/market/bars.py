"""Describes bars (OHLCV of one symbol over one minute), as sent and as stored, and checks them."""

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Literal

import msgspec

from shared.domain.durations import shown_duration, shown_time
from shared.domain.limits import EARLIEST, ClockSkew, is_storable
from shared.domain.market.instruments import Instrument
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
    """One minute of trading; prices in points, volume in contracts."""

    open_time: Annotated[
        datetime,
        msgspec.Meta(description="start of the minute; a feed that stamps its end subtracts one minute"),
    ]
    open: Price
    high: Price
    low: Price
    close: Price
    volume: Annotated[int, msgspec.Meta(ge=0)]

    @property
    def close_time(self) -> datetime:
        return self.open_time.astimezone(UTC) + BAR_INTERVAL


class StoredBar(msgspec.Struct, frozen=True):
    """A bar as it is stored, with its source and the time when we first received its minute.

    `late` says that a bar of a later minute came before it. The engine does not use a `quarantined` bar.
    """

    bar: Bar
    source: Source
    received_at: datetime
    late: bool = False
    quarantined: bool = False


class FeedState(msgspec.Struct, frozen=True):
    """The newest bar of one symbol: its start, the time when we received it, and its source."""

    symbol: str
    last_open_time: datetime
    last_received_at: datetime
    source: Source


def is_symbol(text: str) -> bool:
    return _SYMBOL.fullmatch(text) is not None


def check_bar(
    bar: Bar, problems: Problems, instrument: Instrument | None = None, now: datetime | None = None
) -> None:
    """Adds every reason why `bar` is impossible, under the bar's own field names.

    Prices must be finite, at most MAX_PRICE from zero and have at most MAX_PRICE_DECIMALS; low <= open,
    close <= high; `open_time` is an aware whole minute. Each price must be one at which the symbol can trade:
    above zero unless its `instrument` can be negative, on the tick, and within its `max_price`; a symbol that
    we do not know has no instrument. With `now`, the minute must be over, and not before EARLIEST.
    """
    before = len(problems)
    _check_open_time(bar.open_time, problems)
    for field, price in _prices(bar):
        _check_price(field, price, problems)
    if len(problems) > before:
        return
    for field, price in _prices(bar):
        _check_tradable(field, price, instrument, problems)
    _check_ranges(bar, problems)
    if now is not None:
        _check_is_past(bar.open_time, now, problems)


def _prices(bar: Bar) -> tuple[tuple[str, Decimal], ...]:
    return ("open", bar.open), ("high", bar.high), ("low", bar.low), ("close", bar.close)


def _check_ranges(bar: Bar, problems: Problems) -> None:
    if bar.high < max(bar.open, bar.close, bar.low):
        problems.add("high", "out_of_range", "Must not be below open, low or close.")
    if bar.low > min(bar.open, bar.close):
        problems.add("low", "out_of_range", "Must not be above open or close.")
    if not 0 <= bar.volume <= MAX_VOLUME:
        problems.add("volume", "out_of_range", f"Must be from 0 to {MAX_VOLUME}.")


def is_over(open_time: datetime, now: datetime) -> bool:
    """Whether the minute that begins at `open_time` may be sent at `now`."""
    # Compares starts, because the end of a minute in the year 9999 would overflow.
    return open_time <= now + ClockSkew.BAR - BAR_INTERVAL


def _check_is_past(open_time: datetime, now: datetime, problems: Problems) -> None:
    if not is_over(open_time, now):
        problems.add("open_time", "out_of_range", _not_over(open_time, now))
    elif open_time < EARLIEST:
        problems.add("open_time", "out_of_range", f"Must not be before {EARLIEST:%Y-%m-%d}.")


def _not_over(open_time: datetime, now: datetime) -> str:
    """Why a bar that begins at `open_time` is refused at `now`, and what a feed can do about it."""
    try:
        over_at = shown_time(open_time + BAR_INTERVAL)
    except OverflowError:
        over_at = "the end of the year 9999"
    # A difference of starts, because the end of a minute in the year 9999 would overflow.
    wait = shown_duration(open_time - now + BAR_INTERVAL)
    return (
        f"This minute is over at {over_at}, {wait} in the future: it is {shown_time(now)} here. Send a bar "
        "when its minute is over. open_time is the start of the minute. If your feed stamps bars with their "
        "end, as NinjaTrader and others do, subtract one minute; otherwise compare its clock with ours."
    )


def _check_tradable(field: str, price: Decimal, instrument: Instrument | None, problems: Problems) -> None:
    if instrument is None:
        if price <= 0:
            message = "Must be above 0: of a symbol that we do not know, no other prices are accepted."
            problems.add(field, "out_of_range", message)
    elif price <= 0 and not instrument.can_be_negative:
        problems.add(field, "out_of_range", f"Must be above 0: {instrument.symbol} has no other prices.")
    elif abs(price) > instrument.max_price:
        far = f"Must be at most {instrument.max_price} from 0: {instrument.symbol} was never that far."
        problems.add(field, "out_of_range", far)
    elif price % instrument.tick_size:
        tick = f"{instrument.tick_size:f}"
        problems.add(field, "out_of_range", f"Must be a multiple of {tick}, the tick of {instrument.symbol}.")


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
