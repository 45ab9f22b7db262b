"""Finds and keeps suspicious trades. Only jobs read the trades of all accounts."""

from datetime import datetime

from psycopg.rows import class_row

from shared.adapters.postgres.database import Database
from shared.adapters.postgres.training import MAX_FOLLOWERS, fit_parameters
from shared.domain.trading.signal_fit import FIT, SuspiciousTrade
from shared.sql import queries

# An account with at least this many trades of one day's signals, and this many times the median account's, is
# far above the volume of others.
VOLUME_LEAST = 100
VOLUME_TIMES = 10
# Entries for each account and reason in one review; the count of all is in each entry.
SHOWN = 20
FORGOTTEN_AT_ONCE = 1_000
# Of each symbol, this many trades that claim unknown signals are looked at, the highest sequences first.
MAX_UNKNOWN = 10_000
_SQL = queries("suspicions")


class SuspicionStore:
    """Every method raises Unavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find(self, *, since: datetime, now: datetime) -> int:
        """Stores suspicious trades of the signals received from `since` on; returns how many are new."""
        parameters = {
            "since": since,
            "now": now,
            "least": VOLUME_LEAST,
            "times": VOLUME_TIMES,
            "shown": SHOWN,
            "most": MAX_UNKNOWN,
            "followers": MAX_FOLLOWERS,
            **fit_parameters(FIT),
        }
        async with self._database.transaction(jobs=True) as connection:
            cursor = await connection.execute(_SQL["find"], parameters)
            return cursor.rowcount

    async def forget(self, before: datetime) -> int:
        """Deletes at most FORGOTTEN_AT_ONCE entries found before a time; returns how many."""
        async with self._database.transaction(jobs=True) as connection:
            cursor = await connection.execute(_SQL["forget"], {"before": before, "limit": FORGOTTEN_AT_ONCE})
            return cursor.rowcount

    async def list(self, limit: int) -> list[SuspiciousTrade]:
        """At most `limit` entries: the newest of each account, then the second newest of each, and so on."""
        async with self._database.transaction() as connection:
            cursor = connection.cursor(row_factory=class_row(SuspiciousTrade))
            await cursor.execute(_SQL["list"], {"limit": limit})
            return await cursor.fetchall()
