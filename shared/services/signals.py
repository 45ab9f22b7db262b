"""Publishes signals and replays them."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Protocol

import msgspec

from shared.domain.access.licenses import Grant, require_symbols
from shared.domain.market.calendars import MarketCalendars
from shared.domain.market.feeds import Span
from shared.domain.market.messages import SignalMessage, message_of
from shared.domain.market.signal_checks import (
    DEFAULT_LIFETIME,
    LastPrice,
    check_content,
    check_moment,
    market_conditions,
    spans_of_last_price,
)
from shared.domain.market.signals import Signal, SignalDraft, SignalRequest
from shared.domain.market.test_stream import TEST_SYMBOL
from shared.domain.problems import Problems
from shared.metrics import Count, Counter
from shared.services.market_clock import MarketClock
from shared.services.realtime import Push

MAX_PAGE = 1_000


class SignalStore(Protocol):
    async def publish(self, draft: SignalDraft) -> tuple[Signal, bool]: ...
    async def repeated(self, draft: SignalDraft) -> Signal | None: ...
    async def last_price(self, spans: Sequence[Span]) -> LastPrice | None: ...
    async def list(self, symbol: str, *, after: int, limit: int) -> list[Signal]: ...
    async def last_sequences(self, symbols: Sequence[str] | None) -> dict[str, int]: ...


class VisibleSequences(Protocol):
    async def visible_sequences(self, delay_s: int, symbols: Sequence[str] | None) -> dict[str, int]: ...


class SignalPage(msgspec.Struct, frozen=True):
    """Signals in sequence order; repeat with `after=next_after` until that equals `last_sequence`.

    If no stored signal follows `after`, the two are equal. If the license has a delay, `delay_s` says so:
    the page and `last_sequence` leave out what was published in its last seconds.
    """

    symbol: str
    signals: list[SignalMessage]
    next_after: int
    last_sequence: int
    delay_s: int


class SignalService:
    """Stores signals, then pushes them."""

    def __init__(
        self,
        *,
        store: SignalStore,
        visible: VisibleSequences,
        push: Push,
        now: Callable[[], datetime],
        market_clock: MarketClock,
        calendars: MarketCalendars,
        count: Counter,
    ) -> None:
        self._store = store
        self._visible = visible
        self._push = push
        self._now = now
        self._market_clock = market_clock
        self._calendars = calendars
        self._count = count

    async def publish(
        self, grant: Grant, request: SignalRequest, idempotency_key: str | None
    ) -> tuple[SignalMessage, bool]:
        """Stores the signal in sequence, then sends it to every bot on its symbol.

        Returns the signal, and whether it is new. A repeated idempotency key of the account returns the
        earlier signal; without a key, so does the same alert within a minute. Raises SymbolNotLicensed,
        ValidationFailed, Unavailable, and Conflict if the key's signal has other content.
        """
        require_symbols(grant, {request.symbol: "symbol"})
        market_now = await self._market_clock.now()
        event_at = request.event_at or market_now
        spans = spans_of_last_price(request.symbol, market_now, self._calendars)
        last = await self._store.last_price(spans)
        market = market_conditions(request.symbol, market_now, self._calendars, last)
        problems = Problems()
        check_content(request, event_at, market, problems)
        is_sound = not problems
        check_moment(request, event_at, market, problems)
        if not is_sound:
            raise problems.refusal()
        draft = self._draft(request, event_at, grant.license.account_id, idempotency_key)
        if problems:
            # A retry gets the answer of its signal, even if the signal has expired since.
            earlier = await self._store.repeated(draft)
            if earlier is None:
                raise problems.refusal()
            return message_of(earlier), False
        signal, new = await self._store.publish(draft)
        if new and draft.symbol != TEST_SYMBOL:
            self._count(Count.SIGNALS_PUBLISHED)
        await self._push(signal.symbol)
        return message_of(signal), new

    def _draft(
        self, request: SignalRequest, event_at: datetime, account_id: str, idempotency_key: str | None
    ) -> SignalDraft:
        expires_at = None
        if request.kind == "entry":
            expires_at = request.expires_at or event_at + DEFAULT_LIFETIME
        return SignalDraft(
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
            received_at=self._now(),
            features=request.features,
            source="simulated" if request.symbol == TEST_SYMBOL else "live",
            # The account keeps equal keys of different publishers apart.
            idempotency_key=f"{account_id}:{idempotency_key}" if idempotency_key else None,
            publisher=account_id,
            default_times=request.default_times,
        )

    async def page(self, grant: Grant, symbol: str, after: int, limit: int) -> SignalPage:
        """Signals of one symbol after the sequence `after`; raises SymbolNotLicensed and Unavailable.

        A license with a delay sees those that were published so long ago.
        """
        require_symbols(grant, {symbol: "symbol"})
        delay_s = grant.terms.signal_delay_s
        # Reads the last sequence first, so that a signal that is published in between is listed, not skipped.
        if delay_s:
            last = (await self._visible.visible_sequences(delay_s, [symbol])).get(symbol, 0)
        else:
            last = (await self._store.last_sequences([symbol])).get(symbol, 0)
        signals = await self._store.list(symbol, after=after, limit=limit)
        if delay_s:
            signals = [signal for signal in signals if signal.sequence <= last]
        next_after = signals[-1].sequence if signals else last
        listed = [message_of(signal) for signal in signals]
        return SignalPage(symbol, listed, next_after, max(last, next_after), delay_s)
