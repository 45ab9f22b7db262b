"""Keeps bars, engine state and signals in memory, with the transaction and the lock of the real store."""

from asyncio import Lock
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

import msgspec

from shared.domain.market.arrivals import StoredCounts, arranged
from shared.domain.market.bars import BAR_INTERVAL, Bar, FeedState, Source, StoredBar
from shared.domain.market.feeds import Coverage, Span
from shared.domain.market.hindsight import PublishedEntry
from shared.domain.market.holes import Arrival
from shared.domain.market.signals import Signal, SignalDraft


@dataclass
class _Row:
    state: bytes | None = None
    last_open_time: datetime | None = None
    last_change: int = 0
    checkpoints: bytes | None = None
    lock: Lock = field(default_factory=Lock)


@dataclass
class Change:
    """A change of a symbol's past: a minute with the content that was replaced, or None if it came late."""

    open_time: datetime
    replaced: Bar | None


@dataclass
class _Saved:
    """What a turn commits."""

    state: bytes
    last_open_time: datetime | None
    signals: list[Signal]
    drafts: Sequence[SignalDraft]
    checkpoints: bytes | None
    marks: dict[datetime, bool]


class MemoryTurn:
    def __init__(self, store: "MemoryBarStore", symbol: str, row: _Row) -> None:
        changes = store.changes.setdefault(symbol, [])
        self.state = row.state
        self.last_open_time = row.last_open_time
        self.last_change = len(changes)
        self.changed_from = min((one.open_time for one in changes[row.last_change :]), default=None)
        self._store = store
        self._symbol = symbol
        self._row = row
        self.saved: _Saved | None = None

    async def bars_after(self, after: datetime | None, limit: int) -> list[StoredBar]:
        of_symbol = self._store.bars.get(self._symbol, {})
        return [of_symbol[at] for at in sorted(of_symbol) if after is None or at > after][:limit]

    async def checkpoints(self) -> bytes | None:
        return self._row.checkpoints

    async def arrivals(self, first: datetime, until: datetime) -> list[Arrival]:
        of_symbol = self._store.bars[self._symbol]
        return [
            Arrival(at, of_symbol[at].late, of_symbol[at].received_at, of_symbol[at].source)
            for at in sorted(of_symbol)
            if first <= at < until
        ]

    async def is_unchanged(self) -> bool:
        return len(self._store.changes[self._symbol]) == self.last_change

    async def published(self, first: datetime, last: datetime) -> list[PublishedEntry]:
        return [
            PublishedEntry(
                signal.sequence,
                draft.idempotency_key or "",
                *(getattr(signal, name) for name in PublishedEntry.__struct_fields__[2:]),
            )
            for signal, draft in self._store.published.get(self._symbol, [])
            if first <= signal.event_at <= last
        ]

    async def save(
        self,
        state: bytes,
        last_open_time: datetime | None,
        drafts: Sequence[SignalDraft],
        *,
        checkpoints: bytes | None = None,
        marks: dict[datetime, bool] | None = None,
    ) -> list[Signal]:
        if self._store.fail_next_save:
            self._store.fail_next_save = False
            raise ConnectionError("the store went away")
        first = len(self._store.published.get(self._symbol, [])) + 1
        signals = [_signal(draft, first + index) for index, draft in enumerate(drafts)]
        self.saved = _Saved(state, last_open_time, signals, drafts, checkpoints, marks or {})
        return signals

    def commit(self) -> None:
        if self.saved is None:
            return
        saved, row, store = self.saved, self._row, self._store
        row.state, row.last_open_time, row.last_change = saved.state, saved.last_open_time, self.last_change
        row.checkpoints = saved.checkpoints or row.checkpoints
        of_symbol = store.bars.get(self._symbol, {})
        for at, is_quarantined in saved.marks.items():
            of_symbol[at] = msgspec.structs.replace(of_symbol[at], quarantined=is_quarantined)
        store.published.setdefault(self._symbol, []).extend(zip(saved.signals, saved.drafts, strict=True))
        store.drafts.extend(saved.drafts)


class MemoryBarStore:
    """`published` holds each symbol's signals with their drafts, `changes` what happened to its past."""

    def __init__(self) -> None:
        self.bars: dict[str, dict[datetime, StoredBar]] = {}
        self.changes: dict[str, list[Change]] = {}
        self.published: dict[str, list[tuple[Signal, SignalDraft]]] = {}
        self.drafts: list[SignalDraft] = []
        self.fail_next_save = False
        self.turns = 0
        self._rows: dict[tuple[str, str], _Row] = {}

    def put(
        self, symbol: str, bars: Iterable[Bar], source: Source = "live", received_at: datetime | None = None
    ) -> StoredCounts:
        """Stores bars as the real store does; by default each was received just after its close."""
        of_symbol = self.bars.setdefault(symbol, {})
        changes = self.changes.setdefault(symbol, [])
        newest = max(of_symbol, default=None)
        inserted = corrected = late = 0
        for one in arranged(list(bars)):
            at, known = one.bar.open_time, of_symbol.get(one.bar.open_time)
            if known is None:
                is_late = one.late or (newest is not None and at < newest)
                arrived = received_at or one.bar.close_time + timedelta(milliseconds=200)
                of_symbol[at] = StoredBar(one.bar, source, arrived, is_late)
                replaced = [*one.replaced]
                inserted, late = inserted + 1, late + is_late
                if is_late:
                    changes.append(Change(at, None))
            elif known.bar != one.bar:
                of_symbol[at] = msgspec.structs.replace(known, bar=one.bar, source=source)
                replaced = [known.bar, *one.replaced[one.replaced[:1] == (known.bar,) :]]
            else:
                continue
            corrected += len(replaced)
            changes.extend(Change(at, bar) for bar in replaced)
        return StoredCounts(inserted, corrected, late)

    def corrupt_state(self, symbol: str, strategy: str, state: bytes) -> None:
        self._rows[symbol, strategy].state = state

    def state(self, symbol: str, strategy: str) -> bytes | None:
        return self._rows[symbol, strategy].state

    def signals(self, symbol: str) -> list[Signal]:
        return [signal for signal, _ in self.published.get(symbol, [])]

    @asynccontextmanager
    async def engine_turn(self, symbol: str, strategy: str) -> AsyncIterator[MemoryTurn]:
        row = self._rows.setdefault((symbol, strategy), _Row())
        async with row.lock:
            self.turns += 1
            turn = MemoryTurn(self, symbol, row)
            yield turn
            # Only reached when the block raised nothing.
            turn.commit()

    async def newest_bars(self, spans: Sequence[Span]) -> list[FeedState]:
        newest: dict[str, StoredBar] = {}
        for span in spans:
            for at, stored in self.bars.get(span.symbol, {}).items():
                known = newest.get(span.symbol)
                if span.first <= at <= span.last and (known is None or known.bar.open_time < at):
                    newest[span.symbol] = stored
        return [
            FeedState(symbol, stored.bar.open_time, stored.received_at, stored.source)
            for symbol, stored in sorted(newest.items())
        ]

    async def count_quarantined(self, symbol: str, open_times: Sequence[datetime]) -> int:
        of_symbol = self.bars.get(symbol, {})
        return sum(of_symbol[at].quarantined for at in {*open_times} if at in of_symbol)

    async def coverage(self, spans: Sequence[Span]) -> list[Coverage]:
        return [self._covered(span) for span in spans]

    def _covered(self, span: Span) -> Coverage:
        of_symbol = self.bars.get(span.symbol, {})
        minutes = range((span.last - span.first) // BAR_INTERVAL + 1)
        missing = [at for n in minutes if (at := span.first + n * BAR_INTERVAL) not in of_symbol]
        day_ago = span.last - timedelta(days=1)
        quarantined = sum(one.quarantined for at, one in of_symbol.items() if at > day_ago)
        return Coverage(
            span.symbol, len(minutes) - len(missing), missing[0] if missing else None, quarantined
        )

    async def behind(self, strategy: str) -> list[str]:
        return sorted(symbol for symbol in self.bars if self._is_behind(symbol, strategy))

    def _is_behind(self, symbol: str, strategy: str) -> bool:
        row = self._rows.setdefault((symbol, strategy), _Row())
        newest = max(self.bars[symbol], default=None)
        if newest is None:
            return False
        is_played = row.last_open_time is not None and row.last_open_time >= newest
        return not is_played or row.last_change < len(self.changes[symbol])


def _signal(draft: SignalDraft, sequence: int) -> Signal:
    return Signal(
        id=UUID(int=sequence),
        symbol=draft.symbol,
        sequence=sequence,
        strategy=draft.strategy,
        strategy_version=draft.strategy_version,
        kind=draft.kind,
        side=draft.side,
        price=draft.price,
        stop_price=draft.stop_price,
        target_price=draft.target_price,
        event_at=draft.event_at,
        expires_at=draft.expires_at,
        features=draft.features,
        source=draft.source,
    )
