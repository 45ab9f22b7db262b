"""Creates partitions ahead of their month and deletes old rows, in bounded steps."""

from datetime import datetime, timedelta

import msgspec
from psycopg.rows import scalar_row

from shared.adapters.postgres.database import Database
from shared.sql import queries

# Sent messages stay for a day, to show what was sent when.
OUTBOX_RETENTION = timedelta(days=1)
# Bots that lost their connection replay signals up to this age.
SIGNAL_RETENTION = timedelta(days=90)
# Training and replays use bars up to this age.
BAR_RETENTION = timedelta(days=730)
MONTHS_AHEAD = 3
# Rows per statement: few enough for its time limit, and for its locks not to delay requests.
BATCH = 5_000
MAX_BATCHES = 20
_SQL = queries("upkeep")


class UpkeepReport(msgspec.Struct, frozen=True):
    """Partitions created and rows deleted. A run deletes at most MAX_BATCHES * BATCH rows of each kind."""

    partitions: int
    outbox: int
    signals: int
    bars: int


class Upkeep:
    """Trades are never deleted. Their future partitions are created here, older ones by TradeStore."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def run(self, now: datetime) -> UpkeepReport:
        """Does one run at the time `now`; repeating it changes nothing. Raises Unavailable."""
        return UpkeepReport(
            partitions=await self.ensure_partitions(now),
            outbox=await self._prune("prune_outbox", now - OUTBOX_RETENTION),
            signals=await self._prune("prune_signals", now - SIGNAL_RETENTION),
            bars=sum([await self._prune_bars(symbol, now) for symbol in await self._symbols()]),
        )

    async def ensure_partitions(self, now: datetime) -> int:
        """Creates missing partitions, from the month of `now` to MONTHS_AHEAD later; returns their number."""
        months = (now.year * 12 + now.month - 1 + ahead for ahead in range(MONTHS_AHEAD + 1))
        times = [now.replace(year=month // 12, month=month % 12 + 1, day=1) for month in months]
        async with self._database.transaction(jobs=True) as connection:
            cursor = connection.cursor(row_factory=scalar_row)
            await cursor.execute(_SQL["ensure_partitions"], {"times": times})
            (made,) = await cursor.fetchall()
            return int(made)

    async def _symbols(self) -> list[str]:
        async with self._database.transaction(jobs=True) as connection:
            cursor = connection.cursor(row_factory=scalar_row)
            return await (await cursor.execute(_SQL["symbols_with_bars"])).fetchall()

    async def _prune_bars(self, symbol: str, now: datetime) -> int:
        return await self._prune("prune_bars", now - BAR_RETENTION, symbol=symbol)

    async def _prune(self, query: str, before: datetime, **more: str) -> int:
        deleted = 0
        for _ in range(MAX_BATCHES):
            async with self._database.transaction(jobs=True) as connection:
                cursor = await connection.execute(_SQL[query], {"before": before, "limit": BATCH, **more})
                deleted += cursor.rowcount
                if cursor.rowcount < BATCH:
                    break
        return deleted
