"""Reads which signals bots with a delay may see, and keeps what was sent to their groups."""

from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import msgspec
from psycopg.rows import class_row, scalar_row

from shared.adapters.postgres.database import Connection, Database
from shared.sql import queries

_SQL = queries("delayed")


class DelayedEntry(msgspec.Struct, frozen=True):
    """One message that is due: its JSON, and its place in the symbol's sequence."""

    symbol: str
    sequence: int
    payload: bytes


class DelayedBatch:
    """The due messages of one delay, in order per symbol, while no other sender may send for the delay."""

    def __init__(self, connection: Connection, delay_s: int, entries: list[DelayedEntry]) -> None:
        self._connection = connection
        self._delay_s = delay_s
        self.entries = entries

    async def sent(self, symbol: str, sequence: int) -> None:
        """Notes that the symbol's messages up to and including `sequence` were sent."""
        given = {"delay_s": self._delay_s, "symbol": symbol, "sequence": sequence}
        await self._connection.execute(_SQL["note_sent"], given)


class DelayedFeeds:
    """Every method raises Unavailable. Delays are in seconds, from 1 to 86,400."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def visible_sequences(self, delay_s: int, symbols: Sequence[str] | None) -> dict[str, int]:
        """The last sequence of each symbol, among `symbols` or all, that a bot with the delay may see."""
        async with self._database.transaction() as connection:
            return await _visible(connection, delay_s, symbols)

    async def begin(self, delay_s: int) -> None:
        """Sends signals to the groups of this delay from now on; changes nothing if it did before."""
        async with self._database.transaction() as connection:
            added = await connection.execute(_SQL["add_delay"], {"delay_s": delay_s})
            if added.rowcount:
                for symbol, sequence in (await _visible(connection, delay_s, None)).items():
                    given = {"delay_s": delay_s, "symbol": symbol, "last_sequence": sequence}
                    await connection.execute(_SQL["begin_feed"], given)

    async def delays(self) -> list[int]:
        async with self._database.transaction() as connection:
            cursor = connection.cursor(row_factory=scalar_row)
            return await (await cursor.execute(_SQL["delays"])).fetchall()

    @asynccontextmanager
    async def batch(self, delay_s: int, *, limit: int) -> AsyncIterator[DelayedBatch]:
        """Locks the delay during the block, which must end within a transaction's time limit (30 s).

        The batch is empty while another sender has the lock. What `sent` noted is kept unless the block
        raises; then those messages are sent again.
        """
        async with self._database.transaction() as connection:
            cursor = connection.cursor(row_factory=scalar_row)
            is_ours = await (await cursor.execute(_SQL["try_lock_delay"], {"delay_s": delay_s})).fetchone()
            entries = await _due(connection, delay_s, limit) if is_ours else []
            yield DelayedBatch(connection, delay_s, entries)

    async def sent_sequences(self) -> dict[int, dict[str, int]]:
        """What was last sent for each delay, by symbol."""
        found: defaultdict[int, dict[str, int]] = defaultdict(dict)
        async with self._database.transaction() as connection:
            cursor = await connection.execute(_SQL["sent_sequences"])
            for delay_s, symbol, sequence in await cursor.fetchall():
                found[delay_s][symbol] = sequence
        return dict(found)


async def _visible(connection: Connection, delay_s: int, symbols: Sequence[str] | None) -> dict[str, int]:
    given = {"delay_s": delay_s, "symbols": None if symbols is None else [*symbols]}
    cursor = await connection.execute(_SQL["visible_sequences"], given)
    return dict(await cursor.fetchall())


async def _due(connection: Connection, delay_s: int, limit: int) -> list[DelayedEntry]:
    entries: list[DelayedEntry] = []
    cursor = connection.cursor(row_factory=class_row(DelayedEntry))
    for symbol, visible in sorted((await _visible(connection, delay_s, None)).items()):
        given = {"delay_s": delay_s, "symbol": symbol, "visible": visible, "limit": limit - len(entries)}
        if given["limit"]:
            entries += await (await cursor.execute(_SQL["due"], given)).fetchall()
    return entries
