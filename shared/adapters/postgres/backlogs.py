"""Reads how much waits in the inbox of payment events and in the outbox of notifications."""

from psycopg.rows import class_row

from shared.adapters.postgres.database import Database
from shared.domain.backlog import Backlog
from shared.sql import queries

_SQL = queries("backlogs")


class Backlogs:
    """Each method raises Unavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def payments(self) -> Backlog:
        """The events of payment vendors; the age is of the oldest whose subscription is known."""
        return await self._read("payments")

    async def notifications(self) -> Backlog:
        """The notifications; the age is the time by which the most overdue is late."""
        return await self._read("notifications")

    async def _read(self, name: str) -> Backlog:
        async with self._database.transaction() as connection:
            await connection.execute(_SQL["as_operator"])
            async with connection.cursor(row_factory=class_row(Backlog)) as cursor:
                await cursor.execute(_SQL[name])
                found = await cursor.fetchone()
        assert found is not None
        return found
