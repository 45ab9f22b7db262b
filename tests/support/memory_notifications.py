"""The notifications of Postgres in memory: events, the outbox that they are queued in, and destinations."""

from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import takewhile
from uuid import UUID

import msgspec

from shared.domain.notifications.attempts import Result, State
from shared.domain.notifications.claiming import Due, Selection
from shared.domain.notifications.destinations import Destination
from shared.domain.notifications.events import Event
from shared.domain.notifications.listing import OwnRow, StoredNotification
from shared.domain.notifications.routing import Route, Subscriber
from tests.support.memory_signals import Server

NEVER = datetime.fromtimestamp(0, UTC)


@dataclass
class Row:
    """One row of the outbox."""

    notification_id: UUID
    event: Event
    lane: str
    account_id: str | None
    next_try_at: datetime
    created_at: datetime
    state: State = "waiting"
    tries: int = 0
    unanswered: int = 0
    claimed: bool = False
    done_at: datetime | None = None
    error: str | None = None


@dataclass
class LaneRow:
    ready_at: datetime = NEVER
    busy_until: datetime = NEVER


class MemoryNotifications:
    """`events` are those that were stored, once each, by their ids."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self.events: dict[str, Event] = {}

    async def add(self, events: Sequence[Event]) -> None:
        self._server.answer()
        for event in events:
            self.events.setdefault(event.event_id, event)

    @property
    def kinds(self) -> list[str]:
        """The kinds of the stored events, in order."""
        return [event.kind for event in self.events.values()]


class MemoryDestinations:
    def __init__(self, server: Server) -> None:
        self._server = server
        self.stored: dict[str, Destination] = {}

    async def add(self, destination: Destination, most: int) -> bool:
        self._server.answer()
        if len(self.of(destination.account_id)) >= most:
            return False
        self.stored[destination.destination_id] = destination
        return True

    def of(self, account_id: str) -> list[Destination]:
        return [each for each in self.stored.values() if each.account_id == account_id]

    async def list(self, account_id: str) -> list[Destination]:
        self._server.answer()
        return self.of(account_id)

    async def get(self, account_id: str, destination_id: str) -> Destination | None:
        found = await self.find(destination_id)
        return found if found is not None and found.account_id == account_id else None

    async def find(self, destination_id: str) -> Destination | None:
        self._server.answer()
        return self.stored.get(destination_id)

    async def delete(self, account_id: str, destination_id: str) -> bool:
        if await self.get(account_id, destination_id) is None:
            return False
        del self.stored[destination_id]
        return True

    async def reseal(self, destination: Destination, sealed: bytes, sealed_by: str) -> bool:
        self._server.answer()
        stored = self.stored.get(destination.destination_id)
        if stored is None or stored.sealed != destination.sealed:
            return False
        self._change(destination.destination_id, sealed=sealed, sealed_by=sealed_by)
        return True

    async def sealed_by_others(self, sealed_by: str) -> "Sequence[Destination]":
        self._server.answer()
        return [each for each in self.stored.values() if each.sealed_by != sealed_by]

    async def end(self, destination_id: str, because: str, now: datetime) -> None:
        self._server.answer()
        self._change(destination_id, ended_at=now, ended_because=because)

    def _change(self, destination_id: str, **changed: object) -> None:
        self.stored[destination_id] = msgspec.structs.replace(self.stored[destination_id], **changed)


class MemoryTurn:
    def __init__(self, queue: "MemoryQueue", events: Sequence[Event]) -> None:
        self._queue = queue
        self.events = events

    async def subscribers(self, event: Event) -> list[Subscriber]:
        return [
            Subscriber(each.destination_id, each.account_id, each.license_id)
            for each in self._queue.destinations.stored.values()
            if each.ended_at is None
            and event.kind in each.events
            and event.account_id in (None, each.account_id)
        ]

    async def add(self, event: Event, routes: Sequence[Route]) -> None:
        self._queue.decided.add(event.event_id)
        for route in routes:
            self._queue.put(event, route)


@dataclass
class MemoryQueue:
    """The outbox; `clock` is its time of creation, `rows` are in the order of their ids."""

    server: Server
    events: MemoryNotifications
    destinations: MemoryDestinations
    clock: Callable[[], datetime]
    rows: dict[UUID, Row] = field(default_factory=dict)
    lanes: dict[str, LaneRow] = field(default_factory=dict)
    decided: set[str] = field(default_factory=set)

    def put(self, event: Event, route: Route) -> None:
        lane = str(route.lane)
        if any(row.event.event_id == event.event_id and row.lane == lane for row in self.rows.values()):
            return
        key = UUID(int=len(self.rows) + 1)
        self.rows[key] = Row(key, event, lane, route.account_id, route.at, self.clock())

    @asynccontextmanager
    async def fan_out(self, limit: int, skipped: Collection[str] = ()) -> AsyncIterator[MemoryTurn]:
        self.server.answer()
        known = {*self.decided, *skipped}
        new = [event for event in self.events.events.values() if event.event_id not in known]
        yield MemoryTurn(self, new[:limit])

    async def claim(
        self,
        now: datetime,
        until: datetime,
        limit: int,
        lanes_of: Callable[[str], Collection[str]],
        selection: Callable[[Sequence[Due], dict[str, datetime]], Selection],
    ) -> list[Due]:
        self.server.answer()
        waiting = (row for row in self.rows.values() if row.state == "waiting" and row.next_try_at <= now)
        free = [row for row in waiting if self._lane(row.lane).busy_until <= now]
        due = sorted(free, key=lambda row: (row.next_try_at, row.notification_id))[:limit]
        lanes = {lane for row in due for lane in lanes_of(row.lane)}
        ready = {lane: self._lane(lane).ready_at for lane in lanes if self._lane(lane).busy_until <= now}
        decided = selection([self._due(row) for row in due], ready)
        for each in decided.sends:
            row = self.rows[each.notification_id]
            row.tries, row.unanswered, row.claimed = row.tries + 1, row.unanswered + row.claimed, True
            row.next_try_at = self._lane(row.lane).busy_until = until
        for key, at in decided.postponed.items():
            self.rows[key].next_try_at = at
        for lane, ready_at in decided.ready.items():
            self._lane(lane).ready_at = ready_at
        return [self._due(self.rows[each.notification_id]) for each in decided.sends]

    def _lane(self, lane: str) -> LaneRow:
        return self.lanes.setdefault(lane, LaneRow())

    @staticmethod
    def _due(row: Row) -> Due:
        return Due(
            notification_id=row.notification_id,
            lane=row.lane,
            account_id=row.account_id,
            tries=row.tries,
            event=row.event,
        )

    async def note(self, claimed: Due, result: Result, now: datetime, events: Sequence[Event] = ()) -> bool:
        self.server.answer()
        row = self.rows[claimed.notification_id]
        if not row.claimed or row.tries != claimed.tries or row.state != "waiting":
            return False
        row.state, row.next_try_at, row.error = result.state, result.next_try_at, result.error
        row.claimed, row.unanswered = False, row.unanswered + result.unanswered
        row.done_at = now if result.state != "waiting" else None
        await self.events.add(events)
        return True

    async def give_back(self, ids: Sequence[UUID], at: datetime) -> None:
        self.server.answer()
        for key in ids:
            row = self.rows[key]
            if row.claimed and row.state == "waiting":
                row.tries, row.claimed, row.next_try_at = row.tries - 1, False, at

    async def free_lane(self, lane: str, ready_at: datetime) -> None:
        self.server.answer()
        self.lanes[lane] = LaneRow(max(self._lane(lane).ready_at, ready_at))

    async def hold_lane(self, lane: str, ready_at: datetime) -> None:
        self.server.answer()
        self._lane(lane).ready_at = max(self._lane(lane).ready_at, ready_at)


class MemoryNotificationList:
    def __init__(self, queue: MemoryQueue) -> None:
        self._queue = queue

    async def listed(
        self, *, state: State | None, lane: str | None, before: UUID, limit: int
    ) -> list[StoredNotification]:
        self._queue.server.answer()
        found = [
            row
            for row in reversed(self._queue.rows.values())
            if row.notification_id < before and state in (None, row.state) and lane in (None, row.lane)
        ]
        return [_stored(row) for row in found[:limit]]

    async def retry(self, notification_id: UUID, now: datetime) -> bool:
        self._queue.server.answer()
        row = self._queue.rows.get(notification_id)
        if row is None or row.state not in ("parked", "dropped"):
            return False
        row.state, row.tries, row.next_try_at, row.done_at, row.error = "waiting", 0, now, None, None
        return True

    async def state_of(self, notification_id: UUID) -> State | None:
        row = self._queue.rows.get(notification_id)
        return None if row is None else row.state

    async def own(self, account_id: str, *, after: UUID, signals_until: datetime, limit: int) -> list[OwnRow]:
        self._queue.server.answer()
        names = OwnRow.__struct_fields__
        rows = [
            row
            for row in self._queue.rows.values()
            if row.account_id == account_id and row.notification_id > after
        ][:limit]
        due = takewhile(
            lambda row: row.event.kind != "signal_published" or row.event.at <= signals_until, rows
        )
        return [OwnRow(**{name: getattr(row, name) for name in names}) for row in due]

    async def replay(self, account_id: str, lane: str, *, since: datetime, now: datetime, limit: int) -> int:
        self._queue.server.answer()
        chosen = [
            row
            for row in self._queue.rows.values()
            if (row.lane, row.account_id) == (lane, account_id)
            and row.state != "waiting"
            and row.created_at >= since
        ][:limit]
        for row in chosen:
            row.state, row.tries, row.next_try_at, row.done_at, row.error = "waiting", 0, now, None, None
        return len(chosen)


def _stored(row: Row) -> StoredNotification:
    names = [name for name in StoredNotification.__struct_fields__ if name not in ("event_id", "kind")]
    given = {name: getattr(row, name) for name in names}
    return StoredNotification(event_id=row.event.event_id, kind=row.event.kind, **given)
