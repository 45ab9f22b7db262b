"""The outbox of notifications: who is notified of an event, what is due, and what became of it."""

from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from psycopg.rows import dict_row

from shared.adapters.postgres.database import Connection, Database
from shared.adapters.postgres.notification_events import add_in
from shared.domain.notifications.attempts import Result
from shared.domain.notifications.claiming import MAX_PER_LANE, Due, Selection
from shared.domain.notifications.events import Event
from shared.domain.notifications.routing import Route, Subscriber
from shared.sql import queries

_SQL = queries("notifications")
_EVENT_FIELDS = Event.__struct_fields__


class FanOut:
    """One transaction that decides who is notified of `events`."""

    def __init__(self, connection: Connection, events: Sequence[Event]) -> None:
        self._connection = connection
        self.events = events

    async def subscribers(self, event: Event) -> list[Subscriber]:
        """The customers' destinations that get events of this kind; of the event's account, if it has one."""
        query = "subscribed" if event.account_id is None else "subscribed_of_account"
        asked = {"kind": event.kind, "account_id": event.account_id}
        cursor = await self._connection.execute(_SQL[query], asked)
        return [Subscriber(*row) for row in await cursor.fetchall()]

    async def add(self, event: Event, routes: Sequence[Route]) -> None:
        """Queues the event for `routes`, and notes that it is decided."""
        if routes:
            values = {
                "event_ids": [event.event_id] * len(routes),
                "lanes": [str(route.lane) for route in routes],
                "account_ids": [route.account_id for route in routes],
                "ats": [route.at for route in routes],
            }
            await self._connection.execute(_SQL["add_notifications"], values)
        await self._connection.execute(_SQL["note_fan_out"], {"event_ids": [event.event_id]})


class NotificationQueue:
    """For timers. Every method raises Unavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @asynccontextmanager
    async def fan_out(self, limit: int, skipped: Collection[str] = ()) -> AsyncIterator[FanOut]:
        """The oldest undecided events, without those whose ids are `skipped`; others wait for this one."""
        async with self._database.transaction(jobs=True) as connection:
            await connection.execute(_SQL["lock_fan_out"])
            cursor = connection.cursor(row_factory=dict_row)
            await cursor.execute(_SQL["new_events"], {"limit": limit, "skipped": [*skipped]})
            yield FanOut(connection, [_event(row) for row in await cursor.fetchall()])

    async def claim(
        self,
        now: datetime,
        until: datetime,
        limit: int,
        lanes_of: Callable[[str], Collection[str]],
        selection: Callable[[Sequence[Due], dict[str, datetime]], Selection],
    ) -> list[Due]:
        """Claims what `selection` sends now, until a time; then it counts as unanswered, and is due again.

        `lanes_of` are the lanes whose pace counts for a notification of a lane.
        """
        async with self._database.transaction(jobs=True) as connection:
            due = await self._due(connection, now, limit)
            lanes = sorted({lane for each in due for lane in lanes_of(each.lane)})
            if not lanes:
                return []
            await connection.execute(_SQL["add_lanes"], {"lanes": lanes})
            cursor = await connection.execute(_SQL["lock_lanes"], {"lanes": lanes, "now": now})
            decided = selection(due, dict(await cursor.fetchall()))
            await self._store(connection, decided, until)
        return [_once_more(each) for each in decided.sends]

    @staticmethod
    async def _due(connection: Connection, now: datetime, limit: int) -> list[Due]:
        cursor = connection.cursor(row_factory=dict_row)
        await cursor.execute(_SQL["due"], {"now": now, "limit": limit, "few": MAX_PER_LANE})
        return [
            Due(
                notification_id=row["notification_id"],
                lane=row["lane"],
                account_id=row["owner"],
                tries=row["tries"],
                event=_event(row),
            )
            for row in await cursor.fetchall()
        ]

    @staticmethod
    async def _store(connection: Connection, selection: Selection, until: datetime) -> None:
        sent = [each.notification_id for each in selection.sends]
        held = {each.lane for each in selection.sends}
        await connection.execute(_SQL["take"], {"ids": sent, "until": until})
        postponed = {"ids": [*selection.postponed], "ats": [*selection.postponed.values()]}
        await connection.execute(_SQL["postpone"], postponed)
        free = datetime.fromtimestamp(0, UTC)
        paced = {
            "lanes": [*selection.ready],
            "ready_ats": [*selection.ready.values()],
            "busy_untils": [until if lane in held else free for lane in selection.ready],
        }
        await connection.execute(_SQL["pace_lanes"], paced)

    async def note(self, claimed: Due, result: Result, now: datetime, events: Sequence[Event] = ()) -> bool:
        """Stores the result of an attempt, and events that follow; False if a later attempt has begun."""
        values = {
            "notification_id": claimed.notification_id,
            "tries": claimed.tries,
            "state": result.state,
            "next_try_at": result.next_try_at,
            "error": result.error,
            "unanswered": result.unanswered,
            "now": now,
        }
        async with self._database.transaction(jobs=True) as connection:
            cursor = await connection.execute(_SQL["note_result"], values)
            if not cursor.rowcount:
                return False
            await add_in(connection, events)
            return True

    async def give_back(self, ids: Sequence[UUID], at: datetime) -> None:
        """Takes back the attempts of claimed notifications that were not made; they are due at a time."""
        async with self._database.transaction(jobs=True) as connection:
            await connection.execute(_SQL["give_back"], {"ids": [*ids], "at": at})

    async def free_lane(self, lane: str, ready_at: datetime) -> None:
        """Lets other runs send for a lane again, which is ready at a time or later."""
        async with self._database.transaction(jobs=True) as connection:
            await connection.execute(_SQL["free_lane"], {"lane": lane, "ready_at": ready_at})

    async def hold_lane(self, lane: str, ready_at: datetime) -> None:
        """Lets a lane be ready at a time or later."""
        async with self._database.transaction(jobs=True) as connection:
            await connection.execute(_SQL["hold_lane"], {"lane": lane, "ready_at": ready_at})

    async def waiting(self, now: datetime) -> tuple[int, float]:
        """How many notifications were given up, and how many seconds the first due one is late."""
        async with self._database.transaction(jobs=True) as connection:
            row = await (await connection.execute(_SQL["parked"], {"now": now})).fetchone()
            assert row is not None
            return int(row[0]), float(row[1])


def _event(row: dict[str, Any]) -> Event:
    return Event(**{name: row[name] for name in _EVENT_FIELDS})


def _once_more(due: Due) -> Due:
    return Due(
        notification_id=due.notification_id,
        lane=due.lane,
        account_id=due.account_id,
        tries=due.tries + 1,
        event=due.event,
    )
