"""Stores bars and their corrections, finds the newest of each symbol, and gives the engine its turns."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime

import msgspec
from psycopg.rows import class_row, scalar_row

from shared.adapters.postgres.database import Connection, Database
from shared.adapters.postgres.signals import publish_in
from shared.adapters.postgres.spans import span_parameters
from shared.domain.market.arrivals import StoredCounts, arranged
from shared.domain.market.bars import Bar, FeedState, Source, StoredBar
from shared.domain.market.feeds import Coverage, Span
from shared.domain.market.hindsight import PublishedEntry
from shared.domain.market.holes import Arrival
from shared.domain.market.signals import Signal, SignalDraft
from shared.sql import queries

_SQL = queries("bars")


class EngineTurn:
    """A symbol and strategy, locked: the engine's last state, and what it has not processed yet.

    `last_change` is the last change of bars, taken in or not, and `changed_from` the earliest minute of the
    changes that the engine has not taken in.
    """

    def __init__(
        self,
        connection: Connection,
        key: dict[str, str],
        *,
        state: bytes | None,
        last_open_time: datetime | None,
        last_change: int,
        changed_from: datetime | None,
    ) -> None:
        self._connection = connection
        self._key = key
        self.state = state
        self.last_open_time = last_open_time
        self.last_change = last_change
        self.changed_from = changed_from

    async def bars_after(self, after: datetime | None, limit: int) -> list[StoredBar]:
        """The next bars that begin after a time, or the first ones, oldest first."""
        asked = {**self._key, "after": after, "limit": limit}
        cursor = await self._connection.execute(_SQL["bars_after"], asked)
        return [StoredBar(Bar(*row[:6]), *row[6:]) for row in await cursor.fetchall()]

    async def checkpoints(self) -> bytes | None:
        """The saved states at the start of the recent sessions."""
        cursor = self._connection.cursor(row_factory=scalar_row)
        (checkpoints,) = await (await cursor.execute(_SQL["checkpoints"], self._key)).fetchall()
        return None if checkpoints is None else bytes(checkpoints)

    async def arrivals(self, first: datetime, until: datetime) -> list[Arrival]:
        """The stored bars with first <= open_time < until, oldest first."""
        cursor = self._connection.cursor(row_factory=class_row(Arrival))
        await cursor.execute(_SQL["arrivals"], {**self._key, "first": first, "until": until})
        return await cursor.fetchall()

    async def is_unchanged(self) -> bool:
        """Whether every change that is committed by now was known when the turn began."""
        cursor = self._connection.cursor(row_factory=scalar_row)
        await cursor.execute(_SQL["is_unchanged"], {**self._key, "last_change": self.last_change})
        (unchanged,) = await cursor.fetchall()
        return bool(unchanged)

    async def published(self, first: datetime, last: datetime) -> list[PublishedEntry]:
        """The strategy's published entries with first <= event_at <= last."""
        cursor = self._connection.cursor(row_factory=class_row(PublishedEntry))
        await cursor.execute(_SQL["published"], {**self._key, "first": first, "last": last})
        return await cursor.fetchall()

    async def save(
        self,
        state: bytes,
        last_open_time: datetime | None,
        drafts: Sequence[SignalDraft],
        *,
        checkpoints: bytes | None = None,
        marks: dict[datetime, bool] | None = None,
    ) -> list[Signal]:
        """Saves the state and publishes the drafts in the turn's transaction; returns the new signals.

        `checkpoints` replace the saved ones. `marks` says of bars whether they are quarantined from now on.
        """
        published = [await publish_in(self._connection, draft) for draft in drafts]
        if marks:
            marked = {"open_times": [*marks], "quarantined": [*marks.values()]}
            await self._connection.execute(_SQL["mark_bars"], {**self._key, **marked})
        values = {"state": state, "last_open_time": last_open_time, "checkpoints": checkpoints}
        await self._connection.execute(
            _SQL["save_engine"], {**self._key, **values, "last_change": self.last_change}
        )
        return [signal for signal, is_new in published if is_new]


class BarStore:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def insert(
        self, symbol: str, bars: Sequence[Bar], source: Source, received_at: datetime
    ) -> StoredCounts:
        """Stores bars of new minutes, and other content of known minutes as their correction.

        The last version of a minute counts; those before it are kept as what it replaced. Raises Unavailable,
        and InvalidInput for values that the schema refuses.
        """
        minutes = arranged(bars)
        sent = [{**msgspec.structs.asdict(one.bar), "late": one.late} for one in minutes]
        replaced = [
            {**msgspec.structs.asdict(bar), "version": version}
            for one in minutes
            for version, bar in enumerate(one.replaced, start=1)
        ]
        parameters = {
            "symbol": symbol,
            "bars": msgspec.json.encode(sent).decode(),
            "replaced": msgspec.json.encode(replaced).decode(),
            "source": source,
            "received_at": received_at,
        }
        async with self._database.transaction() as connection:
            cursor = connection.cursor(row_factory=class_row(StoredCounts))
            await cursor.execute(_SQL["store_bars"], parameters)
            (counts,) = await cursor.fetchall()
            return counts

    @asynccontextmanager
    async def engine_turn(self, symbol: str, strategy: str) -> AsyncIterator[EngineTurn]:
        """Locks the engine's state of a symbol during the block; other turns of it wait for the end.

        Saved changes are committed if the block succeeds, and rolled back if it raises. Raises Unavailable.
        """
        key = {"symbol": symbol, "strategy": strategy}
        async with self._database.transaction() as connection:
            row = await (await connection.execute(_SQL["lock_engine"], key)).fetchone()
            assert row is not None
            state, last_open_time, last_change, unseen_change, changed_from = row
            yield EngineTurn(
                connection,
                key,
                state=None if state is None else bytes(state),
                last_open_time=last_open_time,
                last_change=max(last_change, unseen_change or 0),
                changed_from=changed_from,
            )

    async def feeds(self) -> list[FeedState]:
        """The newest bar of every symbol, by symbol; raises Unavailable."""
        async with self._database.transaction() as connection:
            cursor = connection.cursor(row_factory=class_row(FeedState))
            return await (await cursor.execute(_SQL["feeds"])).fetchall()

    async def newest_bars(self, spans: Sequence[Span]) -> list[FeedState]:
        """The newest bar of each symbol that has one in its spans, by symbol; raises Unavailable."""
        async with self._database.transaction() as connection:
            cursor = connection.cursor(row_factory=class_row(FeedState))
            return await (await cursor.execute(_SQL["newest_bars"], span_parameters(spans))).fetchall()

    async def count_quarantined(self, symbol: str, open_times: Sequence[datetime]) -> int:
        """How many of these bars are in quarantine; raises Unavailable."""
        asked = {"symbol": symbol, "open_times": [*open_times]}
        async with self._database.transaction() as connection:
            cursor = connection.cursor(row_factory=scalar_row)
            (count,) = await (await cursor.execute(_SQL["count_quarantined"], asked)).fetchall()
            return int(count)

    async def coverage(self, spans: Sequence[Span]) -> list[Coverage]:
        """What is stored of each symbol and span of time, by symbol; raises Unavailable."""
        async with self._database.transaction() as connection:
            cursor = connection.cursor(row_factory=class_row(Coverage))
            return await (await cursor.execute(_SQL["coverage"], span_parameters(spans))).fetchall()

    async def behind(self, strategy: str) -> list[str]:
        """The symbols that have bars which the strategy's engine has not processed; raises Unavailable."""
        async with self._database.transaction() as connection:
            cursor = connection.cursor(row_factory=scalar_row)
            return await (await cursor.execute(_SQL["behind"], {"strategy": strategy})).fetchall()
