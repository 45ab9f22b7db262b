"""Keeps trades in memory, as services use them: reports, withdrawals, pages and performance."""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Literal

import msgspec

from shared.domain.access.plans import Plan
from shared.domain.access.quotas import Usage, require_room
from shared.domain.trading.performance import Performance, SymbolPerformance
from shared.domain.trading.trades import RecordedTrade, StoredTrade, Trade, Withdrawal, least_bytes
from shared.errors import TooManyQueries

if TYPE_CHECKING:
    from tests.support.memory_signals import Server


class MemoryTrades:
    def __init__(self, server: "Server") -> None:
        self._server = server
        self.recorded: dict[tuple[str, str], tuple[str, Trade]] = {}
        self.received_at: dict[tuple[str, str], datetime] = {}
        self.withdrawn_at: dict[tuple[str, str], datetime] = {}
        self.is_busy = False

    def _answer(self) -> None:
        self._server.answer()
        if self.is_busy:
            raise TooManyQueries("Too many queries are under way.", retry_after_s=1.0)

    async def record(
        self, account_id: str, key_public_id: str, trades: Sequence[Trade], plan: Plan | None
    ) -> list[RecordedTrade]:
        self._answer()
        if plan is not None:
            new = {
                trade.trade_id: least_bytes(trade)
                for trade in trades
                if (account_id, trade.trade_id) not in self.recorded
            }
            if new:
                usage = (await self.usage(account_id)).plus(len(new), sum(new.values()))
                require_room(usage, plan, 3_600.0)
        results = []
        for trade in trades:
            name = account_id, trade.trade_id
            _, known = self.recorded.setdefault(name, (key_public_id, trade))
            if known is trade:
                self.received_at[name] = self._server.now
                results.append(RecordedTrade(trade.trade_id, "recorded"))
            else:
                status: Literal["duplicate", "conflict"] = "duplicate" if known == trade else "conflict"
                results.append(RecordedTrade(trade.trade_id, status, name in self.withdrawn_at))
        return results

    async def withdraw(self, account_id: str, trade_id: str, received_from: datetime) -> Withdrawal | None:
        self._answer()
        name = account_id, trade_id
        if name not in self.recorded:
            return None
        is_new = name not in self.withdrawn_at and self.received_at[name] >= received_from
        if is_new:
            self.withdrawn_at[name] = self._server.now
        return Withdrawal(self.received_at[name], self.withdrawn_at.get(name), is_new)

    async def usage(self, account_id: str) -> Usage:
        """All trades count for the present day."""
        self._answer()
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
        self._answer()
        return [
            StoredTrade(
                **msgspec.structs.asdict(trade),
                received_at=self.received_at[account_id, trade.trade_id],
                withdrawn_at=self.withdrawn_at.get((account_id, trade.trade_id)),
            )
            for trade in self._chosen(account_id, symbol, since, until)
            if before is None or (trade.exit_at, trade.trade_id) < before
        ][:limit]

    async def performance(
        self, account_id: str, *, symbol: str | None, since: datetime | None, until: datetime | None
    ) -> Performance:
        self._answer()
        trades = [
            trade
            for trade in self._chosen(account_id, symbol, since, until)
            if (account_id, trade.trade_id) not in self.withdrawn_at
        ]
        wins = sum(trade.net_pnl > 0 for trade in trades)
        figures = SymbolPerformance(
            symbol=symbol or "",
            trades=len(trades),
            wins=wins,
            win_rate=wins / len(trades) if trades else None,
            pnl=sum((trade.pnl for trade in trades), Decimal()),
            fees=sum((trade.fees for trade in trades), Decimal()),
            net_pnl=sum((trade.net_pnl for trade in trades), Decimal()),
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
