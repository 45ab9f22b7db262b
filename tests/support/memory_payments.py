"""The inbox of payment vendors in memory, as PaymentStore keeps it in Postgres."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

import msgspec

from shared.domain.payments.events import PaymentEvent, account_of
from shared.domain.payments.inbox import Backlog, DueEvent, KnownEvent, ListedPaymentEvent, PaymentFilter
from shared.errors import Conflict, NotFound
from tests.support.memory_signals import Server


class MemoryTurn:
    def __init__(self, inbox: "MemoryPayments", subject: str | None, events: Sequence[KnownEvent]) -> None:
        self._inbox = inbox
        self.subject = subject
        self.events = events

    async def settle(self, outcome: str, *, license_id: str | None, account_id: str | None) -> None:
        self._inbox.answer()
        for each in self.events:
            row = self._inbox.rows[each.payment_event_id]
            if row.state in ("received", "failed"):
                self._inbox.put(
                    row,
                    state="applied",
                    outcome=outcome,
                    license_id=license_id or row.license_id,
                    account_id=row.account_id or account_id,
                )

    async def erase(self, pseudonym: str) -> None:
        self._inbox.answer()
        for each in self.events:
            self._inbox.put(self._inbox.rows[each.payment_event_id], account_id=pseudonym)
            self._inbox.events[each.payment_event_id] = msgspec.structs.replace(
                each.event, email=None, discord_user_id=None, customer=None
            )


class MemoryPayments:
    """Rows by id; `on_settle` may raise, as a process that dies before its commit would."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._lock = asyncio.Lock()
        self.rows: dict[int, ListedPaymentEvent] = {}
        self.events: dict[int, PaymentEvent] = {}
        self.due_at: dict[int, datetime] = {}
        self.waiting = Backlog(0, 0.0, 0)

    def answer(self) -> None:
        self._server.answer()

    def put(self, row: ListedPaymentEvent, **values: Any) -> None:
        self.rows[row.payment_event_id] = msgspec.structs.replace(row, **values)

    async def backlog(self) -> Backlog:
        self.answer()
        return self.waiting

    async def add(self, event: PaymentEvent, now: datetime) -> bool:
        self.answer()
        if any(
            (each.provider, each.event_id) == (event.provider, event.event_id) for each in self.rows.values()
        ):
            return False
        number = len(self.rows) + 1
        self.events[number], self.due_at[number] = event, now
        self.rows[number] = ListedPaymentEvent(
            payment_event_id=number,
            provider=event.provider,
            event_id=event.event_id,
            type=event.type,
            kind=event.kind,
            created_at=event.at,
            received_at=now,
            subject=event.subject,
            account_id=account_of(event.provider, event.customer) if event.customer else None,
            license_id=None,
            state="ignored" if event.kind == "ignored" else "received",
            outcome=event.why_ignored,
            tries=0,
            next_try_at=None,
        )
        return True

    async def due(self, now: datetime, limit: int) -> list[DueEvent]:
        self.answer()
        waiting = [
            each for each, row in self.rows.items() if row.state == "received" and self.due_at[each] <= now
        ]
        waiting.sort(key=lambda each: (self.due_at[each], each))
        return [DueEvent(each, self.rows[each].subject, self.rows[each].tries) for each in waiting[:limit]]

    @asynccontextmanager
    async def turn(self, payment_event_id: int) -> AsyncIterator[MemoryTurn]:
        self.answer()
        async with self._lock:
            found = self._related({payment_event_id})
            subject = min((each for number in found if (each := self.events[number].subject)), default=None)
            if subject is not None:
                named = {number for number, each in self.events.items() if each.subject == subject}
                found = self._related(named)
            kept = dict(self.rows)
            try:
                yield MemoryTurn(self, subject, [self._known(number) for number in sorted(found)])
            except BaseException:
                self.rows = kept
                raise

    def _related(self, numbers: set[int]) -> set[int]:
        while True:
            links = {link for number in numbers for link in self.events[number].links}
            more = {number for number, each in self.events.items() if links & set(each.links)} | numbers
            if more == numbers:
                return numbers
            numbers = more

    def _known(self, number: int) -> KnownEvent:
        return KnownEvent(number, self.rows[number].received_at, self.events[number])

    async def put_off(self, payment_event_id: int, outcome: str, until: datetime | None) -> None:
        self.answer()
        row = self.rows[payment_event_id]
        if row.state == "received":
            state = "failed" if until is None else "received"
            self.put(row, state=state, outcome=outcome, tries=row.tries + 1)
            self.due_at[payment_event_id] = until or self.due_at[payment_event_id]

    async def run_again(self, payment_event_id: int, now: datetime) -> ListedPaymentEvent:
        self.answer()
        row = self.rows.get(payment_event_id)
        if row is None:
            raise NotFound(f"There is no payment event {payment_event_id}.")
        if row.state == "ignored":
            raise Conflict("ignored")
        self.put(row, state="received", tries=0)
        self.due_at[payment_event_id] = now
        return self.rows[payment_event_id]

    async def list(self, chosen: PaymentFilter, limit: int) -> list[ListedPaymentEvent]:
        self.answer()
        return [
            row
            for row in sorted(self.rows.values(), key=lambda each: -each.payment_event_id)
            if (chosen.before is None or row.payment_event_id < chosen.before)
            and chosen.state in (None, row.state)
            and chosen.subject in (None, row.subject)
        ][:limit]

    async def forget_ignored(self, before: datetime) -> int:
        self.answer()
        old = [n for n, row in self.rows.items() if row.state == "ignored" and row.received_at < before]
        for number in old:
            del self.rows[number], self.events[number], self.due_at[number]
        return len(old)
