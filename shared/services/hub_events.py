"""Decides which clients Web PubSub may connect, and counts the connections that it reports."""

import logging
from collections.abc import Callable, Mapping
from typing import Protocol

from shared.domain.access.hub_events import ConnectRequest, HubEvent
from shared.domain.decoding import decode
from shared.errors import FieldError, KeyRevoked, Unavailable, ValidationFailed
from shared.metrics import Count, Counter

log = logging.getLogger(__name__)


class Proof(Protocol):
    @property
    def origin(self) -> str: ...
    async def check(self, event: HubEvent, headers: Mapping[str, str]) -> None: ...


class Closures(Protocol):
    async def closed_at(self, account_id: str) -> float | None: ...


class HubEventService:
    """Judges events of the hub; `count` adds to a count."""

    def __init__(self, *, proof: Proof, closures: Closures, count: Counter) -> None:
        self._proof = proof
        self._closures = closures
        self._count = count

    def allowed_origin(self, asked: str) -> str:
        """The origin that may send events here; raises ValidationFailed if another one asks."""
        if asked.lower() != self._proof.origin.lower():
            error = FieldError("webhook-request-origin", "unknown_value", f"Expected {self._proof.origin}.")
            raise ValidationFailed((error,), "Only this deployment's Web PubSub may send events.")
        return asked

    async def take(self, event: HubEvent, headers: Mapping[str, str], read_body: Callable[[], bytes]) -> None:
        """Verifies the event's sender, refuses clients that may not connect, and counts connections.

        Raises Unauthenticated, Unavailable, and InvalidInput for a body that is no connect request.
        """
        await self._proof.check(event, headers)
        if event.kind == "connect":
            await self._check_connect(event, decode(read_body(), ConnectRequest))
        else:
            opened = event.kind == "connected"
            self._count(Count.CONNECTIONS_OPENED if opened else Count.CONNECTIONS_CLOSED)

    async def _check_connect(self, event: HubEvent, request: ConnectRequest) -> None:
        """Refuses a token that was made before its account's connections were closed.

        A client access URL lives for an hour, and closing connections is no ban: without this check, a client
        could come back with its old URL. Raises Unauthenticated. Without the cache the client is let in.
        """
        try:
            closed_at = await self._closures.closed_at(event.user_id)
        except Unavailable as error:
            log.warning("a client connects without the check for closed accounts: %s", error.internal)
            closed_at = None
        if closed_at is not None and request.issued_at <= closed_at:
            self._count(Count.CONNECTIONS_REFUSED)
            raise KeyRevoked(
                "The account's connections were closed after this URL was made; negotiate again."
            )
