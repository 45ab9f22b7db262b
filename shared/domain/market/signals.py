"""Describes signals: a strategy's intents, published to bots in a gapless sequence per symbol."""

from datetime import datetime
from decimal import Decimal
from typing import Literal
from uuid import UUID

import msgspec

from shared.domain.confidence.strategy import FeatureValue
from shared.domain.market.bars import Source

Side = Literal["LONG", "SHORT"]
Kind = Literal["entry", "exit"]


class SignalDraft(msgspec.Struct, frozen=True, kw_only=True):
    """A signal that has no sequence yet. Entries expire; exits never do."""

    symbol: str
    strategy: str
    strategy_version: int
    kind: Kind = "entry"
    side: Side
    price: Decimal
    stop_price: Decimal | None = None
    target_price: Decimal | None = None
    event_at: datetime
    expires_at: datetime | None
    received_at: datetime | None = None
    features: dict[str, FeatureValue] = {}
    source: Source = "live"
    idempotency_key: str | None = None


class Signal(msgspec.Struct, frozen=True, kw_only=True):
    """A published signal; (symbol, sequence) is unique and gapless, `id` is a UUIDv7."""

    id: UUID
    symbol: str
    sequence: int
    strategy: str
    strategy_version: int
    kind: Kind
    side: Side
    price: Decimal
    stop_price: Decimal | None
    target_price: Decimal | None
    event_at: datetime
    expires_at: datetime | None
    features: dict[str, FeatureValue]
    source: Source


class Latency(msgspec.Struct, frozen=True):
    """Milliseconds from the receipt of a signal's cause to its publication; null if none was sent."""

    count: int
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
