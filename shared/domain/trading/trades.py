"""Trades: round trips that bots report."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Annotated, Literal

import msgspec

from shared.domain.limits import (
    AWARE_TIME,
    EARLIEST,
    FINITE_NUMBER,
    MAX_SEQUENCE,
    PAST_TIME,
    is_storable,
)
from shared.domain.market.bars import Symbol
from shared.domain.market.signals import Side
from shared.errors import FieldError

MAX_TRADES_PER_REQUEST = 500
MAX_TRADE_ERRORS = 50
MAX_FEATURES = 32
CLOCK_SKEW = timedelta(minutes=5)

TradeId = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9._:-]{1,64}$")]
FeatureValue = float | str | bool


class Trade(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One round trip as a bot reports it; `trade_id` is the bot's own and makes the report idempotent.

    Prices in points, `pnl` and `fees` in USD, times aware. `features` is what the bot saw at entry.
    """

    trade_id: TradeId
    symbol: Symbol
    side: Side
    strategy: Annotated[str, msgspec.Meta(pattern=r"^[a-z][a-z0-9_]{0,63}$")] = "vwap_bounce"
    quantity: Decimal = Decimal(1)
    entry_price: Decimal
    exit_price: Decimal
    entry_at: datetime
    exit_at: datetime
    pnl: Decimal
    fees: Decimal = Decimal(0)
    signal_sequence: Annotated[int, msgspec.Meta(ge=1, le=MAX_SEQUENCE)] | None = None
    confidence: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None
    model_version: Annotated[str, msgspec.Meta(max_length=128, pattern=r"^[^\x00]*$")] | None = None
    features: dict[str, FeatureValue] | None = None


class RecordedTrade(msgspec.Struct, frozen=True):
    """What became of one reported trade, in the order reported."""

    trade_id: str
    status: Literal["recorded", "duplicate", "conflict"]


class StoredTrade(msgspec.Struct, frozen=True, kw_only=True):
    """A trade as it lies in Postgres; the account is implied by who reads it."""

    trade_id: str
    symbol: str
    side: Side
    strategy: str
    quantity: Decimal
    entry_price: Decimal
    exit_price: Decimal
    entry_at: datetime
    exit_at: datetime
    pnl: Decimal
    fees: Decimal
    signal_sequence: int | None
    confidence: float | None
    model_version: str | None
    features: dict[str, FeatureValue] | None
    received_at: datetime


class TradeCursor(msgspec.Struct, frozen=True, array_like=True):
    """Where a page of trades ended: the keyset (exit_at, trade_id)."""

    exit_at: datetime
    trade_id: str


def check_trades(trades: Sequence[Trade], now: datetime) -> tuple[FieldError, ...]:
    """Every reason why `trades` cannot be recorded as they are, by field; empty when they can."""
    found: list[FieldError] = []
    for index, trade in enumerate(trades):
        found.extend(_problems(trade, f"trades[{index}].", now))
        if len(found) >= MAX_TRADE_ERRORS:
            break
    return tuple(found[:MAX_TRADE_ERRORS])


def _problems(trade: Trade, prefix: str, now: datetime) -> Iterator[FieldError]:
    numbers = {
        "quantity": trade.quantity,
        "entry_price": trade.entry_price,
        "exit_price": trade.exit_price,
        "pnl": trade.pnl,
        "fees": trade.fees,
    }
    for name, number in numbers.items():
        if not is_storable(number):
            yield FieldError(f"{prefix}{name}", "out_of_range", FINITE_NUMBER)
    if trade.quantity.is_finite() and trade.quantity <= 0:
        yield FieldError(f"{prefix}quantity", "out_of_range", "Expected more than 0.")
    aware = True
    for name, time in (("entry_at", trade.entry_at), ("exit_at", trade.exit_at)):
        if time.tzinfo is None:
            aware = False
            yield FieldError(f"{prefix}{name}", "invalid_format", AWARE_TIME)
        elif not EARLIEST <= time <= now + CLOCK_SKEW:
            yield FieldError(f"{prefix}{name}", "out_of_range", PAST_TIME)
    if aware and trade.exit_at < trade.entry_at:
        yield FieldError(f"{prefix}exit_at", "out_of_range", "Expected a time not before entry_at.")
    if trade.features is not None and len(trade.features) > MAX_FEATURES:
        yield FieldError(f"{prefix}features", "out_of_range", f"Expected at most {MAX_FEATURES} features.")
