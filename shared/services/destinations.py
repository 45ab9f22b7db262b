"""Lets customers say where they want to be notified, try it, and get messages again."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Protocol

import msgspec

from shared.domain.access.keys import RandomBytes
from shared.domain.access.licenses import Grant
from shared.domain.access.test_licenses import is_test
from shared.domain.notifications.destinations import (
    MAX_DESTINATIONS,
    OVERLAP,
    Destination,
    DestinationKind,
    DestinationRequest,
    Secrets,
    checked_address,
    new_destination_id,
    new_secret,
)
from shared.domain.notifications.events import Event, EventKind
from shared.domain.notifications.lanes import Lane
from shared.errors import Conflict, NotFound
from shared.services.upkeep import NOTIFICATION_RETENTION

MAX_REPLAYED = 1_000


class Store(Protocol):
    async def add(self, destination: Destination, most: int) -> bool: ...
    async def list(self, account_id: str) -> list[Destination]: ...
    async def get(self, account_id: str, destination_id: str) -> Destination | None: ...
    async def delete(self, account_id: str, destination_id: str) -> bool: ...
    async def reseal(self, destination: Destination, sealed: bytes, sealed_by: str) -> bool: ...
    async def sealed_by_others(self, sealed_by: str) -> Sequence[Destination]: ...


class Box(Protocol):
    @property
    def name(self) -> str: ...
    def seal(self, destination_id: str, secrets: Secrets) -> bytes: ...
    def opened(self, destination: Destination) -> Secrets | None: ...


class Events(Protocol):
    async def add(self, events: Sequence[Event]) -> None: ...


class Sent(Protocol):
    async def replay(
        self, account_id: str, lane: str, *, since: datetime, now: datetime, limit: int
    ) -> int: ...


class ShownDestination(msgspec.Struct, frozen=True, kw_only=True):
    """A destination, without what is secret; `ended_at` is set if its receiver wants no more."""

    destination_id: str
    kind: DestinationKind
    address: str
    events: list[EventKind]
    created_at: datetime
    ended_at: datetime | None
    ended_because: str | None


class AddedDestination(msgspec.Struct, frozen=True, kw_only=True):
    """A new destination. `secret` signs the messages of a webhook, and is shown now and never again."""

    destination: ShownDestination
    secret: str | None


class DestinationList(msgspec.Struct, frozen=True):
    destinations: list[ShownDestination]


class NewSecret(msgspec.Struct, frozen=True):
    """Until `former_until`, messages are signed with the former secret, too."""

    secret: str
    former_until: datetime


class QueuedTest(msgspec.Struct, frozen=True):
    """The event of the test; GET notifications shows what became of it."""

    event_id: str


class Replayed(msgspec.Struct, frozen=True):
    """How many messages are sent again; if it is the limit, ask again from the last one on."""

    notifications: int


class DestinationService:
    """Every method raises Unavailable."""

    def __init__(
        self,
        *,
        store: Store,
        box: Box,
        events: Events,
        sent: Sent,
        stand_in: str,
        now: Callable[[], datetime],
        rng: RandomBytes,
    ) -> None:
        """`stand_in` is an address on this machine below which webhooks are allowed, or empty."""
        self._store = store
        self._box = box
        self._events = events
        self._sent = sent
        self._stand_in = stand_in
        self._now = now
        self._rng = rng

    async def add(self, grant: Grant, request: DestinationRequest) -> AddedDestination:
        """Raises ValidationFailed, and Conflict if the account has MAX_DESTINATIONS, or a test license.

        Anybody has a test license, and would make us send to any address.
        """
        if is_test(grant.license):
            raise Conflict("A test license has no destinations; a license of another plan has them.")
        address, shown = checked_address(request, self._stand_in)
        secret = new_secret(self._rng) if request.kind == "webhook" else None
        destination_id = new_destination_id(request.kind, self._rng)
        secrets = Secrets(address=address, signing=(secret,) if secret else ())
        destination = Destination(
            destination_id=destination_id,
            account_id=grant.license.account_id,
            license_id=grant.license.license_id,
            kind=request.kind,
            events=sorted(set(request.events)),
            address=shown,
            sealed=self._box.seal(destination_id, secrets),
            sealed_by=self._box.name,
            created_at=self._now(),
        )
        if not await self._store.add(destination, MAX_DESTINATIONS):
            raise Conflict(f"An account has at most {MAX_DESTINATIONS} destinations; delete one first.")
        return AddedDestination(destination=_shown(destination), secret=secret)

    async def list(self, grant: Grant) -> DestinationList:
        return DestinationList([_shown(each) for each in await self._store.list(grant.license.account_id)])

    async def delete(self, grant: Grant, destination_id: str) -> None:
        """Deletes the account's destination, if it is there."""
        await self._store.delete(grant.license.account_id, destination_id)

    async def rotate(self, grant: Grant, destination_id: str) -> NewSecret:
        """Signs with a new secret from now on, and for OVERLAP with the former, too.

        Raises NotFound, and Conflict for what is no webhook, or if the destination changes at the same time.
        """
        destination = await self._get(grant, destination_id)
        secrets = self._box.opened(destination)
        if destination.kind != "webhook" or secrets is None:
            raise Conflict("Only a webhook that can still be opened has a secret to rotate.")
        now, secret = self._now(), new_secret(self._rng)
        changed = Secrets(
            address=secrets.address,
            signing=(secret, *secrets.signing_at(now)[:1]),
            former_until=now + OVERLAP,
        )
        sealed = self._box.seal(destination_id, changed)
        if not await self._store.reseal(destination, sealed, self._box.name):
            raise Conflict("The destination has changed at the same time. Try again.")
        return NewSecret(secret, now + OVERLAP)

    async def test(self, grant: Grant, destination_id: str) -> QueuedTest:
        """Queues a message of the kind `test`, at most one a minute; raises NotFound.

        More would cost us rows, and all others their turn, if the receiver is slow.
        """
        destination = await self._get(grant, destination_id)
        now = self._now()
        event = Event(
            event_id=f"test:{destination_id}:{int(now.timestamp()) // 60}",
            kind="test",
            at=now,
            account_id=destination.account_id,
            license_id=destination.license_id,
            values={"destination_id": destination_id, "note": "asked for by the holder of the license"},
        )
        await self._events.add([event])
        return QueuedTest(event.event_id)

    async def replay(self, grant: Grant, destination_id: str, since: datetime) -> Replayed:
        """Sends again what was sent or given up from `since` on, at most MAX_REPLAYED; raises NotFound."""
        destination = await self._get(grant, destination_id)
        now = self._now()
        lane = str(Lane("own", destination_id))
        return Replayed(
            await self._sent.replay(
                destination.account_id,
                lane,
                since=max(since, now - NOTIFICATION_RETENTION),
                now=now,
                limit=MAX_REPLAYED,
            )
        )

    async def reseal(self) -> int:
        """Seals what is sealed under a former pepper under the present one; returns how many."""
        resealed = 0
        for destination in await self._store.sealed_by_others(self._box.name):
            secrets = self._box.opened(destination)
            if secrets is not None:
                sealed = self._box.seal(destination.destination_id, secrets)
                resealed += await self._store.reseal(destination, sealed, self._box.name)
        return resealed

    async def _get(self, grant: Grant, destination_id: str) -> Destination:
        destination = await self._store.get(grant.license.account_id, destination_id)
        if destination is None:
            raise _missing(destination_id)
        return destination


def _shown(destination: Destination) -> ShownDestination:
    names = ShownDestination.__struct_fields__
    return ShownDestination(**{name: getattr(destination, name) for name in names})


def _missing(destination_id: str) -> NotFound:
    return NotFound(f"Your account has no destination {destination_id[:64]!r}.")
