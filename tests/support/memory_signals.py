"""Signals and their outbox in memory, and the server that every store in memory is on."""

from collections import defaultdict
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

import msgspec

from shared.domain.market.bars import StoredBar
from shared.domain.market.feeds import Span
from shared.domain.market.messages import message_of
from shared.domain.market.repeats import (
    REPEAT_WINDOW,
    EarlierSignal,
    signal_of_repeat,
    signal_of_retry,
)
from shared.domain.market.signal_checks import LastPrice
from shared.domain.market.signals import Latency, Signal, SignalDraft
from shared.errors import DatabaseUnavailable


@dataclass
class Server:
    """The one server behind all stores; `away` makes every store fail, `missing` are its migrations.

    `replica` is whether it replays another server's changes.
    """

    now: datetime
    away: bool = False
    replica: bool = False
    missing: list[str] = field(default_factory=list)

    def answer(self) -> None:
        if self.away:
            raise DatabaseUnavailable("The database cannot be reached.")

    async def ping(self) -> None:
        self.answer()

    async def pending_migrations(self) -> list[str]:
        self.answer()
        return self.missing

    async def is_replica(self) -> bool:
        self.answer()
        return self.replica

    async def close(self) -> None:
        """There is nothing to close."""


@dataclass
class Entry:
    """One unsent message."""

    sequence: int
    payload: bytes
    age_s: float = 0.0


class MemoryBatch:
    def __init__(self, outbox: "MemoryOutbox", symbol: str, entries: Sequence[Entry]) -> None:
        self._outbox, self._symbol, self.entries = outbox, symbol, entries

    async def sent(self, sequence: int) -> None:
        waiting = self._outbox.waiting
        waiting[self._symbol] = [entry for entry in waiting[self._symbol] if entry.sequence > sequence]


class MemoryOutbox:
    def __init__(self, server: Server) -> None:
        self._server = server
        self.waiting: defaultdict[str, list[Entry]] = defaultdict(list)

    @asynccontextmanager
    async def batch(self, symbol: str, *, limit: int = 100) -> AsyncIterator[MemoryBatch]:
        self._server.answer()
        yield MemoryBatch(self, symbol, self.waiting[symbol][:limit])

    async def pending(self) -> list[str]:
        self._server.answer()
        return [symbol for symbol, entries in self.waiting.items() if entries]

    async def depth(self) -> tuple[int, float]:
        self._server.answer()
        entries = [entry for entries in self.waiting.values() for entry in entries]
        return len(entries), max((entry.age_s for entry in entries), default=0.0)


class MemorySignals:
    """Each symbol's gapless sequence; what is published waits in the outbox."""

    def __init__(self, server: Server, outbox: MemoryOutbox) -> None:
        self._server = server
        self._outbox = outbox
        self.published: defaultdict[str, list[Signal]] = defaultdict(list)
        self.drafts: list[SignalDraft] = []
        # Those of the bar store, by symbol and time.
        self.bars: dict[str, dict[datetime, StoredBar]] = {}
        self._stored: list[tuple[SignalDraft, Signal]] = []
        self.asked_latency_since: list[datetime] = []

    def _earlier(self, draft: SignalDraft) -> EarlierSignal | None:
        """What the real store finds under the lock of the publisher."""
        alert = ("publisher", "symbol", "strategy", "side", "kind", "price")
        for earlier, signal in self._stored:
            found = EarlierSignal(signal, earlier.default_times)
            if draft.idempotency_key is not None:
                if earlier.idempotency_key == draft.idempotency_key:
                    return found
            elif all(getattr(earlier, name) == getattr(draft, name) for name in alert):
                assert earlier.received_at is not None
                assert draft.received_at is not None
                if abs(draft.received_at - earlier.received_at) < REPEAT_WINDOW:
                    return found
        return None

    def add(self, draft: SignalDraft) -> tuple[Signal, bool]:
        is_known = draft.publisher is not None or draft.idempotency_key is not None
        known = self._earlier(draft) if is_known else None
        if known is not None:
            return (known.signal if draft.publisher is None else signal_of_repeat(known, draft)), False
        sequence = len(self.published[draft.symbol]) + 1
        given = {name: getattr(draft, name) for name in Signal.__struct_fields__ if hasattr(draft, name)}
        signal = Signal(id=UUID(int=sequence), sequence=sequence, **given)
        self.published[draft.symbol].append(signal)
        self.drafts.append(draft)
        self._stored.append((draft, signal))
        payload = msgspec.json.encode(message_of(signal))
        self._outbox.waiting[draft.symbol].append(Entry(sequence, payload))
        return signal, True

    async def publish(self, draft: SignalDraft) -> tuple[Signal, bool]:
        self._server.answer()
        return self.add(draft)

    async def repeated(self, draft: SignalDraft) -> Signal | None:
        self._server.answer()
        earlier = self._earlier(draft)
        return None if earlier is None else signal_of_retry(earlier, draft)

    async def last_of(self, publisher: str, strategy: str, symbol: str) -> Signal | None:
        self._server.answer()
        found = [
            signal
            for draft, signal in self._stored
            if (draft.publisher, draft.strategy, draft.symbol) == (publisher, strategy, symbol)
        ]
        return max(found, key=lambda signal: (signal.event_at, signal.sequence), default=None)

    async def last_price(self, spans: Sequence[Span]) -> LastPrice | None:
        self._server.answer()
        bars = {
            at: one.bar
            for span in spans
            for at, one in self.bars.get(span.symbol, {}).items()
            if span.first <= at <= span.last and not one.quarantined
        }
        newest = bars[max(bars)] if bars else None
        return None if newest is None else LastPrice(newest.close, newest.close_time)

    async def published_among(self, names: Collection[str]) -> set[str]:
        self._server.answer()
        return {signal.strategy for _, signal in self._stored} & {*names}

    async def list(self, symbol: str, *, after: int, limit: int) -> list[Signal]:
        self._server.answer()
        return [signal for signal in self.published[symbol] if signal.sequence > after][:limit]

    async def last_sequences(self, symbols: Sequence[str] | None) -> dict[str, int]:
        self._server.answer()
        return {
            symbol: signals[-1].sequence
            for symbol, signals in self.published.items()
            if signals and (symbols is None or symbol in symbols)
        }

    async def latency_ms(self, since: datetime) -> Latency:
        self._server.answer()
        self.asked_latency_since.append(since)
        return Latency(3, 1.0, 2.0, 3.0)
