"""What Web PubSub asks before it lets a client in, and tells of connections afterwards."""

import logging
from collections.abc import Callable, Mapping
from typing import Protocol

from shared.domain.access.hub_events import ConnectRequest, HubEvent
from shared.errors import FieldError, Unauthenticated, Unavailable, ValidationFailed

log = logging.getLogger(__name__)


class Proof(Protocol):
    @property
    def origin(self) -> str: ...
    async def check(self, event: HubEvent, headers: Mapping[str, str]) -> None: ...


class Closures(Protocol):
    async def closed_at(self, account_id: str) -> float | None: ...


class HubEventService:
    """Judges events of the hub; `count` is told the name of what is counted."""

    def __init__(self, *, proof: Proof, closures: Closures, count: Callable[[str], None]) -> None:
        self._proof = proof
        self._closures = closures
        self._count = count

    def allowed_origin(self, asked: str) -> str:
        """The answer to the service's question whether its events are welcome; raises ValidationFailed."""
        if asked.lower() != self._proof.origin.lower():
            error = FieldError("webhook-request-origin", "unknown_value", f"Expected {self._proof.origin}.")
            raise ValidationFailed((error,), "Only this deployment's Web PubSub may send events.")
        return asked

    async def prove(self, event: HubEvent, headers: Mapping[str, str]) -> None:
        """Raises Unauthenticated unless the event comes from this deployment's Web PubSub."""
        await self._proof.check(event, headers)

    async def admit(self, event: HubEvent, request: ConnectRequest) -> None:
        """Refuses a token that was made before its account's connections were closed.

        A client access URL lives for an hour, and closing connections is no ban: without this, who had one
        could come back with it. Raises Unauthenticated. Without the cache the client is let in.
        """
        try:
            closed_at = await self._closures.closed_at(event.user_id)
        except Unavailable as error:
            log.warning("a client is let in unjudged: %s", error.internal)
            closed_at = None
        if closed_at is not None and request.issued_at <= closed_at:
            self._count("connections_refused")
            raise Unauthenticated(
                "The account's connections were closed after this URL was made; negotiate again.",
                code="key_revoked",
            )

    def note(self, event: HubEvent) -> None:
        """Counts a connection that was opened or closed."""
        if event.kind != "connect":
            self._count("connections_opened" if event.kind == "connected" else "connections_closed")
