"""Reads everything that Postgres has of one account, and erases it, in bounded steps.

Functions read under row-level security of that account, and may ask for its erasure. Only the timers erase.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from datetime import datetime, timedelta
from typing import Any

from psycopg.rows import class_row, dict_row, scalar_row

from shared.adapters.postgres.database import Connection, Database
from shared.domain.access.account_data import Erasure
from shared.domain.access.licenses import FOREVER, NEVER
from shared.sql import counting, queries

# Rows of a statement: few enough for its time limit.
BATCH = 5_000
READ_ROWS = 1_000
# Trades of so much time are read in one transaction: an account reports 5,000 a day, or a plan's more.
_SPAN = timedelta(days=7)
_SQL = queries("accounts")

type Row = dict[str, Any]


class AccountStore:
    """Every method raises Unavailable. `subjects` are an account's id and those of its licenses and keys."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def rows(
        self, table: str, account_id: str, license_ids: Sequence[str], subjects: Sequence[str]
    ) -> AsyncGenerator[list[Row]]:
        """The account's rows in a table of ACCOUNT_TABLES, at most READ_ROWS at a time."""
        given: Row = {"account_id": account_id, "license_ids": license_ids, "subjects": subjects}
        async for span in self._spans(table, account_id):
            async with (
                self._database.transaction(account_id=account_id) as connection,
                connection.cursor("account_rows", row_factory=dict_row) as cursor,
            ):
                await cursor.execute(_SQL[f"export_{table}"], given | span)
                while rows := await cursor.fetchmany(READ_ROWS):
                    yield rows

    async def _spans(self, table: str, account_id: str) -> AsyncIterator[Row]:
        """The parts in which a table is read: trades by their time, the others at once."""
        if table != "trades":
            yield {}
            return
        async with self._database.transaction(account_id=account_id) as connection:
            cursor = await connection.execute(_SQL["span_of_trades"], {"account_id": account_id})
            row = await cursor.fetchone()
        since, last = row if row is not None else (None, None)
        while since is not None and since <= last:
            yield {"since": since, "until": since + _SPAN}
            since += _SPAN

    async def count(
        self, table: str, account_id: str, license_ids: Sequence[str], subjects: Sequence[str]
    ) -> int:
        """How many rows the account has in a table of ACCOUNT_TABLES."""
        given: Row = {"account_id": account_id, "license_ids": license_ids, "subjects": subjects}
        given |= {"since": NEVER, "until": FOREVER}
        async with self._database.transaction(account_id=account_id) as connection:
            cursor = connection.cursor(row_factory=scalar_row)
            (found,) = await (await cursor.execute(counting(_SQL[f"export_{table}"]), given)).fetchall()
            return int(found)

    async def begin_erasure(self, account_id: str, pseudonym: str, now: datetime) -> Erasure:
        """Notes that the account is to be erased; an erasure that is under way keeps its pseudonym."""
        async with self._database.transaction(account_id=account_id) as connection:
            given = {"account_id": account_id, "pseudonym": pseudonym, "now": now}
            await connection.execute(_SQL["begin_erasure"], given)
            (begun,) = await _under_way(connection, account_id, 1)
            return begun

    async def erasure_of(self, account_id: str) -> Erasure | None:
        """The account's erasure that is under way, if there is one."""
        async with self._database.transaction(account_id=account_id) as connection:
            found = await _under_way(connection, account_id, 1)
            return found[0] if found else None

    async def erasures_under_way(self, limit: int) -> list[Erasure]:
        """At most `limit` erasures that are not finished, the oldest first."""
        async with self._database.transaction(jobs=True) as connection:
            return await _under_way(connection, None, limit)

    async def erase_some(self, table: str, erasure: Erasure, subjects: Sequence[str]) -> int:
        """Erases at most BATCH rows of a table, and returns how many; 0 if none is left."""
        given = {
            "account_id": erasure.account_id,
            "pseudonym": erasure.pseudonym,
            "subjects": list(subjects),
            "limit": BATCH,
        }
        async with self._database.transaction(jobs=True) as connection:
            cursor = await connection.execute(_SQL[f"erase_{table}"], given)
            if cursor.description is None:
                return cursor.rowcount
            row = await cursor.fetchone()
            return int(row[0]) if row is not None else 0

    async def finish_erasure(self, erasure: Erasure, now: datetime) -> None:
        """Forgets which account the pseudonym stands for."""
        async with self._database.transaction(jobs=True) as connection:
            await connection.execute(_SQL["finish_erasure"], {"pseudonym": erasure.pseudonym, "now": now})


async def _under_way(connection: Connection, account_id: str | None, limit: int) -> list[Erasure]:
    cursor = connection.cursor(row_factory=class_row(Erasure))
    given = {"account_id": account_id, "limit": limit}
    return await (await cursor.execute(_SQL["erasures_under_way"], given)).fetchall()
