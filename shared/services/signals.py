"""Publishes signals and replays them."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Annotated, Protocol

import msgspec

from shared.domain.access.licenses import Grant, require_symbols
from shared.domain.limits import AWARE_TIME, ClockSkew, check_number, check_time
from shared.domain.market.bars import Symbol
from shared.domain.market.messages import SignalMessage, message_of
from shared.domain.market.signals import Kind, Side, Signal, SignalDraft
from shared.domain.problems import Problems
from shared.errors import Conflict
from shared.metrics import Count, Counter
from shared.services.market_clock import MarketClock
from shared.services.realtime import Push

MAX_PAGE = 1_000
DEFAULT_LIFETIME = timedelta(minutes=5)
MAX_LIFETIME = timedelta(days=1)

FeatureName = Annotated[str, msgspec.Meta(pattern=r"^[^\x00]{1,64}$")]
FeatureText = Annotated[str, msgspec.Meta(pattern=r"^[^\x00]{0,64}$")]


class SignalStore(Protocol):
    async def publish(self, draft: SignalDraft) -> tuple[Signal, bool]: ...
    async def list(self, symbol: str, *, after: int, limit: int) -> list[Signal]: ...
    async def last_sequences(self, symbols: Sequence[str] | None) -> dict[str, int]: ...


class SignalRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A signal to publish: prices in points; without `expires_at`, an entry expires after five minutes."""

    symbol: Symbol
    side: Side
    price: Decimal
    kind: Kind = "entry"
    strategy: Annotated[str, msgspec.Meta(pattern=r"^[a-z][a-z0-9_]{0,63}$")] = "manual"
    strategy_version: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 1
    stop_price: Decimal | None = None
    target_price: Decimal | None = None
    event_at: datetime | None = None
    expires_at: datetime | None = None
    features: Annotated[dict[FeatureName, float | FeatureText | bool], msgspec.Meta(max_length=32)] = {}


class SignalPage(msgspec.Struct, frozen=True):
    """Signals in sequence order; repeat with `after=next_after` until that equals `last_sequence`.

    If no stored signal follows `after`, the two are equal.
    """

    symbol: str
    signals: list[SignalMessage]
    next_after: int
    last_sequence: int


class SignalService:
    """Stores signals, then pushes them."""

    def __init__(
        self,
        *,
        store: SignalStore,
        push: Push,
        now: Callable[[], datetime],
        market_clock: MarketClock,
        count: Counter,
    ) -> None:
        self._store = store
        self._push = push
        self._now = now
        self._market_clock = market_clock
        self._count = count

    async def publish(
        self, grant: Grant, request: SignalRequest, idempotency_key: str | None
    ) -> tuple[SignalMessage, bool]:
        """Stores the signal in sequence, then sends it to every bot on its symbol.

        Returns the signal, and whether it is new: a repeated idempotency key returns the earlier signal.
        Raises SymbolNotLicensed, ValidationFailed, Unavailable, and Conflict if the earlier signal has other
        content.
        """
        require_symbols(grant, {request.symbol: "symbol"})
        now = self._now()
        event_at = request.event_at or await self._market_clock.now()
        _check_signal(request, event_at, now)
        expires_at = None
        if request.kind == "entry":
            expires_at = request.expires_at or event_at + DEFAULT_LIFETIME
        draft = SignalDraft(
            symbol=request.symbol,
            strategy=request.strategy,
            strategy_version=request.strategy_version,
            kind=request.kind,
            side=request.side,
            price=request.price,
            stop_price=request.stop_price,
            target_price=request.target_price,
            event_at=event_at,
            expires_at=expires_at,
            received_at=now,
            features=request.features,
            # The account keeps equal keys of different publishers apart.
            idempotency_key=f"{grant.license.account_id}:{idempotency_key}" if idempotency_key else None,
        )
        signal, new = await self._store.publish(draft)
        if not new and not _made_by(signal, draft):
            raise Conflict(
                f"This Idempotency-Key was used for sequence {signal.sequence} with other content; "
                "use a new key."
            )
        if new:
            self._count(Count.SIGNALS_PUBLISHED)
        await self._push(signal.symbol)
        return message_of(signal), new

    async def page(self, grant: Grant, symbol: str, after: int, limit: int) -> SignalPage:
        """Signals of one symbol after the sequence `after`; raises SymbolNotLicensed and Unavailable."""
        require_symbols(grant, {symbol: "symbol"})
        # Reads the last sequence first, so that a signal that is published in between is listed, not skipped.
        last = (await self._store.last_sequences([symbol])).get(symbol, 0)
        signals = await self._store.list(symbol, after=after, limit=limit)
        next_after = signals[-1].sequence if signals else last
        return SignalPage(
            symbol, [message_of(signal) for signal in signals], next_after, max(last, next_after)
        )


def _made_by(signal: Signal, draft: SignalDraft) -> bool:
    """Whether `draft` has the content of `signal`, except its times, which we may have set."""
    names = (
        "strategy",
        "strategy_version",
        "kind",
        "side",
        "price",
        "stop_price",
        "target_price",
        "features",
    )
    return all(getattr(signal, name) == getattr(draft, name) for name in names)


def _check_signal(request: SignalRequest, event_at: datetime, now: datetime) -> None:
    """Raises ValidationFailed with every reason why the signal cannot be published."""
    problems = Problems()
    for name in ("price", "stop_price", "target_price"):
        check_number(problems, name, getattr(request, name))
    times = (("event_at", request.event_at), ("expires_at", request.expires_at))
    naive = [name for name, time in times if time is not None and time.tzinfo is None]
    for name in naive:
        problems.add(name, "invalid_format", AWARE_TIME)
    if not naive:
        check_time(problems, "event_at", event_at, now, skew=ClockSkew.MARKET_DATA)
        if request.expires_at is not None:
            _check_expiry(request, request.expires_at - event_at, problems)
    problems.refuse()


def _check_expiry(request: SignalRequest, lifetime: timedelta, problems: Problems) -> None:
    if request.kind == "exit":
        problems.add("expires_at", "out_of_range", "An exit never expires; leave this out.")
    # `lifetime` is a difference, because a sum would overflow in the year 9999.
    elif not timedelta() < lifetime <= MAX_LIFETIME:
        problems.add("expires_at", "out_of_range", "Expected a time within a day after event_at.")
