"""The events that somebody is notified of, in memory."""

from collections.abc import Sequence

from shared.domain.notifications.events import Event
from tests.support.memory_signals import Server


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
