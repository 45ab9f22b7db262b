"""Describes the events that Web PubSub reports about its connections."""

from typing import Literal

import msgspec

EventKind = Literal["connect", "connected", "disconnected"]
_MAX_EPOCH_DIGITS = 12


class HubEvent(msgspec.Struct, frozen=True):
    """One event of one connection; `user_id` is the account, empty for an anonymous connection."""

    kind: EventKind
    connection_id: str
    user_id: str


class ConnectRequest(msgspec.Struct, frozen=True):
    """The part of a connect event's body that we use: the claims of the client's token."""

    claims: dict[str, list[str]] = {}

    @property
    def issued_at(self) -> int:
        """When the token was issued, in seconds since the epoch; 0 if that is unknown."""
        values = self.claims.get("iat") or ["0"]
        is_time = values[0].isascii() and values[0].isdigit() and len(values[0]) <= _MAX_EPOCH_DIGITS
        return int(values[0]) if is_time else 0
