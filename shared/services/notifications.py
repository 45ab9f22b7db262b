"""Takes the events that services report, so that a timer can notify of them."""

import logging
from collections.abc import Sequence
from typing import Protocol

from shared.domain.notifications.events import Event
from shared.errors import InvalidInput, Unavailable

log = logging.getLogger(__name__)


class EventStore(Protocol):
    async def add(self, events: Sequence[Event]) -> None: ...


class NotificationService:
    """Stores events; functions/timers.py sends them."""

    def __init__(self, events: EventStore) -> None:
        self._events = events

    async def tell(self, events: Sequence[Event]) -> None:
        """Stores the events as well as possible: if it fails, it logs, because what happened still stands.

        An event that must not be lost is stored in the transaction that makes it happen instead (`add_in`).
        """
        if not events:
            return
        try:
            await self._events.add(events)
        except (Unavailable, InvalidInput) as error:
            kinds = ", ".join(sorted({event.kind for event in events}))
            log.warning("nobody is notified of %s: %s", kinds, error.internal or error.detail)
