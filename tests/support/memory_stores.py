"""Postgres in memory, as far as services use it: what one store writes, the others read."""

from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from uuid import UUID

import msgspec

from shared.domain.access.plans import Plan
from shared.domain.access.quotas import Usage, require_room
from shared.domain.confidence.models import StoredModel
from shared.domain.market.arrivals import StoredCounts
from shared.domain.market.bars import Bar, FeedState, Source
from shared.domain.market.feeds import Coverage, Span
from shared.domain.market.messages import message_of
from shared.domain.market.signals import Latency, Signal, SignalDraft
from shared.domain.trading.performance import Performance, SymbolPerformance
from shared.domain.trading.trades import RecordedTrade, StoredTrade, Trade
from shared.errors import DatabaseUnavailable, TooManyQueries
from tests.support.memory_bars import MemoryBarStore, MemoryTurn
from tests.support.memory_connections import MemoryConnections
from tests.support.memory_training import MemorySuspicions, MemoryTraining


@dataclass
class Server:
    """The one server behind all stores; `away` makes every store fail, `missing` are its migrations."""

    now: datetime
    away: bool = False
    missing: list[str] = field(default_factory=list)

    def answer(self) -> None:
        if self.away:
            raise DatabaseUnavailable("The database cannot be reached.")

    async def ping(self) -> None:
        self.answer()

    async def pending_migrations(self) -> list[str]:
        self.answer()
        return self.missing

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
        self._by_key: dict[str, Signal] = {}
        self.asked_latency_since: list[datetime] = []

    def add(self, draft: SignalDraft) -> tuple[Signal, bool]:
        known = self._by_key.get(draft.idempotency_key or "")
        if known is not None:
            return known, False
        sequence = len(self.published[draft.symbol]) + 1
        given = {name: getattr(draft, name) for name in Signal.__struct_fields__ if hasattr(draft, name)}
        signal = Signal(id=UUID(int=sequence), sequence=sequence, **given)
        self.published[draft.symbol].append(signal)
        self.drafts.append(draft)
        if draft.idempotency_key:
            self._by_key[draft.idempotency_key] = signal
        payload = msgspec.json.encode(message_of(signal))
        self._outbox.waiting[draft.symbol].append(Entry(sequence, payload))
        return signal, True

    async def publish(self, draft: SignalDraft) -> tuple[Signal, bool]:
        self._server.answer()
        return self.add(draft)

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


class MemoryBars(MemoryBarStore):
    """The bar store whose engine publishes into MemorySignals."""

    def __init__(self, server: Server, signals: MemorySignals) -> None:
        super().__init__()
        self._server = server
        self._signals = signals

    async def insert(
        self, symbol: str, bars: Sequence[Bar], source: Source, received_at: datetime
    ) -> StoredCounts:
        self._server.answer()
        return self.put(symbol, bars, source, received_at)

    @asynccontextmanager
    async def engine_turn(self, symbol: str, strategy: str) -> AsyncIterator[MemoryTurn]:
        self._server.answer()
        drafts = len(self.drafts)
        async with super().engine_turn(symbol, strategy) as turn:
            yield turn
        for draft in self.drafts[drafts:]:
            self._signals.add(draft)

    async def coverage(self, spans: Sequence[Span]) -> list[Coverage]:
        self._server.answer()
        return await super().coverage(spans)

    async def behind(self, strategy: str) -> list[str]:
        self._server.answer()
        return await super().behind(strategy)

    async def feeds(self) -> list[FeedState]:
        self._server.answer()
        newest = {symbol: bars[max(bars)] for symbol, bars in sorted(self.bars.items()) if bars}
        return [
            FeedState(symbol, stored.bar.open_time, stored.received_at, stored.source)
            for symbol, stored in newest.items()
        ]


class MemoryTrades:
    def __init__(self, server: Server) -> None:
        self._server = server
        self.recorded: dict[tuple[str, str], tuple[str, Trade]] = {}
        self.is_busy = False

    async def record(
        self, account_id: str, key_public_id: str, trades: Sequence[Trade], plan: Plan | None
    ) -> list[RecordedTrade]:
        self._server.answer()
        if plan is not None:
            new = {trade.trade_id for trade in trades if (account_id, trade.trade_id) not in self.recorded}
            require_room(await self.usage(account_id), plan, 3_600.0, more=len(new))
        results = []
        for trade in trades:
            _, known = self.recorded.setdefault((account_id, trade.trade_id), (key_public_id, trade))
            if known is trade:
                results.append(RecordedTrade(trade.trade_id, "recorded"))
            else:
                results.append(RecordedTrade(trade.trade_id, "duplicate" if known == trade else "conflict"))
        return results

    async def usage(self, account_id: str) -> Usage:
        """All trades count for the present day."""
        self._server.answer()
        sizes = [
            len(msgspec.json.encode(trade))
            for (account, _), (_, trade) in self.recorded.items()
            if account == account_id
        ]
        return Usage(len(sizes), len(sizes), sum(sizes))

    def _chosen(
        self, account_id: str, symbol: str | None, since: datetime | None, until: datetime | None
    ) -> list[Trade]:
        found = [
            trade
            for (account, _), (_, trade) in self.recorded.items()
            if account == account_id
            and symbol in (None, trade.symbol)
            and (since is None or trade.exit_at >= since)
            and (until is None or trade.exit_at < until)
        ]
        return sorted(found, key=lambda trade: (trade.exit_at, trade.trade_id), reverse=True)

    async def page(
        self,
        account_id: str,
        *,
        symbol: str | None,
        since: datetime | None,
        until: datetime | None,
        before: tuple[datetime, str] | None,
        limit: int,
    ) -> list[StoredTrade]:
        self._server.answer()
        return [
            StoredTrade(**msgspec.structs.asdict(trade), received_at=self._server.now)
            for trade in self._chosen(account_id, symbol, since, until)
            if before is None or (trade.exit_at, trade.trade_id) < before
        ][:limit]

    async def performance(
        self, account_id: str, *, symbol: str | None, since: datetime | None, until: datetime | None
    ) -> Performance:
        self._server.answer()
        if self.is_busy:
            raise TooManyQueries("Two queries are under way.", retry_after_s=1.0)
        trades = self._chosen(account_id, symbol, since, until)
        wins = sum(trade.pnl > 0 for trade in trades)
        figures = SymbolPerformance(
            symbol=symbol or "",
            trades=len(trades),
            wins=wins,
            win_rate=wins / len(trades) if trades else None,
            pnl=sum((trade.pnl for trade in trades), Decimal()),
            fees=sum((trade.fees for trade in trades), Decimal()),
            average_win=None,
            average_loss=None,
            max_drawdown=Decimal(),
            scored=0,
            brier=None,
            ece=None,
        )
        overall = msgspec.structs.asdict(figures)
        del overall["symbol"]
        return Performance(**overall, by_symbol=(figures,) if symbol else ())


class MemoryModels:
    def __init__(self, server: Server) -> None:
        self._server = server
        self.stored: dict[str, StoredModel] = {}

    async def champion(self, strategy: str) -> StoredModel | None:
        self._server.answer()
        of_strategy = [model for model in self.stored.values() if model.strategy == strategy]
        return next((model for model in of_strategy if model.status == "champion"), None)

    async def add(self, model: StoredModel) -> None:
        self._server.answer()
        self.stored.setdefault(model.version, model)

    async def promote(self, version: str) -> None:
        self._server.answer()
        former = await self.champion(self.stored[version].strategy)
        if former is not None:
            self.stored[former.version] = msgspec.structs.replace(former, status="retired")
        self.stored[version] = msgspec.structs.replace(self.stored[version], status="champion")

    async def list(self, strategy: str | None) -> list[StoredModel]:
        self._server.answer()
        return [model for model in self.stored.values() if strategy in (None, model.strategy)]


@dataclass
class MemoryUpkeep:
    server: Server
    calls: list[tuple[str, datetime]] = field(default_factory=list)

    def _done(self, name: str, at: datetime) -> int:
        self.server.answer()
        self.calls.append((name, at))
        return 0

    async def ensure_partitions(self, first: datetime, months_ahead: int = 0) -> int:
        return self._done(f"partitions to {months_ahead} months later", first)

    async def prune_outbox(self, before: datetime) -> int:
        return self._done("outbox", before)

    async def prune_signals(self, before: datetime) -> int:
        return self._done("signals", before)

    async def prune_bars(self, before: datetime) -> int:
        return self._done("bars", before)


class MemoryStores:
    """Every store over one server."""

    def __init__(self, now: datetime) -> None:
        self.server = Server(now)
        self.outbox = MemoryOutbox(self.server)
        self.signals = MemorySignals(self.server, self.outbox)
        self.bars = MemoryBars(self.server, self.signals)
        self.trades = MemoryTrades(self.server)
        self.performance = self.trades
        self.training = MemoryTraining(self.server)
        self.suspicions = MemorySuspicions(self.server)
        self.models = MemoryModels(self.server)
        self.upkeep = MemoryUpkeep(self.server)
        self.connections = MemoryConnections(is_away=lambda: self.server.away)
