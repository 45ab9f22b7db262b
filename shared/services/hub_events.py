"""Decides which clients Web PubSub may connect, and counts the connections that it reports."""

import asyncio
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Protocol

from shared.domain.access.client_access import ClientAccessToken, token_in
from shared.domain.access.connections import Opening
from shared.domain.access.hub_events import ConnectRequest, HubEvent
from shared.domain.access.licenses import ApiKey, Grant, License, refusal, scope_refusal
from shared.domain.access.plans import plan_of
from shared.domain.decoding import decode
from shared.errors import (
    AccessUrlUsed,
    FieldError,
    KeyUnknown,
    SignalCloudError,
    Unavailable,
    ValidationFailed,
)
from shared.metrics import Count, Counter


class Proof(Protocol):
    @property
    def origin(self) -> str: ...
    async def check(self, event: HubEvent, headers: Mapping[str, str]) -> None: ...


class KeyReader(Protocol):
    async def get_key(self, public_id: str) -> ApiKey | None: ...
    async def get_license(self, license_id: str) -> License | None: ...


class Presence(Protocol):
    async def open(self, opening: Opening, account_id: str) -> None: ...
    async def close(self, connection_id: str) -> None: ...


class HubEventService:
    """Judges events of the hub; `count` adds to a count."""

    def __init__(
        self,
        *,
        proof: Proof,
        keys: KeyReader,
        presence: Presence,
        now: Callable[[], datetime],
        count: Counter,
    ) -> None:
        self._proof = proof
        self._keys = keys
        self._presence = presence
        self._now = now
        self._count = count
        self._judging: set[str] = set()  # nonces

    def allowed_origin(self, asked: str) -> str:
        """The origin that may send events here; raises ValidationFailed if another one asks."""
        if asked.lower() != self._proof.origin.lower():
            error = FieldError("webhook-request-origin", "unknown_value", f"Expected {self._proof.origin}.")
            raise ValidationFailed((error,), "Only this deployment's Web PubSub may send events.")
        return asked

    async def take(self, event: HubEvent, headers: Mapping[str, str], read_body: Callable[[], bytes]) -> None:
        """Verifies the event's sender, refuses clients that may not connect, and counts connections.

        Raises Unauthenticated, Forbidden, ConnectionsExceeded, Unavailable, and InvalidInput for a body that
        is no connect request.
        """
        await self._proof.check(event, headers)
        if event.kind == "connect":
            await self._judge_connect(event, decode(read_body(), ConnectRequest))
        elif event.kind == "connected":
            self._count(Count.CONNECTIONS_OPENED)
        else:
            self._count(Count.CONNECTIONS_CLOSED)
            await self._presence.close(event.connection_id)

    async def _judge_connect(self, event: HubEvent, request: ConnectRequest) -> None:
        """Refuses a client whose license or key allows nothing now, whose URL was used, or that is too many.

        A client access URL outlives the judgement of `negotiate`, and closing connections is no ban. So this
        asks the source of truth again, and not Redis, which may hang, be empty or be out of date. While it
        cannot be asked, clients are refused with 503; they try again.
        """
        try:
            token = token_in(request.groups)
            if token is None:
                raise KeyUnknown("This client access URL names no license and no key; negotiate again.")
            if token.nonce in self._judging:
                # So one URL that opens a thousand sockets costs one look-up.
                raise AccessUrlUsed("This client access URL connects already; negotiate for each connection.")
            self._judging.add(token.nonce)
            try:
                await self._open(event, token)
            finally:
                self._judging.discard(token.nonce)
        except Unavailable:
            raise
        except SignalCloudError:
            self._count(Count.CONNECTIONS_REFUSED)
            raise

    async def _open(self, event: HubEvent, token: ClientAccessToken) -> None:
        key, license_ = await asyncio.gather(
            self._keys.get_key(token.public_id), self._keys.get_license(token.license_id)
        )
        if (
            key is None
            or license_ is None
            or key.license_id != license_.license_id
            or license_.account_id != event.user_id
        ):
            raise KeyUnknown("The license or the key of this client access URL does not exist.")
        grant = Grant(license=license_, key=key)
        refused = refusal(grant, self._now()) or scope_refusal(grant, "bot")
        if refused is not None:
            raise refused
        limit = plan_of(license_.plan).connections
        opening = Opening(event.connection_id, license_.license_id, token.nonce, limit)
        await self._presence.open(opening, license_.account_id)
