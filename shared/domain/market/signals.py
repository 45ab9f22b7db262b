"""Describes signals: a strategy's intents, published to bots in a gapless sequence per symbol."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Literal
from uuid import UUID

import msgspec

from shared.domain.confidence.strategy import FeatureValue
from shared.domain.market.bars import Source, Symbol

Side = Literal["LONG", "SHORT"]
Kind = Literal["entry", "exit"]
# The fields that we fill if a publisher leaves them out.
DefaultTime = Literal["event_at", "expires_at"]

FeatureName = Annotated[str, msgspec.Meta(pattern=r"^[^\x00]{1,64}\Z")]
FeatureText = Annotated[str, msgspec.Meta(max_length=64, pattern=r"^[^\x00]*\Z")]


class SignalRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A signal to publish, with prices in points on the tick of its instrument.

    A LONG entry has stop_price < price < target_price, a SHORT entry the reverse. An entry needs an open
    market. It must not be expired: without `expires_at` it expires five minutes after `event_at`, which is
    the present if it is left out. An exit never expires, and may come while the market is closed and up to
    seven days after its `event_at`.
    """

    symbol: Symbol
    side: Side
    price: Decimal
    kind: Kind = "entry"
    strategy: Annotated[str, msgspec.Meta(pattern=r"^[a-z][a-z0-9_]{0,63}\Z")] = "manual"
    strategy_version: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 1
    stop_price: Decimal | None = None
    target_price: Decimal | None = None
    event_at: datetime | None = None
    expires_at: datetime | None = None
    features: Annotated[dict[FeatureName, float | FeatureText | bool], msgspec.Meta(max_length=32)] = {}

    @property
    def default_times(self) -> tuple[DefaultTime, ...]:
        """The times that the publisher left out."""
        names: tuple[DefaultTime, ...] = ("event_at", "expires_at")
        return tuple(name for name in names if getattr(self, name) is None)


class SignalDraft(msgspec.Struct, frozen=True, kw_only=True):
    """A signal that has no sequence yet. Entries expire; exits never do.

    `publisher` is the account that sent it, None for the signal engine, and `default_times` are the times
    that this account left out. Two drafts with one `idempotency_key` are one signal.
    """

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
    publisher: str | None = None
    default_times: tuple[DefaultTime, ...] = ()


class Signal(msgspec.Struct, frozen=True, kw_only=True):
    """A published signal; (symbol, sequence) is unique, gapless but for a lost region; `id` is a UUIDv7."""

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
