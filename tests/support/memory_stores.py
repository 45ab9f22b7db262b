"""Postgres in memory, as far as services use it: what one store writes, the others read."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime

import msgspec

from shared.domain.confidence.models import StoredModel
from shared.domain.market.arrivals import StoredCounts
from shared.domain.market.bars import Bar, FeedState, Source
from shared.domain.market.feeds import Coverage, Span
from shared.domain.notifications.summaries import AccountDay
from tests.support.memory_bars import MemoryBarStore, MemoryTurn
from tests.support.memory_claims import MemoryClaims, MemoryTestAccounts
from tests.support.memory_connections import MemoryConnections
from tests.support.memory_delayed import MemoryDelayed
from tests.support.memory_hooks import MemoryHooks
from tests.support.memory_licenses import MemoryAccounts, MemoryLicenseList
from tests.support.memory_misuse import MemoryMisuse
from tests.support.memory_notifications import (
    MemoryDestinations,
    MemoryNotificationList,
    MemoryNotifications,
    MemoryQueue,
)
from tests.support.memory_payments import MemoryPayments
from tests.support.memory_signals import MemoryOutbox, MemorySignals, Server
from tests.support.memory_trades import MemoryTrades
from tests.support.memory_training import MemorySuspicions, MemoryTraining


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

    async def newest_bars(self, spans: Sequence[Span]) -> list[FeedState]:
        self._server.answer()
        return await super().newest_bars(spans)

    async def count_quarantined(self, symbol: str, open_times: Sequence[datetime]) -> int:
        self._server.answer()
        return await super().count_quarantined(symbol, open_times)

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

    async def prune_test_signals(self, before: datetime) -> int:
        return self._done("test signals", before)

    async def prune_claims(self, before: datetime) -> int:
        return self._done("claims", before)

    async def prune_misuse(self, before: datetime) -> int:
        return self._done("misuse", before)

    async def prune_notifications(self, before: datetime) -> int:
        return self._done("notifications", before)


class MemorySummaries:
    """`days` are what accounts closed on the day that is asked for."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self.days: list[AccountDay] = []

    async def of_accounts(
        self, *, after: str, since: datetime, until: datetime, limit: int
    ) -> list[AccountDay]:
        self._server.answer()
        return [each for each in self.days if each.account_id > after][:limit]


class MemoryStores:
    """Every store over one server."""

    def __init__(self, now: datetime) -> None:
        self.server = Server(now)
        self.outbox = MemoryOutbox(self.server)
        self.signals = MemorySignals(self.server, self.outbox)
        self.delayed = MemoryDelayed(self.server, self.signals)
        self.hooks = MemoryHooks(self.server)
        self.bars = MemoryBars(self.server, self.signals)
        self.signals.bars = self.bars.bars
        self.trades = MemoryTrades(self.server)
        self.performance = self.trades
        self.training = MemoryTraining(self.server)
        self.notifications = MemoryNotifications(self.server)
        self.destinations = MemoryDestinations(self.server)
        self.notification_queue = MemoryQueue(
            self.server, self.notifications, self.destinations, lambda: self.server.now
        )
        self.notification_list = MemoryNotificationList(self.notification_queue)
        self.summaries = MemorySummaries(self.server)
        self.license_list = MemoryLicenseList(self.server, self.notifications)
        self.accounts = MemoryAccounts(self.server)
        self.suspicions = MemorySuspicions(self.server)
        self.models = MemoryModels(self.server)
        self.payments = MemoryPayments(self.server)
        self.upkeep = MemoryUpkeep(self.server)
        self.claims = MemoryClaims(lambda: self.server.now, is_away=lambda: self.server.away)
        self.test_accounts = MemoryTestAccounts()
        self.connections = MemoryConnections(is_away=lambda: self.server.away)
        self.misuse = MemoryMisuse(is_away=lambda: self.server.away)
