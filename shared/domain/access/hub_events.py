"""Describes the events that Web PubSub reports about its connections."""

from typing import Literal

import msgspec

EventKind = Literal["connect", "connected", "disconnected"]
GROUP_CLAIM = "webpubsub.group"
ROLE_CLAIM = "role"
_JOIN_ROLE = "webpubsub.joinLeaveGroup."


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

    @property
    def joinable(self) -> list[str]:
        """The groups that the token lets its connection join: those of symbols."""
        roles = self.claims.get(ROLE_CLAIM, [])
        return [role.removeprefix(_JOIN_ROLE) for role in roles if role.startswith(_JOIN_ROLE)]
