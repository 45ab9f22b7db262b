"""Publishes signals, replays them, and stores bars, over which it runs the signal engine."""

import logging
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Annotated, Protocol

import msgspec

from shared.domain.access.licenses import Grant, require_symbols
from shared.domain.limits import AWARE_TIME, ClockSkew, check_number, check_time
from shared.domain.market.bars import MAX_BARS_PER_REQUEST, Bar, Source, Symbol, check_bar
from shared.domain.market.messages import SignalMessage, message_of
from shared.domain.market.signals import Kind, Side, Signal, SignalDraft
from shared.domain.problems import Problems
from shared.errors import BatchTooLarge, Conflict, FieldError, SignalCloudError, ValidationFailed
from shared.metrics import Count, Counter
from shared.services.market_clock import MarketClock

MAX_PAGE = 1_000
DEFAULT_LIFETIME = timedelta(minutes=5)
MAX_LIFETIME = timedelta(days=1)

FeatureName = Annotated[str, msgspec.Meta(pattern=r"^[^\x00]{1,64}$")]
FeatureText = Annotated[str, msgspec.Meta(pattern=r"^[^\x00]{0,64}$")]

log = logging.getLogger(__name__)


class SignalStore(Protocol):
    async def publish(self, draft: SignalDraft) -> tuple[Signal, bool]: ...
    async def list(self, symbol: str, *, after: int, limit: int) -> list[Signal]: ...
    async def last_sequences(self, symbols: Sequence[str] | None) -> dict[str, int]: ...


class BarWriter(Protocol):
    async def insert(
        self, symbol: str, bars: Sequence[Bar], source: Source, received_at: datetime
    ) -> int: ...


class Engine(Protocol):
    async def run(self, symbol: str, now: datetime) -> list[Signal]: ...
    async def catch_up(self, now: datetime) -> list[Signal]: ...


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


class BarsRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Bars of one symbol, oldest first; `source` says whether they are live, replayed or simulated."""

    symbol: Symbol
    bars: list[Bar]
    source: Source = "live"


class BarsReport(msgspec.Struct, frozen=True):
    """The numbers of received, new and duplicate bars, and the signals that resulted from them."""

    symbol: str
    received: int
    inserted: int
    duplicates: int
    signals: list[SignalMessage]


class SignalPage(msgspec.Struct, frozen=True):
    """Signals in sequence order; repeat with `after=next_after` until that equals `last_sequence`.

    If no stored signal follows `after`, the two are equal.
    """

    symbol: str
    signals: list[SignalMessage]
    next_after: int
    last_sequence: int


class SignalService:
    """Stores signals and sends them at once; if that fails, the relay sends them."""

    def __init__(
        self,
        *,
        store: SignalStore,
        bars: BarWriter,
        engine: Engine,
        drain: Callable[[str], Awaitable[int]],
        now: Callable[[], datetime],
        market_clock: MarketClock,
        count: Counter,
    ) -> None:
        self._store = store
        self._bars = bars
        self._engine = engine
        self._drain = drain
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

    async def take_bars(self, grant: Grant, request: BarsRequest) -> BarsReport:
        """Stores the bars, then runs the engine for their symbol and sends its signals.

        A bar of a stored minute is a duplicate and changes nothing. Raises SymbolNotLicensed,
        BatchTooLarge, ValidationFailed and Unavailable.
        """
        require_symbols(grant, {request.symbol: "symbol"})
        now = self._now()
        _check_bars(request.bars, now)
        inserted = await self._bars.insert(request.symbol, request.bars, request.source, now)
        signals = await self._engine.run(request.symbol, now)
        if signals:
            await self._push(request.symbol)
        self._count(Count.BARS_RECEIVED, len(request.bars))
        self._count(Count.SIGNALS_PUBLISHED, len(signals))
        return BarsReport(
            request.symbol,
            len(request.bars),
            inserted,
            len(request.bars) - inserted,
            [message_of(signal) for signal in signals],
        )

    async def catch_up(self) -> int:
        """Runs the engine over bars that were not processed on arrival; returns the number of signals."""
        signals = await self._engine.catch_up(self._now())
        if signals:
            self._count(Count.SIGNALS_PUBLISHED, len(signals))
        for symbol in {signal.symbol for signal in signals}:
            await self._push(symbol)
        return len(signals)

    async def _push(self, symbol: str) -> None:
        # The signal is stored, so the request must succeed; the relay sends what could not be sent.
        try:
            await self._drain(symbol)
        except SignalCloudError as error:
            log.warning("signals of %s wait for the relay: %s", symbol, error.internal or error.detail)


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


def _check_bars(bars: Sequence[Bar], now: datetime) -> None:
    if len(bars) > MAX_BARS_PER_REQUEST:
        raise BatchTooLarge(
            f"A request may have at most {MAX_BARS_PER_REQUEST} bars; this one has {len(bars)}. "
            "Send it in parts."
        )
    if not bars:
        raise ValidationFailed((FieldError("bars", "out_of_range", "Expected at least one bar."),))
    problems = Problems()
    for index, bar in enumerate(bars):
        if problems.is_full:
            break
        of_bar = problems.within(f"bars[{index}].")
        before = len(problems)
        check_bar(bar, of_bar)
        if len(problems) == before:
            check_time(of_bar, "open_time", bar.open_time, now + ClockSkew.MARKET_DATA)
    problems.refuse()


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
        check_time(problems, "event_at", event_at, now + ClockSkew.MARKET_DATA)
        if request.expires_at is not None:
            _check_expiry(request, request.expires_at - event_at, problems)
    problems.refuse()


def _check_expiry(request: SignalRequest, lifetime: timedelta, problems: Problems) -> None:
    if request.kind == "exit":
        problems.add("expires_at", "out_of_range", "An exit never expires; leave this out.")
    # `lifetime` is a difference, because a sum would overflow in the year 9999.
    elif not timedelta() < lifetime <= MAX_LIFETIME:
        problems.add("expires_at", "out_of_range", "Expected a time within a day after event_at.")
