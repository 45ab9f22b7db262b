"""Describes the events that Web PubSub reports about its connections."""

from typing import Literal

import msgspec

EventKind = Literal["connect", "connected", "disconnected"]
GROUP_CLAIM = "webpubsub.group"


class HubEvent(msgspec.Struct, frozen=True):
    """One event of one connection; `user_id` is the account, empty for an anonymous connection."""

    kind: EventKind
    connection_id: str
    user_id: str


class ConnectRequest(msgspec.Struct, frozen=True):
    """The part of a connect event's body that we use: the claims of the client's token."""

    claims: dict[str, list[str]] = {}

    @property
    def groups(self) -> list[str]:
        """The groups that the token puts its connection into."""
        return self.claims.get(GROUP_CLAIM, [])
