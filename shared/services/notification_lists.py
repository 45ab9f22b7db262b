"""Shows notifications: to each account its own, to operators those of all, which they can retry."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Protocol
from uuid import UUID

import msgspec

from shared.domain.access.licenses import Grant
from shared.domain.notifications.attempts import State
from shared.domain.notifications.destinations import WebhookMessage, webhook_message
from shared.domain.notifications.listing import OwnRow, StoredNotification
from shared.errors import Conflict, NotFound
from shared.services.auditing import AuditLog, Auditor
from shared.services.notification_receivers import message_id_of

MAX_PAGE = 200
_FIRST, _LAST = UUID(int=0), UUID(int=2**128 - 1)


class OwnNotification(msgspec.Struct, frozen=True, kw_only=True):
    """One of an account's own notifications.

    `id` is the webhook-id under which it was sent, and `message` what a webhook gets.
    """

    id: str
    destination_id: str
    state: State
    tries: int
    created_at: datetime
    done_at: datetime | None
    error: str | None
    message: WebhookMessage


class NotificationPage(msgspec.Struct, frozen=True):
    """Newest first; `next_before` is the `before` of the next page, null at the end."""

    notifications: list[StoredNotification]
    next_before: UUID | None


class OwnNotificationPage(msgspec.Struct, frozen=True):
    """Oldest first, up to a signal that is still delayed.

    Repeat with `after=next_after` to go on, now or later.
    """

    notifications: list[OwnNotification]
    next_after: UUID | None


class Store(Protocol):
    async def listed(
        self, *, state: State | None, lane: str | None, before: UUID, limit: int
    ) -> list[StoredNotification]: ...
    async def retry(self, notification_id: UUID, now: datetime) -> bool: ...
    async def state_of(self, notification_id: UUID) -> State | None: ...
    async def own(
        self, account_id: str, *, after: UUID, signals_until: datetime, limit: int
    ) -> Sequence[OwnRow]: ...


class NotificationLists:
    """Every method raises Unavailable."""

    def __init__(self, *, store: Store, audit: AuditLog, now: Callable[[], datetime]) -> None:
        self._store = store
        self._audit = audit
        self._now = now

    async def page(
        self, *, state: State | None, lane: str | None, before: UUID | None, limit: int
    ) -> NotificationPage:
        """A page of the notifications of all accounts, newest first."""
        found = await self._store.listed(state=state, lane=lane, before=before or _LAST, limit=limit + 1)
        page = found[:limit]
        return NotificationPage(page, page[-1].notification_id if len(found) > limit else None)

    async def retry(self, notification_id: UUID, actor: str) -> None:
        """Lets a notification that was parked or dropped be tried again, as if it were new.

        The change is audited under `actor`.

        Raises NotFound, and Conflict for one that was sent.
        """
        if await self._store.retry(notification_id, self._now()):
            await Auditor(self._audit, actor).note("notification retried", str(notification_id))
            return
        state = await self._store.state_of(notification_id)
        if state is None:
            raise NotFound(f"There is no notification {notification_id}.")
        if state == "sent":
            raise Conflict("The notification was sent; only what was not can be tried again.")

    async def own(self, grant: Grant, after: UUID | None, limit: int) -> OwnNotificationPage:
        """A page of the account's own notifications of its destinations, oldest first.

        It ends before the first signal that the license does not get yet, because of its delay.
        """
        rows = await self._store.own(
            grant.license.account_id,
            after=after or _FIRST,
            signals_until=self._now() - timedelta(seconds=grant.terms.signal_delay_s),
            limit=limit,
        )
        return OwnNotificationPage([_own(row) for row in rows], rows[-1].notification_id if rows else after)


def _own(row: OwnRow) -> OwnNotification:
    return OwnNotification(
        id=message_id_of(row.notification_id),
        destination_id=row.lane.partition(":")[2],
        state=row.state,
        tries=row.tries,
        created_at=row.created_at,
        done_at=row.done_at,
        error=row.error,
        message=webhook_message(row.event),
    )
