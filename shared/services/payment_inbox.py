"""Takes the events of payment vendors into the inbox, and lets operators see them and run them again.

A vendor's event is verified, read and stored, and answered at once; shared/services/payments.py works on it
later. So an answer takes one round trip to Postgres, and a crash loses nothing: what was not stored was not
answered, and the vendor sends it again.
"""

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Protocol

import msgspec

from shared.domain.decoding import UNREADABLE
from shared.domain.payments.events import PaymentEvent, short
from shared.domain.payments.inbox import ListedPaymentEvent, PaymentEventPage, PaymentFilter
from shared.domain.payments.stripe_events import read_stripe_event
from shared.domain.payments.whop_events import read_whop_event
from shared.errors import MalformedJson, SignalCloudError, SignatureInvalid, Unavailable, ValidationFailed
from shared.metrics import Count, Counter

MAX_LISTED = 500


class SignatureCheck(Protocol):
    async def check(self, body: bytes, headers: Mapping[str, str], now: datetime) -> None: ...


class InboxStore(Protocol):
    async def add(self, event: PaymentEvent, now: datetime) -> bool: ...
    async def run_again(self, payment_event_id: int, now: datetime) -> ListedPaymentEvent: ...
    async def list(self, chosen: PaymentFilter, limit: int) -> list[ListedPaymentEvent]: ...


class PaymentInbox:
    """Every method raises DatabaseUnavailable; then the vendor tries again."""

    def __init__(
        self,
        *,
        store: InboxStore,
        stripe: SignatureCheck,
        whop: SignatureCheck,
        live: bool,
        now: Callable[[], datetime],
        count: Counter,
    ) -> None:
        """If `live`, events of Stripe's test mode are ignored, else those of its live mode."""
        self._store = store
        self._stripe = stripe
        self._whop = whop
        self._live = live
        self._now = now
        self._count = count

    async def take_stripe(self, headers: Mapping[str, str], read_body: Callable[[], bytes]) -> None:
        """Stores an event of Stripe, unless it is stored already.

        Raises SignatureInvalid, SignatureExpired, BodyTooLarge, MalformedJson and ValidationFailed; of a
        refused event, nothing is kept but a count.
        """

        async def read() -> PaymentEvent:
            body = read_body()
            await self._stripe.check(body, headers, self._now())
            return _decoded(lambda: read_stripe_event(body, live=self._live))

        await self._take(read)

    async def take_whop(self, headers: Mapping[str, str], read_body: Callable[[], bytes]) -> None:
        """Stores an event of Whop; raises the same errors."""

        async def read() -> PaymentEvent:
            body = read_body()
            await self._whop.check(body, headers, self._now())
            event_id = short(headers.get("webhook-id"))
            if event_id is None:
                raise SignatureInvalid("The header webhook-id is too long.")
            return _decoded(lambda: read_whop_event(body, event_id))

        await self._take(read)

    async def list(self, chosen: PaymentFilter, limit: int) -> PaymentEventPage:
        """At most `limit` events, the newest first."""
        found = await self._store.list(chosen, limit + 1)
        page = tuple(found[:limit])
        return PaymentEventPage(page, page[-1].payment_event_id if len(found) > limit else None)

    async def run_again(self, payment_event_id: int) -> ListedPaymentEvent:
        """Makes an event due, whatever became of it; raises NotFound, and Conflict for an ignored one.

        It is applied within seconds. To apply an event twice changes nothing.
        """
        return await self._store.run_again(payment_event_id, self._now())

    async def _take(self, read: Callable[[], Awaitable[PaymentEvent]]) -> None:
        try:
            event = await read()
            is_new = await self._store.add(event, self._now())
        except Unavailable:
            raise
        except SignalCloudError:
            self._count(Count.PAYMENT_EVENTS_REFUSED)
            raise
        self._count(Count.PAYMENT_EVENTS_RECEIVED if is_new else Count.PAYMENT_EVENTS_REPEATED)


def _decoded(read: Callable[[], PaymentEvent]) -> PaymentEvent:
    try:
        return read()
    except msgspec.ValidationError as error:
        # Names the place and the types, never a value.
        raise ValidationFailed((), f"This is no event as its vendor describes it: {error}.") from error
    except UNREADABLE as error:
        raise MalformedJson("The body is no JSON that can be read.") from error
