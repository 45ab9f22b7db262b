"""Sums up what each account traded on a day; only jobs read the trades of all accounts."""

from datetime import datetime

from psycopg.rows import class_row

from shared.adapters.postgres.database import Database
from shared.domain.notifications.summaries import AccountDay
from shared.sql import queries

_SQL = queries("summaries")


class SummaryStore:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def of_accounts(
        self, *, after: str, since: datetime, until: datetime, limit: int
    ) -> list[AccountDay]:
        """The next accounts after one, with what they closed in [since, until); raises Unavailable."""
        asked = {"after": after, "since": since, "until": until, "limit": limit}
        async with self._database.transaction(jobs=True) as connection:
            cursor = connection.cursor(row_factory=class_row(AccountDay))
            await cursor.execute(_SQL["of_accounts"], asked)
            return await cursor.fetchall()
