"""Reads notifications for accounts and operators, and lets them be sent again."""

from datetime import datetime
from itertools import takewhile
from typing import Any, cast
from uuid import UUID

from psycopg.rows import dict_row, scalar_row

from shared.adapters.postgres.database import Database
from shared.domain.notifications.attempts import State
from shared.domain.notifications.events import Event
from shared.domain.notifications.listing import OwnRow, StoredNotification
from shared.sql import queries

_SQL = queries("notifications")
_EVENT_FIELDS = Event.__struct_fields__
_ROW_FIELDS = [name for name in OwnRow.__struct_fields__ if name != "event"]


class NotificationList:
    """Every method raises Unavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def listed(
        self, *, state: State | None, lane: str | None, before: UUID, limit: int
    ) -> list[StoredNotification]:
        """Notifications of all accounts before one, newest first."""
        query = "listed_of_lane" if lane else "listed_of_state" if state else "listed"
        asked = {"state": state, "lane": lane, "before": before, "limit": limit}
        async with self._database.transaction() as connection:
            await connection.execute(_SQL["act_as_operator"])
            cursor = connection.cursor(row_factory=dict_row)
            await cursor.execute(_SQL[query], asked)
            return [StoredNotification(**row) for row in await cursor.fetchall()]

    async def retry(self, notification_id: UUID, now: datetime) -> bool:
        """Lets a parked or dropped notification be tried again; False if it is neither."""
        async with self._database.transaction() as connection:
            await connection.execute(_SQL["act_as_operator"])
            cursor = await connection.execute(_SQL["retry"], {"notification_id": notification_id, "now": now})
            return bool(cursor.rowcount)

    async def state_of(self, notification_id: UUID) -> State | None:
        """The state of a notification of any account, None if there is none."""
        async with self._database.transaction() as connection:
            await connection.execute(_SQL["act_as_operator"])
            cursor = connection.cursor(row_factory=scalar_row)
            await cursor.execute(_SQL["state_of"], {"notification_id": notification_id})
            return cast("State | None", await cursor.fetchone())

    async def own(self, account_id: str, *, after: UUID, signals_until: datetime, limit: int) -> list[OwnRow]:
        """The account's notifications after one, oldest first, up to the first of a later signal."""
        asked = {"account_id": account_id, "after": after, "signals_until": signals_until, "limit": limit}
        async with self._database.transaction(account_id=account_id) as connection:
            cursor = connection.cursor(row_factory=dict_row)
            await cursor.execute(_SQL["own"], asked)
            rows = await cursor.fetchall()
            # Those behind it follow later, so that nobody who reads on after a page misses it.
            return [_own_row(row) for row in takewhile(lambda row: not row["is_early"], rows)]

    async def replay(self, account_id: str, lane: str, *, since: datetime, now: datetime, limit: int) -> int:
        """Lets an account's notifications of a lane since a time be sent again; returns how many."""
        asked = {"account_id": account_id, "lane": lane, "since": since, "now": now, "limit": limit}
        async with self._database.transaction(account_id=account_id) as connection:
            return (await connection.execute(_SQL["replay"], asked)).rowcount


def _own_row(row: dict[str, Any]) -> OwnRow:
    event = Event(**{name: row[name] for name in _EVENT_FIELDS})
    return OwnRow(**{name: row[name] for name in _ROW_FIELDS}, event=event)
