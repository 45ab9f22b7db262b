"""Stores the events that somebody is notified of, once each; a timer decides later who is."""

from collections.abc import Sequence

from psycopg.types.json import Jsonb

from shared.adapters.postgres.database import Connection, Database
from shared.domain.notifications.events import Event
from shared.sql import queries

_SQL = queries("notifications")


async def add_in(connection: Connection, events: Sequence[Event]) -> None:
    """Stores the events within the caller's transaction, of functions or jobs; known ones stay."""
    if not events:
        return
    values = {
        "event_ids": [event.event_id for event in events],
        "kinds": [event.kind for event in events],
        "ats": [event.at for event in events],
        "account_ids": [event.account_id for event in events],
        "license_ids": [event.license_id for event in events],
        "shown": [Jsonb(event.values) for event in events],
    }
    await connection.execute(_SQL["add"], values)


class NotificationEvents:
    """Every method raises Unavailable, and InvalidInput for values that the schema refuses."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, events: Sequence[Event]) -> None:
        """Stores the events in a transaction of their own; known ones stay as they are."""
        async with self._database.transaction() as connection:
            await add_in(connection, events)
