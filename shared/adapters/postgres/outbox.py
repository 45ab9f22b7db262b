"""Messages that wait to be sent; one sender at a time for a symbol, so that order holds across processes."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import psycopg
from psycopg.rows import class_row, scalar_row

from shared.adapters.postgres.database import Connection, Database
from shared.sql import queries

# How long a second sender of a symbol waits for the first: a few sends. Past it, what it came for is in
# good hands, or the relay's next run finds it.
BATCH_WAIT_MS = 2_000
_SQL = queries("outbox")


class OutboxEntry(msgspec.Struct, frozen=True):
    """One unsent message: the JSON that goes out, its place in the symbol's sequence, and its age."""

    symbol: str
    sequence: int
    payload: bytes
    age_s: float


class OutboxBatch:
    """A symbol's unsent messages, in order, while nobody else may send for the symbol."""

    def __init__(self, connection: Connection, symbol: str, entries: list[OutboxEntry]) -> None:
        self._connection = connection
        self._symbol = symbol
        self.entries = entries

    async def sent(self, sequence: int) -> None:
        """Mark the messages up to and including `sequence` as sent."""
        await self._connection.execute(_SQL["mark_sent"], {"symbol": self._symbol, "sequence": sequence})


class Outbox:
    """Delivery is at least once: what was sent but not marked, because its sender died, is sent again."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @asynccontextmanager
    async def batch(self, symbol: str, *, limit: int = 100) -> AsyncIterator[OutboxBatch]:
        """Hold the symbol for the block, which must take no longer than a transaction may (30 s).

        A second caller waits for the first, up to BATCH_WAIT_MS, and sees what it left; past that its turn
        is empty. What was marked is kept also when the block raises. Raises Unavailable.
        """
        failure: Exception | None = None
        async with self._database.transaction() as connection:
            entries = await self._claimed(connection, symbol, limit)
            try:
                yield OutboxBatch(connection, symbol, entries)
            except psycopg.Error:
                raise
            except Exception as error:  # noqa: BLE001 - raised again below, once what was sent is committed
                failure = error
        if failure is not None:
            raise failure

    @staticmethod
    async def _claimed(connection: Connection, symbol: str, limit: int) -> list[OutboxEntry]:
        try:
            async with connection.transaction():
                await connection.execute(_SQL["wait_at_most"], {"lock_timeout": str(BATCH_WAIT_MS)})
                await connection.execute(_SQL["lock_turn"], {"symbol": symbol})
        except psycopg.errors.LockNotAvailable:
            return []
        cursor = connection.cursor(row_factory=class_row(OutboxEntry))
        await cursor.execute(_SQL["unsent"], {"symbol": symbol, "limit": limit})
        return await cursor.fetchall()

    async def pending(self) -> list[str]:
        """The symbols with messages that wait."""
        async with self._database.transaction() as connection:
            cursor = connection.cursor(row_factory=scalar_row)
            return await (await cursor.execute(_SQL["pending"])).fetchall()

    async def depth(self) -> tuple[int, float]:
        """How many messages wait, and the age of the oldest in seconds, 0.0 where there is none."""
        async with self._database.transaction() as connection:
            row = await (await connection.execute(_SQL["depth"])).fetchone()
            assert row is not None
            return row[0], row[1]
