"""Records trades, one statement per batch, and reads one account's trades."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec
import psycopg
from psycopg.rows import class_row, dict_row, scalar_row

from shared.adapters.postgres.database import Connection, Database
from shared.domain.trading.performance import Performance, SymbolPerformance
from shared.domain.trading.trades import RecordedTrade, StoredTrade, Trade
from shared.errors import FieldError, InvalidInput, ValidationFailed
from shared.sql import queries

_SQL = queries("trades")


class TradeStore:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def record(
        self, account_id: str, key_public_id: str, trades: Sequence[Trade]
    ) -> list[RecordedTrade]:
        """Stores the new trades, all or none, and returns the result of each trade, in order.

        If the account has used a trade_id before, or earlier in the batch, the trade is a duplicate if its
        content is the same, else a conflict; neither changes anything. `key_public_id` is the reporting key.
        Raises Unavailable, and InvalidInput for values that the schema refuses.
        """
        try:
            return await self._record(account_id, key_public_id, trades)
        except InvalidInput as refused:
            if not _lacks_partition(refused):
                raise
        await self._ensure_partitions([trade.exit_at for trade in trades])
        return await self._record(account_id, key_public_id, trades)

    async def _record(
        self, account_id: str, key_public_id: str, trades: Sequence[Trade]
    ) -> list[RecordedTrade]:
        first_at: dict[str, int] = {}
        for place, trade in enumerate(trades):
            first_at.setdefault(trade.trade_id, place)
        parameters = {
            "account_id": account_id,
            "key_public_id": key_public_id,
            "trades": _rows([trades[place] for place in first_at.values()]),
        }
        async with self._database.transaction(account_id=account_id) as connection:
            cursor = connection.cursor(row_factory=scalar_row)
            await cursor.execute(_SQL["record_trades"], parameters)
            recorded = {first_at[trade_id] for trade_id in await cursor.fetchall()}
            known = [trade for place, trade in enumerate(trades) if place not in recorded]
            same = iter(await self._same(connection, account_id, known) if known else ())
        results = []
        for place, trade in enumerate(trades):
            if place in recorded:
                results.append(RecordedTrade(trade.trade_id, "recorded"))
            else:
                results.append(RecordedTrade(trade.trade_id, "duplicate" if next(same) else "conflict"))
        return results

    async def _same(self, connection: Connection, account_id: str, trades: list[Trade]) -> list[bool]:
        # A separate statement, because only a later one sees trades that another report stored in between.
        cursor = connection.cursor(row_factory=scalar_row)
        await cursor.execute(_SQL["same_trades"], {"account_id": account_id, "trades": _rows(trades)})
        return await cursor.fetchall()

    async def _ensure_partitions(self, times: list[datetime]) -> None:
        try:
            async with self._database.transaction() as connection:
                await connection.execute(_SQL["ensure_partitions"], {"times": times})
        except InvalidInput as refused:
            if not isinstance(refused.__cause__, psycopg.errors.DatetimeFieldOverflow):
                raise
            raise ValidationFailed(
                (FieldError("exit_at", "out_of_range", "Trades are kept from the year 2000 on."),)
            ) from refused

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
        """At most `limit` of the account's trades with exit_at in [since, until), newest exit first.

        `before` is (exit_at, trade_id) of the last trade of the previous page. Raises Unavailable.
        """
        # No trade_id is empty: all trades at `until` come after (until, ""), all earlier ones before it.
        ends = [end for end in (before, (until, "") if until else None) if end]
        before_exit_at, before_trade_id = min(ends) if ends else (None, "")
        parameters = {
            "account_id": account_id,
            "symbol": symbol,
            "since": since,
            "before_exit_at": before_exit_at,
            "before_trade_id": before_trade_id,
            "limit": limit,
        }
        async with self._database.transaction(account_id=account_id) as connection:
            cursor = connection.cursor(row_factory=class_row(StoredTrade))
            await cursor.execute(_SQL["page_of_trades"], parameters)
            return await cursor.fetchall()

    async def performance(
        self, account_id: str, *, symbol: str | None, since: datetime | None, until: datetime | None
    ) -> Performance:
        """Figures of the account's trades with exit_at in [since, until); raises Unavailable."""
        parameters = {"account_id": account_id, "symbol": symbol, "since": since, "until": until}
        async with self._database.transaction(account_id=account_id) as connection:
            cursor = connection.cursor(row_factory=dict_row)
            await cursor.execute(_SQL["performance"], parameters)
            overall, *by_symbol = [_with_rate(row) for row in await cursor.fetchall()]
        overall.pop("symbol")
        return Performance(**overall, by_symbol=tuple(SymbolPerformance(**row) for row in by_symbol))


def _rows(trades: list[Trade]) -> str:
    # One JSON text costs the event loop 2 us per trade; arrays of parameters cost 17 us.
    return msgspec.json.encode(trades).decode()


def _lacks_partition(refused: InvalidInput) -> bool:
    cause = refused.__cause__
    return isinstance(cause, psycopg.errors.CheckViolation) and cause.diag.constraint_name is None


def _with_rate(row: dict[str, Any]) -> dict[str, Any]:
    return row | {"win_rate": row["wins"] / row["trades"] if row["trades"] else None}
