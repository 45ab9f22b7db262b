"""Postgres in memory, as far as services use it: what one store writes, the others read."""

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

import msgspec

from shared.domain.access.plans import Plan
from shared.domain.access.quotas import Usage, require_room
from shared.domain.confidence.models import StoredModel
from shared.domain.market.bars import Bar, FeedState, Source
from shared.domain.trading.performance import Performance, SymbolPerformance
from shared.domain.trading.trades import RecordedTrade, StoredTrade, Trade
from shared.errors import TooManyQueries
from tests.support.market import MemoryBarStore, MemoryTurn
from tests.support.memory_connections import MemoryConnections
from tests.support.memory_signals import MemoryOutbox, MemorySignals, Server
from tests.support.memory_training import MemorySuspicions, MemoryTraining


class MemoryBars(MemoryBarStore):
    """The bar store whose engine publishes into MemorySignals."""

    def __init__(self, server: Server, signals: MemorySignals) -> None:
        super().__init__()
        self._server = server
        self._signals = signals

    async def insert(  # type: ignore[override]  # as the real store has it
        self, symbol: str, bars: Iterable[Bar], source: Source = "live", received_at: datetime | None = None
    ) -> int:
        self._server.answer()
        before = len(self.bars.get(symbol, {}))
        super().insert(symbol, bars, source, received_at)
        return len(self.bars[symbol]) - before

    @asynccontextmanager
    async def engine_batch(
        self, symbol: str, strategy: str, *, limit: int = 5_000
    ) -> AsyncIterator[MemoryTurn]:
        self._server.answer()
        drafts = len(self.drafts)
        async with super().engine_batch(symbol, strategy, limit=limit) as batch:
            yield batch
        for draft in self.drafts[drafts:]:
            self._signals.add(draft)

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
        self.signals.bars = self.bars.bars
        self.trades = MemoryTrades(self.server)
        self.performance = self.trades
        self.training = MemoryTraining(self.server)
        self.suspicions = MemorySuspicions(self.server)
        self.models = MemoryModels(self.server)
        self.upkeep = MemoryUpkeep(self.server)
        self.connections = MemoryConnections(is_away=lambda: self.server.away)
