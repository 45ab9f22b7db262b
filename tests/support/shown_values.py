"""Finds what the message of an event cannot show, because whoever reports the event does not say it."""

from shared.domain.notifications.events import Event
from shared.domain.notifications.messages import SHOWN


def values_lacking(event: Event) -> set[str]:
    """The names that templates of the event's kind may show, and that the event does not have."""
    return set(SHOWN[event.kind]) - event.values.keys()
