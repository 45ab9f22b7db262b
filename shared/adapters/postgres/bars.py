"""Stores bars, finds the newest of each symbol, and hands the engine batches of bars."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime

import msgspec
from psycopg.rows import class_row, scalar_row

from shared.adapters.postgres.database import Connection, Database
from shared.adapters.postgres.signals import publish_in
from shared.domain.market.bars import Bar, FeedState, Source, StoredBar
from shared.domain.market.signals import Signal, SignalDraft
from shared.sql import queries

_SQL = queries("bars")


class EngineBatch:
    """A symbol and strategy, locked: the engine's last `state`, and its unprocessed `bars`, oldest first."""

    def __init__(
        self,
        connection: Connection,
        key: dict[str, str],
        state: bytes | None,
        bars: list[StoredBar],
    ) -> None:
        self._connection = connection
        self._key = key
        self.state = state
        self.bars = bars

    async def save(
        self, state: bytes, last_open_time: datetime, drafts: Sequence[SignalDraft]
    ) -> list[Signal]:
        """Saves the state and publishes the drafts in the batch's transaction; returns the new signals."""
        published = [await publish_in(self._connection, draft) for draft in drafts]
        values = {**self._key, "state": state, "last_open_time": last_open_time}
        await self._connection.execute(_SQL["save_engine"], values)
        return [signal for signal, is_new in published if is_new]


class BarStore:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def insert(self, symbol: str, bars: Sequence[Bar], source: Source, received_at: datetime) -> int:
        """Stores the bars of minutes for which the symbol has no bar yet; returns their number.

        Raises Unavailable, and InvalidInput for values that the schema refuses.
        """
        parameters = {
            "symbol": symbol,
            "bars": msgspec.json.encode(bars).decode(),
            "source": source,
            "received_at": received_at,
        }
        async with self._database.transaction() as connection:
            cursor = connection.cursor(row_factory=scalar_row)
            await cursor.execute(_SQL["insert_bars"], parameters)
            (inserted,) = await cursor.fetchall()
            return int(inserted)

    @asynccontextmanager
    async def engine_batch(
        self, symbol: str, strategy: str, *, limit: int = 5_000
    ) -> AsyncIterator[EngineBatch]:
        """Locks the engine's state of a symbol during the block; other batches of it wait for the end.

        Saved changes are committed if the block succeeds, and rolled back if it raises. A bar that arrives
        after a later one was processed is in no batch. Raises Unavailable.
        """
        key = {"symbol": symbol, "strategy": strategy}
        async with self._database.transaction() as connection:
            row = await (await connection.execute(_SQL["lock_engine"], key)).fetchone()
            assert row is not None
            state, last_open_time = row
            after = {"symbol": symbol, "after": last_open_time, "limit": limit}
            cursor = await connection.execute(_SQL["bars_after"], after)
            bars = [StoredBar(Bar(*row[:6]), *row[6:]) for row in await cursor.fetchall()]
            yield EngineBatch(connection, key, state, bars)

    async def feeds(self) -> list[FeedState]:
        """The newest bar of every symbol, by symbol; raises Unavailable."""
        async with self._database.transaction() as connection:
            cursor = connection.cursor(row_factory=class_row(FeedState))
            return await (await cursor.execute(_SQL["feeds"])).fetchall()

    async def behind(self, strategy: str) -> list[str]:
        """The symbols that have bars which the strategy's engine has not processed; raises Unavailable."""
        async with self._database.transaction() as connection:
            cursor = connection.cursor(row_factory=scalar_row)
            return await (await cursor.execute(_SQL["behind"], {"strategy": strategy})).fetchall()
