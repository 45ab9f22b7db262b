"""What Web PubSub tells of its connections: CloudEvents over HTTP, read from their headers.

https://learn.microsoft.com/azure/azure-web-pubsub/reference-cloud-events
"""

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from typing import Literal
from urllib.parse import unquote

import msgspec

from shared.errors import FieldError, ValidationFailed

EventKind = Literal["connect", "connected", "disconnected"]
_TYPES: dict[str, EventKind] = {
    "azure.webpubsub.sys.connect": "connect",
    "azure.webpubsub.sys.connected": "connected",
    "azure.webpubsub.sys.disconnected": "disconnected",
}
_MAX_ID = 256


class HubEvent(msgspec.Struct, frozen=True):
    """One event of one connection; `user_id` is the account, empty for a connection of nobody's."""

    kind: EventKind
    connection_id: str
    user_id: str


class ConnectRequest(msgspec.Struct, frozen=True):
    """The body of a connect event, as far as it is asked for: the claims of the client's token."""

    claims: dict[str, list[str]] = {}

    @property
    def issued_at(self) -> int:
        """When the token was made, in seconds since the epoch; 0 where it does not say."""
        values = self.claims.get("iat") or ["0"]
        return int(values[0]) if values[0].isascii() and values[0].isdigit() and len(values[0]) <= 12 else 0


def hub_event(headers: Mapping[str, str], hub: str) -> HubEvent:
    """The event that the headers describe; raises ValidationFailed naming every header that is off."""
    kind = _TYPES.get(headers.get("ce-type", ""))
    connection_id = headers.get("ce-connectionid", "")
    user_id = unquote(headers.get("ce-userid", ""))
    problems = []
    if kind is None:
        problems.append(FieldError("ce-type", "unknown_value", f"Expected one of {', '.join(_TYPES)}."))
    if headers.get("ce-hub", "").lower() != hub.lower():
        problems.append(FieldError("ce-hub", "unknown_value", f"Expected {hub}."))
    if not 0 < len(connection_id) <= _MAX_ID:
        problems.append(FieldError("ce-connectionid", "missing", "Expected the id of a connection."))
    if len(user_id) > _MAX_ID:
        problems.append(FieldError("ce-userid", "out_of_range", f"At most {_MAX_ID} characters."))
    if problems or kind is None:
        raise ValidationFailed(tuple(problems), "The event's headers cannot be accepted.")
    return HubEvent(kind, connection_id, user_id)


def is_signed(connection_id: str, signatures: str, keys: Sequence[bytes]) -> bool:
    """Whether `ce-signature` holds HMAC-SHA256 of the connection's id under one of the access keys."""
    given = [part.strip().removeprefix("sha256=") for part in signatures.split(",")[:4]]
    expected = [hmac.new(key, connection_id.encode(), hashlib.sha256).hexdigest() for key in keys]
    return any(hmac.compare_digest(one.encode(), other.encode()) for one in given for other in expected)
