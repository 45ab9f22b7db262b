"""Computes an account's performance from daily figures, which it brings up to date first.

A report of trades makes its days stale, and so does a withdrawal. The next performance computes the figures
of these days again and stores them, so its cost depends on the days and not on the trades. If the range cuts
a day, the figures of that part are computed from its trades.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import msgspec
from psycopg.rows import dict_row, scalar_row

from shared.adapters.postgres.database import Connection, Database
from shared.adapters.postgres.turns import AccountTurns
from shared.domain.trading.days import Days, Span, days_of, whole
from shared.domain.trading.performance import Performance, SymbolPerformance
from shared.errors import DatabaseUnavailable, TooManyQueries
from shared.sql import queries

# The queries of one account under way at once, over all processes. In one process, the second waits without a
# connection for the first, so that an account has one connection of the pool at most.
QUERIES_PER_ACCOUNT = 2
TURN_WAIT_S = 1.5
COSTLY_POOL_SIZE = 4
RETRY_AFTER_S = 1.0
_REFUSAL = (
    f"An account may have {QUERIES_PER_ACCOUNT} queries of this kind under way at a time, and yours has. "
    "Wait for their answers, then try again."
)
# The trades that one transaction rolls up: few enough for its time limit.
TRADES_PER_STEP = 50_000
# Bounds a call on an account whose trades were imported: 10 million of them.
_MAX_STEPS = 200
_SQL = queries("performance")
# Rows stay JSON, so that their decimals stay exact.
_rows = msgspec.json.Decoder(list[msgspec.Raw]).decode

_NOTHING: dict[str, Any] = {
    "trades": 0,
    "wins": 0,
    "pnl": Decimal(0),
    "fees": Decimal(0),
    "net_pnl": Decimal(0),
    "average_win": None,
    "average_loss": None,
    "max_drawdown": Decimal(0),
    "scored": 0,
    "brier": None,
    "ece": None,
}


class PerformanceStore:
    """Runs costly queries on a pool of their own, so that they take no connection from other requests."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._turns = AccountTurns(
            at_once=1, waiting=QUERIES_PER_ACCOUNT - 1, wait_s=TURN_WAIT_S, refusal=_REFUSAL
        )

    async def performance(
        self, account_id: str, *, symbol: str | None, since: datetime | None, until: datetime | None
    ) -> Performance:
        """Figures of the account's trades with exit_at in [since, until).

        Raises Unavailable, and TooManyQueries if the account has QUERIES_PER_ACCOUNT under way.
        """
        days = days_of(since, until)
        for _ in range(_MAX_STEPS):
            async with self._turn(account_id) as connection:
                if await self._roll_up_next(connection, account_id, days):
                    rows = await self._figures(connection, account_id, days, symbol)
                    return _performance(rows, symbol)
        raise DatabaseUnavailable(
            "There are too many new trades to count at once. Try again.", retry_after_s=RETRY_AFTER_S
        )

    @asynccontextmanager
    async def _turn(self, account_id: str) -> AsyncIterator[Connection]:
        """A transaction that counts among the account's queries of all processes."""
        async with (
            self._turns.turn(account_id),
            self._database.transaction(account_id=account_id) as connection,
        ):
            cursor = connection.cursor(row_factory=scalar_row)
            await cursor.execute(_SQL["take_turn"], {"account_id": account_id})
            if not await cursor.fetchone():
                raise TooManyQueries(_REFUSAL, retry_after_s=RETRY_AFTER_S)
            yield connection

    async def _roll_up_next(self, connection: Connection, account_id: str, days: Days) -> bool:
        """Rolls up the next stale days; returns whether that were all."""
        stale = await self._stale(connection, account_id, days)
        if not stale:
            return True
        await connection.execute(_SQL["mark_fresh"], {"account_id": account_id, "days": stale})
        await self._roll_up(connection, account_id, [whole(day) for day in stale], is_whole=True)
        return not await self._stale(connection, account_id, days)

    @staticmethod
    async def _stale(connection: Connection, account_id: str, days: Days) -> list[date]:
        cursor = connection.cursor(row_factory=scalar_row)
        asked = {
            "account_id": account_id,
            "first": days.first,
            "last": days.last,
            "limit": TRADES_PER_STEP,
        }
        return await (await cursor.execute(_SQL["stale_days"], asked)).fetchall()

    @staticmethod
    async def _roll_up(
        connection: Connection, account_id: str, spans: Sequence[Span], *, is_whole: bool
    ) -> list[msgspec.Raw]:
        """Stores the figures of whole days, or returns those of parts of days, each as JSON."""
        parameters = {
            "account_id": account_id,
            "days": [span.day for span in spans],
            "starts": [span.starts_at for span in spans],
            "ends": [span.ends_at for span in spans],
            "whole": [is_whole for _ in spans],
            "first_exit_at": min(span.starts_at for span in spans),
            "last_exit_at": max(span.ends_at for span in spans),
        }
        cursor = connection.cursor(row_factory=scalar_row)
        await cursor.execute(_SQL["roll_up"], parameters)
        (parts,) = await cursor.fetchall()
        return _rows(parts)

    async def _figures(
        self, connection: Connection, account_id: str, days: Days, symbol: str | None
    ) -> list[dict[str, Any]]:
        parts: list[msgspec.Raw] = []
        for part in days.parts:
            # One at a time: the parts may be years apart, and the plan covers all months between them.
            parts += await self._roll_up(connection, account_id, [part], is_whole=False)
        parameters = {
            "account_id": account_id,
            "first": days.first,
            "last": days.last,
            "symbol": symbol,
            "parts": msgspec.json.encode(parts).decode(),
        }
        cursor = connection.cursor(row_factory=dict_row)
        return await (await cursor.execute(_SQL["performance"], parameters)).fetchall()


def _performance(rows: list[dict[str, Any]], symbol: str | None) -> Performance:
    """The overall row has the symbol ''; with one symbol chosen, its row is also the overall one."""
    by_name = {row.pop("symbol"): row | {"win_rate": row["wins"] / row["trades"]} for row in rows}
    overall = by_name.get(symbol or "", _NOTHING | {"win_rate": None})
    by_symbol = tuple(SymbolPerformance(symbol=name, **row) for name, row in by_name.items() if name)
    return Performance(**overall, by_symbol=by_symbol)
