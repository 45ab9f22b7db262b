"""Reads Web PubSub's events from the headers of their CloudEvents.

https://learn.microsoft.com/azure/azure-web-pubsub/reference-cloud-events
"""

from collections.abc import Mapping
from urllib.parse import unquote

from shared.domain.access.hub_events import EventKind, HubEvent
from shared.domain.problems import Problems

_TYPES: dict[str, EventKind] = {
    "azure.webpubsub.sys.connect": "connect",
    "azure.webpubsub.sys.connected": "connected",
    "azure.webpubsub.sys.disconnected": "disconnected",
}
_MAX_ID = 256


def hub_event(headers: Mapping[str, str], hub: str) -> HubEvent:
    """The event that the headers describe; raises a ValidationFailed that names every bad header."""
    kind = _TYPES.get(headers.get("ce-type", ""))
    connection_id = headers.get("ce-connectionid", "")
    user_id = unquote(headers.get("ce-userid", ""))
    problems = Problems()
    if kind is None:
        problems.add("ce-type", "unknown_value", f"Expected one of {', '.join(_TYPES)}.")
    if headers.get("ce-hub", "").lower() != hub.lower():
        problems.add("ce-hub", "unknown_value", f"Expected {hub}.")
    if not 0 < len(connection_id) <= _MAX_ID:
        problems.add("ce-connectionid", "missing", "Expected the id of a connection.")
    if len(user_id) > _MAX_ID:
        problems.add("ce-userid", "out_of_range", f"At most {_MAX_ID} characters.")
    if problems or kind is None:
        raise problems.refusal("The event's headers cannot be accepted.")
    return HubEvent(kind, connection_id, user_id)
