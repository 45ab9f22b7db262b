"""Describes the stored events of payment vendors, as operators and the timer see them."""

from datetime import datetime
from typing import Literal

import msgspec

from shared.domain.payments.events import PaymentEvent, PaymentKind, Provider

# A received event waits for the timer. A failed one waits for an operator.
InboxState = Literal["received", "applied", "ignored", "failed"]


class Backlog(msgspec.Struct, frozen=True):
    """How many events wait, the age in seconds of the oldest, and how many were given up within a day."""

    waiting: int
    oldest_s: float
    failed: int


class DueEvent(msgspec.Struct, frozen=True):
    """A received event that the timer should work on; it has done so `tries` times."""

    payment_event_id: int
    subject: str | None
    tries: int


class KnownEvent(msgspec.Struct, frozen=True):
    """A stored event of a subscription, and when it came."""

    payment_event_id: int
    received_at: datetime
    event: PaymentEvent


class ListedPaymentEvent(msgspec.Struct, frozen=True):
    """A stored event, and what became of it. `created_at` is the vendor's time."""

    payment_event_id: int
    provider: Provider
    event_id: str
    type: str
    kind: PaymentKind
    created_at: datetime
    received_at: datetime
    subject: str | None
    account_id: str | None
    license_id: str | None
    state: InboxState
    outcome: str
    tries: int
    next_try_at: datetime | None


class PaymentFilter(msgspec.Struct, frozen=True):
    """Which events to list: those with an id below `before`, of one state, of one subscription."""

    before: int | None = None
    state: InboxState | None = None
    subject: str | None = None


class PaymentEventPage(msgspec.Struct, frozen=True):
    """A page of events, the newest first; `next_before` continues the list, null at its end."""

    payment_events: tuple[ListedPaymentEvent, ...]
    next_before: int | None
