"""Applies the events of payment vendors to licenses, from the inbox, by a timer.

Each run takes the events that are due. For each, it locks the event's subscription, reads all of that
subscription's events, folds them, and makes the license what they say. A crash between a change and its mark
in the inbox repeats the change, which then changes nothing. An event that cannot be applied waits with
growing delays, then is parked as failed, where operators see it and run it again.
"""

import hashlib
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime, timedelta
from typing import Protocol

from shared.domain.access.account_data import is_erased
from shared.domain.access.licenses import License, license_id_of, license_refusal
from shared.domain.access.plan_catalog import PlanCatalog
from shared.domain.notifications.events import Event
from shared.domain.payments.events import account_of
from shared.domain.payments.history import PaymentState, state_of
from shared.domain.payments.inbox import DueEvent, KnownEvent
from shared.domain.payments.licensing import changes_between, grace_of, settled, standing_of
from shared.domain.payments.products import plan_of
from shared.errors import Conflict, NotFound, SignalCloudError, Unavailable
from shared.metrics import Count, Counter

# Events that are asked for at once, and how often in one run; the next run, seconds later, takes the rest.
MAX_A_BATCH = 100
MAX_BATCHES = 20
MAX_RELATED = 5_000
# A license is made without a buyer's address only if none has come in this time, because its link is mailed.
ADDRESS_WAIT = timedelta(seconds=45)
_FIRST_DELAY = timedelta(seconds=5)
_LONGEST_DELAY = timedelta(hours=1)
# The delays add up to more than a day, in which an outage of a dependency should be over.
MAX_TRIES = 34
# An event that names only a payment waits some ten minutes for those that name the subscription.
MAX_TRIES_UNLINKED = 8
# Events that change no license are kept this long, to show that they came.
IGNORED_RETENTION = timedelta(days=90)

log = logging.getLogger(__name__)


class Turn(Protocol):
    @property
    def subject(self) -> str | None: ...
    @property
    def events(self) -> Sequence[KnownEvent]: ...
    async def settle(self, outcome: str, *, license_id: str | None, account_id: str | None) -> None: ...
    async def erase(self, pseudonym: str) -> None: ...


class PaymentTurns(Protocol):
    async def due(self, now: datetime, limit: int) -> list[DueEvent]: ...
    def turn(self, payment_event_id: int) -> AbstractAsyncContextManager[Turn]: ...
    async def put_off(self, payment_event_id: int, outcome: str, until: datetime | None) -> None: ...
    async def forget_ignored(self, before: datetime) -> int: ...


class LicenseReader(Protocol):
    async def get_license(self, license_id: str) -> License | None: ...


class Licensing(Protocol):
    """What the service needs of LicenseService."""

    async def create_license(
        self,
        account_id: str,
        *,
        plan: str,
        expires_at: datetime | None,
        reference: str | None,
        payment: str | None,
        email: str | None,
        discord_user_id: str | None,
    ) -> License: ...
    async def change(self, license_id: str, change: Callable[[License], License], reason: str) -> object: ...


class _Waits(Exception):
    """The events cannot be applied yet; the text says what is missing."""


class PaymentService:
    """Runs under the login of the timers; `tell` reports events to notify of."""

    def __init__(
        self,
        *,
        store: PaymentTurns,
        reader: LicenseReader,
        licenses: Licensing,
        plans: PlanCatalog,
        products: Mapping[str, str],
        tell: Callable[[Sequence[Event]], Awaitable[None]],
        now: Callable[[], datetime],
        count: Counter,
    ) -> None:
        """`products` has the plan of each vendor's product, such as `stripe:price_1`."""
        self._store = store
        self._reader = reader
        self._licenses = licenses
        self._plans = plans
        self._products = products
        self._tell = tell
        self._now = now
        self._count = count

    async def run(self) -> int:
        """Works on the events that are due, in order; returns how many. Raises Unavailable."""
        worked = 0
        for _ in range(MAX_BATCHES):
            due = await self._store.due(self._now(), MAX_A_BATCH)
            done: set[int] = set()
            for entry in due:
                if entry.payment_event_id not in done:
                    done |= await self._work(entry)
            worked += len(due)
            if len(due) < MAX_A_BATCH:
                break
        return worked

    async def forget(self) -> int:
        """Deletes ignored events after their time; returns how many. All others are folded for ever."""
        return await self._store.forget_ignored(self._now() - IGNORED_RETENTION)

    async def _work(self, entry: DueEvent) -> set[int]:
        """Applies an event, with all others of its subscription; returns the ids of those."""
        try:
            async with self._store.turn(entry.payment_event_id) as turn:
                await self._apply(turn)
                return {each.payment_event_id for each in turn.events}
        except _Waits as waiting:
            await self._put_off(entry, str(waiting), MAX_TRIES_UNLINKED)
        except Unavailable as error:
            # The others need the same dependency: they wait for the next run.
            await self._put_off(entry, f"waits: {error.code}", MAX_TRIES)
            raise
        except SignalCloudError as error:
            await self._park(entry, error.detail or error.code)
        except Exception as error:
            log.exception("payment event %s could not be applied", entry.payment_event_id)
            await self._put_off(entry, f"a fault of ours: {type(error).__name__}; see the log", MAX_TRIES)
        return {entry.payment_event_id}

    async def _put_off(self, entry: DueEvent, outcome: str, most: int) -> None:
        if entry.tries + 1 >= most:
            await self._park(entry, outcome)
            return
        delay = min(_FIRST_DELAY * 2 ** min(entry.tries, 20), _LONGEST_DELAY)
        await self._store.put_off(entry.payment_event_id, outcome, self._now() + delay)

    async def _park(self, entry: DueEvent, outcome: str) -> None:
        self._count(Count.PAYMENT_EVENTS_FAILED)
        log.warning("payment event %s is parked: %s", entry.payment_event_id, outcome)
        await self._store.put_off(entry.payment_event_id, outcome, None)
        # A customer may have paid and have no key.
        await self._tell([_parked(entry, outcome, self._now())])

    async def _apply(self, turn: Turn) -> None:
        if len(turn.events) > MAX_RELATED:
            raise Conflict(f"A subscription may have at most {MAX_RELATED} events.")
        state = state_of(each.event for each in turn.events)
        if state is None:
            await self._without_subject(turn)
            return
        now = self._now()
        license_id = license_id_of(state.subject)
        before = await self._reader.get_license(license_id)
        if before is not None and is_erased(before):
            # What is reported of a holder who was erased names him again.
            await turn.erase(before.account_id)
            await turn.settle("its holder was erased", license_id=license_id, account_id=before.account_id)
            return
        if before is None and not state.started:
            await turn.settle("nothing is paid yet", license_id=None, account_id=_account(state))
            return
        plan = self._plan(before, state, now)
        if before is None:
            standing = standing_of(state, grace_of(self._plans[plan]), now)
            if standing.status != "active":
                outcome = f"no license is made, because it would be {standing.status}"
                await turn.settle(outcome, license_id=None, account_id=_account(state))
                return
            if state.email is None and now < min(each.received_at for each in turn.events) + ADDRESS_WAIT:
                raise _Waits("waits for the event that has the buyer's mail address")
        after = await self._change(before, state, plan, now)
        outcome = changes_between(before, after, now)
        await turn.settle(outcome, license_id=license_id, account_id=after.account_id)

    def _plan(self, license_: License | None, state: PaymentState, now: datetime) -> str:
        """The plan that was bought; raises NotFound if the settings do not name it.

        What is over ends all the same, under the plan that the license was paid for.
        """
        try:
            return plan_of(state, self._products, self._plans)
        except NotFound:
            paid = license_.paid_plan if license_ is not None else None
            if (
                paid is None
                or paid not in self._plans
                or standing_of(state, timedelta(0), now).status == "active"
            ):
                raise
            return paid

    async def _without_subject(self, turn: Turn) -> None:
        if all(each.event.kind == "linked" for each in turn.events):
            await turn.settle(
                "kept, in case its subscription becomes known", license_id=None, account_id=None
            )
            return
        raise _Waits(
            "No subscription is known for this payment. If it paid one, send the events invoice.paid and "
            "invoice_payment.paid here, too, then run this event again."
        )

    async def _change(self, before: License | None, state: PaymentState, plan: str, now: datetime) -> License:
        """Makes the license what the payments say, and returns it."""
        if before is None:
            standing = standing_of(state, grace_of(self._plans[plan]), now)
            before = await self._licenses.create_license(
                _account(state),
                plan=plan,
                expires_at=standing.expires_at,
                reference=state.subject,
                payment=state.subject,
                email=state.email,
                discord_user_id=state.discord_user_id,
            )
        after = settled(before, state, plan, self._plans, now)
        # An unchanged license that works is told to the caches again: the process may have died before.
        if after != before or license_refusal(after, now) is None:
            # Clients whose connections this closes are told it, and the audit has it.
            reason = f"license {'changed' if after.status == 'active' else after.status} by payment"
            await self._licenses.change(
                before.license_id, lambda stored: settled(stored, state, plan, self._plans, now), reason
            )
        return after


def _account(state: PaymentState) -> str:
    customer = state.customer or state.subject.partition(":")[2]
    return account_of(state.provider, customer)


def _parked(entry: DueEvent, outcome: str, now: datetime) -> Event:
    """One cause is told once a day, however many events it parks."""
    cause = hashlib.sha256(outcome.encode()).hexdigest()[:12]
    return Event(
        event_id=f"payment_parked:{cause}:{now:%Y%m%d}",
        kind="payment_parked",
        at=now,
        values={
            "payment_event_id": entry.payment_event_id,
            "subject": entry.subject or "an unknown subscription",
            "outcome": outcome,
        },
    )
