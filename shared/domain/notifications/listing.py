"""Describes notifications as they are stored and shown."""

from datetime import datetime
from uuid import UUID

import msgspec

from shared.domain.notifications.attempts import State
from shared.domain.notifications.events import Event, EventKind


class StoredNotification(msgspec.Struct, frozen=True, kw_only=True):
    """One notification as operators see it.

    `tries` are the attempts so far; `unanswered` those whose answer was lost, so that the receiver may have
    it twice. `lane` says where it goes: channel, mail or role and its name, or a customer's own destination.
    """

    notification_id: UUID
    event_id: str
    kind: EventKind
    lane: str
    account_id: str | None
    state: State
    tries: int
    unanswered: int
    created_at: datetime
    next_try_at: datetime
    done_at: datetime | None
    error: str | None


class OwnRow(msgspec.Struct, frozen=True, kw_only=True):
    """One of an account's own notifications as it is stored, with its event."""

    notification_id: UUID
    lane: str
    state: State
    tries: int
    created_at: datetime
    done_at: datetime | None
    error: str | None
    event: Event
