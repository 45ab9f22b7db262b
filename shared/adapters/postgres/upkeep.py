"""Creates partitions ahead of their month and deletes old rows, in bounded steps."""

from datetime import datetime

from psycopg.rows import scalar_row

from shared.adapters.postgres.database import Database
from shared.domain.market.test_stream import TEST_SYMBOL
from shared.sql import queries

# Rows per statement: few enough for its time limit, and for its locks not to delay requests.
BATCH = 5_000
MAX_BATCHES = 20
_SQL = queries("upkeep")


class Upkeep:
    """A call deletes at most MAX_BATCHES * BATCH rows, of bars for each symbol."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def ensure_partitions(self, first: datetime, months_ahead: int = 0) -> int:
        """Creates missing partitions, from the month of `first` to `months_ahead` later; returns how many."""
        months = (first.year * 12 + first.month - 1 + ahead for ahead in range(months_ahead + 1))
        times = [first.replace(year=month // 12, month=month % 12 + 1, day=1) for month in months]
        async with self._database.transaction(jobs=True) as connection:
            cursor = connection.cursor(row_factory=scalar_row)
            await cursor.execute(_SQL["make_partitions"], {"times": times})
            (made,) = await cursor.fetchall()
            return int(made)

    async def prune_outbox(self, before: datetime) -> int:
        """Deletes messages that were sent before a time; returns their number."""
        return await self._prune("prune_outbox", before)

    async def prune_signals(self, before: datetime) -> int:
        """Deletes signals that were received before a time and have no message left; returns their number."""
        return await self._prune("prune_signals", before)

    async def prune_test_signals(self, before: datetime) -> int:
        """Deletes signals of the test stream that were received before a time; returns their number."""
        return await self._prune("prune_symbol_signals", before, symbol=TEST_SYMBOL)

    async def prune_claims(self, before: datetime) -> int:
        """Deletes uses of claim links before a time; returns their number."""
        return await self._prune("prune_claims", before)

    async def prune_misuse(self, before: datetime) -> int:
        """Deletes counts of misuse and hashed addresses of the days before a time; returns their number."""
        counts = await self._prune("prune_misuse_days", before)
        return counts + await self._prune("prune_misuse_addresses", before)

    async def prune_bars(self, before: datetime) -> int:
        """Deletes bars that began before a time, and their changes; returns the number of bars."""
        symbols = await self._symbols()
        for symbol in symbols:
            await self._prune("prune_bar_changes", before, symbol=symbol)
        return sum([await self._prune("prune_bars", before, symbol=symbol) for symbol in symbols])

    async def prune_notifications(self, before: datetime) -> int:
        """Deletes events received before a time, and their notifications; returns the number of events."""
        return await self._prune("prune_notifications", before)

    async def _symbols(self) -> list[str]:
        async with self._database.transaction(jobs=True) as connection:
            cursor = connection.cursor(row_factory=scalar_row)
            return await (await cursor.execute(_SQL["symbols_with_bars"])).fetchall()

    async def _prune(self, query: str, before: datetime, **more: str) -> int:
        deleted = 0
        for _ in range(MAX_BATCHES):
            async with self._database.transaction(jobs=True) as connection:
                cursor = await connection.execute(_SQL[query], {"before": before, "limit": BATCH, **more})
                deleted += cursor.rowcount
                if cursor.rowcount < BATCH:
                    break
        return deleted
