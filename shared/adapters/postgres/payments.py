"""Stores what payment vendors report: an inbox that keeps each event once, with what became of it."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

import msgspec
from psycopg.rows import class_row, scalar_row
from psycopg.types.json import Jsonb

from shared.adapters.postgres.database import Connection, Database
from shared.domain.payments.events import PaymentEvent, account_of
from shared.domain.payments.inbox import Backlog, DueEvent, KnownEvent, ListedPaymentEvent, PaymentFilter
from shared.errors import Conflict, NotFound
from shared.sql import queries

# The state machine folds all events of a subscription each time: some six a month.
MAX_RELATED = 5_000
BATCH = 1_000
MAX_BATCHES = 20
_NO_CURSOR = 2**63 - 1
_SQL = queries("payments")


class _Row(msgspec.Struct, frozen=True):
    payment_event_id: int
    received_at: datetime
    payload: dict[str, Any]


class PaymentTurn:
    """One subscription's events, while no other run may decide on them."""

    def __init__(self, connection: Connection, subject: str | None, events: Sequence[KnownEvent]) -> None:
        self._connection = connection
        self.subject = subject
        self.events = events

    async def settle(self, outcome: str, *, license_id: str | None, account_id: str | None) -> None:
        """Marks all events of the turn as applied, with what they did."""
        values = {
            "payment_event_ids": [each.payment_event_id for each in self.events],
            "outcome": outcome[:500],
            "license_id": license_id,
            "account_id": account_id,
        }
        await self._connection.execute(_SQL["settle"], values)

    async def erase(self, pseudonym: str) -> None:
        """Gives all events of the turn the pseudonym of their account, and takes the buyer from them."""
        values = {
            "payment_event_ids": [each.payment_event_id for each in self.events],
            "pseudonym": pseudonym,
        }
        await self._connection.execute(_SQL["erase"], values)


class PaymentStore:
    """Every method raises Unavailable. The timer's methods run under the login of the jobs."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, event: PaymentEvent, now: datetime) -> bool:
        """Stores an event that was received now; False if it is stored already."""
        values = {
            "provider": event.provider,
            "event_id": event.event_id,
            "type": event.type,
            "kind": event.kind,
            "created_at": event.at,
            "now": now,
            "subject": event.subject,
            "account_id": account_of(event.provider, event.customer) if event.customer else None,
            "links": list(event.links),
            "payload": Jsonb(msgspec.to_builtins(event)),
            "state": "ignored" if event.kind == "ignored" else "received",
            "outcome": event.why_ignored,
        }
        async with self._database.transaction() as connection:
            return await (await connection.execute(_SQL["add"], values)).fetchone() is not None

    async def due(self, now: datetime, limit: int) -> list[DueEvent]:
        """At most `limit` events to work on, the longest due first."""
        async with self._database.transaction(jobs=True) as connection:
            cursor = connection.cursor(row_factory=class_row(DueEvent))
            return await (await cursor.execute(_SQL["due"], {"now": now, "limit": limit})).fetchall()

    @asynccontextmanager
    async def turn(self, payment_event_id: int) -> AsyncIterator[PaymentTurn]:
        """Locks the subscription of an event, and reads all of its events.

        Without a known subscription, the turn has the event alone. The block must end within a transaction's
        time limit (30 s). If it raises, nothing is marked.
        """
        async with self._database.transaction(jobs=True) as connection:
            values: dict[str, Any] = {"payment_event_id": payment_event_id}
            cursor = connection.cursor(row_factory=scalar_row)
            subject = await (await cursor.execute(_SQL["subject_of"], values)).fetchone()
            rows = connection.cursor(row_factory=class_row(_Row))
            if subject is None:
                await rows.execute(_SQL["event"], values)
            else:
                await connection.execute(_SQL["lock"], {"subject": subject})
                # One more than are allowed, so that the service sees that there are too many.
                await rows.execute(_SQL["related"], {"subject": subject, "limit": MAX_RELATED + 1})
            yield PaymentTurn(connection, subject, [_known(row) for row in await rows.fetchall()])

    async def put_off(self, payment_event_id: int, outcome: str, until: datetime | None) -> None:
        """Lets a received event wait until a time, or parks it as failed if there is none."""
        values = {
            "payment_event_id": payment_event_id,
            "outcome": outcome[:500],
            "state": "failed" if until is None else "received",
            "until": until,
        }
        async with self._database.transaction(jobs=True) as connection:
            await connection.execute(_SQL["put_off"], values)

    async def run_again(self, payment_event_id: int, now: datetime) -> ListedPaymentEvent:
        """Makes an event due; raises NotFound, and Conflict for an ignored one."""
        values = {"payment_event_id": payment_event_id, "now": now}
        async with self._database.transaction() as connection:
            await connection.execute(_SQL["run_again"], values)
            cursor = connection.cursor(row_factory=class_row(ListedPaymentEvent))
            found = await (await cursor.execute(_SQL["show"], values)).fetchone()
        if found is None:
            raise NotFound(f"There is no payment event {payment_event_id}.")
        if found.state == "ignored":
            raise Conflict(f"The payment event {payment_event_id} changes no license: {found.outcome}.")
        return found

    async def list(self, chosen: PaymentFilter, limit: int) -> list[ListedPaymentEvent]:
        """At most `limit` events, the newest first."""
        if chosen.subject is not None:
            name = "list_subject"
        else:
            name = "list" if chosen.state is None else "list_state"
        values = {
            "before": chosen.before or _NO_CURSOR,
            "state": chosen.state,
            "subject": chosen.subject,
            "limit": limit,
        }
        async with self._database.transaction() as connection:
            cursor = connection.cursor(row_factory=class_row(ListedPaymentEvent))
            return await (await cursor.execute(_SQL[name], values)).fetchall()

    async def backlog(self) -> Backlog:
        """How many events wait and since when, and how many were given up; raises Unavailable."""
        async with self._database.transaction() as connection:
            cursor = connection.cursor(row_factory=class_row(Backlog))
            await cursor.execute(_SQL["backlog"])
            found = await cursor.fetchone()
        assert found is not None
        return found

    async def forget_ignored(self, before: datetime) -> int:
        """Deletes ignored events received before a time, at most MAX_BATCHES * BATCH; returns how many."""
        forgotten = 0
        for _ in range(MAX_BATCHES):
            async with self._database.transaction(jobs=True) as connection:
                values = {"before": before, "limit": BATCH}
                forgotten += (rows := (await connection.execute(_SQL["forget_ignored"], values)).rowcount)
            if rows < BATCH:
                break
        return forgotten


def _known(row: _Row) -> KnownEvent:
    event = msgspec.convert(row.payload, PaymentEvent)
    return KnownEvent(row.payment_event_id, row.received_at, event)
