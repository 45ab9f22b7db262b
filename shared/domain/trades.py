"""Trades: round trips that bots report."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Literal

import msgspec

from shared.domain.bars import Symbol
from shared.domain.signals import Side

MAX_TRADES_PER_REQUEST = 500

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
    signal_sequence: Annotated[int, msgspec.Meta(ge=1)] | None = None
    confidence: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None
    model_version: Annotated[str, msgspec.Meta(max_length=128)] | None = None
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
