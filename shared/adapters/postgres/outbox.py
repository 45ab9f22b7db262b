"""Stores unsent messages. One sender at a time has a symbol, so that order holds across processes."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import psycopg
from psycopg.rows import class_row, scalar_row

from shared.adapters.postgres.database import Connection, Database
from shared.sql import queries

# A second sender of a symbol waits this long for the first: a few sends. After that it gives up, because the
# first sender or the relay's next run sends its messages.
BATCH_WAIT_MS = 2_000
_SQL = queries("outbox")


class OutboxEntry(msgspec.Struct, frozen=True):
    """One unsent message: its JSON, its place in the symbol's sequence, and its age."""

    symbol: str
    sequence: int
    payload: bytes
    age_s: float


class OutboxBatch:
    """A symbol's unsent messages, in order, while no other sender may send for the symbol."""

    def __init__(self, connection: Connection, symbol: str, entries: list[OutboxEntry]) -> None:
        self._connection = connection
        self._symbol = symbol
        self.entries = entries

    async def sent(self, sequence: int) -> None:
        """Marks the messages up to and including `sequence` as sent."""
        await self._connection.execute(_SQL["mark_sent"], {"symbol": self._symbol, "sequence": sequence})


class Outbox:
    """Delivers at least once: if a sender dies before it marks a sent message, that message is sent again."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @asynccontextmanager
    async def batch(self, symbol: str, *, limit: int = 100) -> AsyncIterator[OutboxBatch]:
        """Locks the symbol during the block, which must end within a transaction's time limit (30 s).

        A second caller waits up to BATCH_WAIT_MS for the first, then gets the messages that are left; if
        the wait was too short, its batch is empty. Marked messages stay marked even if the block raises.
        Raises Unavailable.
        """
        failure: Exception | None = None
        async with self._database.transaction() as connection:
            entries = await self._claimed(connection, symbol, limit)
            try:
                yield OutboxBatch(connection, symbol, entries)
            except psycopg.Error:
                raise
            except Exception as error:  # noqa: BLE001 - raised again below, after the marks are committed
                failure = error
        if failure is not None:
            raise failure

    @staticmethod
    async def _claimed(connection: Connection, symbol: str, limit: int) -> list[OutboxEntry]:
        try:
            async with connection.transaction():
                await connection.execute(_SQL["wait_at_most"], {"lock_timeout": str(BATCH_WAIT_MS)})
                await connection.execute(_SQL["lock_batch"], {"symbol": symbol})
        except psycopg.errors.LockNotAvailable:
            return []
        cursor = connection.cursor(row_factory=class_row(OutboxEntry))
        await cursor.execute(_SQL["unsent"], {"symbol": symbol, "limit": limit})
        return await cursor.fetchall()

    async def pending(self) -> list[str]:
        """The symbols with unsent messages."""
        async with self._database.transaction() as connection:
            cursor = connection.cursor(row_factory=scalar_row)
            return await (await cursor.execute(_SQL["pending"])).fetchall()

    async def depth(self) -> tuple[int, float]:
        """The number of unsent messages, and the age of the oldest in seconds (0.0 if there is none)."""
        async with self._database.transaction() as connection:
            row = await (await connection.execute(_SQL["depth"])).fetchone()
            assert row is not None
            return row[0], row[1]
