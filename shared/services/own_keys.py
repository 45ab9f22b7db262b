"""Lets the holder of a key see, replace and end the keys of its license."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from typing import Protocol

import msgspec

from shared.domain.access.keys import PREFIX, TEST_PREFIX, KeyKind
from shared.domain.access.licenses import ApiKey, Grant, Scope, is_valid_key
from shared.domain.access.test_licenses import kind_of
from shared.domain.access.try_limits import limits_of_rotations
from shared.domain.durations import shown_time
from shared.domain.notifications.events import Event
from shared.errors import Conflict, NotFound, ScopeMissing
from shared.services.key_making import CreatedKey
from shared.services.license_keys import Effect
from shared.services.licenses import LicenseView
from shared.services.tries import Tries


class KeyChanges(Protocol):
    """What the service needs of LicenseService."""

    async def show(self, license_id: str) -> LicenseView: ...
    async def rotate_key(self, public_id: str, overlap: timedelta) -> tuple[CreatedKey, Effect]: ...
    async def revoke_key(self, public_id: str) -> Effect: ...


class OwnKey(msgspec.Struct, frozen=True, kw_only=True):
    """One key of a license, of which nobody but its holder has the secret part.

    `prefix` is how the key begins. `in_use` marks the key of this request. `successor` is the public id of
    the key that replaces it.
    """

    public_id: str
    prefix: str
    kind: KeyKind
    scopes: tuple[Scope, ...]
    is_valid: bool
    in_use: bool
    created_at: datetime
    expires_at: datetime | None
    successor: str | None


class OwnKeys(msgspec.Struct, frozen=True):
    """The keys of a license, the newest first."""

    keys: tuple[OwnKey, ...]


class RotatedKey(msgspec.Struct, frozen=True):
    """A new key, shown only once, and the key that it replaces, which works until `former_ends_at`."""

    key: str
    public_id: str
    former: str
    former_ends_at: datetime


class EndedKey(msgspec.Struct, frozen=True):
    """A key that works no more, and whether its connections are closed already."""

    public_id: str
    connections_closed: bool


class OwnKeyService:
    """Every method raises KeyStoreUnavailable if Table Storage is unavailable."""

    def __init__(
        self,
        *,
        licenses: Callable[[str], KeyChanges],
        tell: Callable[[Sequence[Event]], Awaitable[None]],
        tries: Tries,
        now: Callable[[], datetime],
    ) -> None:
        """`licenses` makes a service whose changes are audited under a name."""
        self._licenses = licenses
        self._tell = tell
        self._tries = tries
        self._now = now

    async def list_keys(self, grant: Grant) -> OwnKeys:
        """Every key of the caller's license, without their hashes."""
        view = await self._changes(grant).show(grant.license.license_id)
        newest = sorted(view.keys, key=lambda key: (key.created_at, key.public_id), reverse=True)
        return OwnKeys(tuple(self._shown(key, grant) for key in newest))

    async def rotate(self, grant: Grant, overlap: timedelta) -> RotatedKey:
        """Replaces the caller's key, which works for `overlap` more.

        A seen key must be replaced also while nothing counts the tries. Raises KeysExceeded, TriesExceeded,
        and Conflict if the key was replaced before.
        """
        former = grant.key.public_id
        await self._tries.take_if_counted(limits_of_rotations(grant.license.license_id))
        now = self._now()
        created, _ = await self._changes(grant).rotate_key(former, overlap)
        ends_at = min(now + overlap, grant.key.expires_at or now + overlap)
        await self._tell(
            [
                Event(
                    event_id=f"key_rotated.{created.key.public_id}",
                    kind="key_rotated",
                    at=now,
                    account_id=grant.license.account_id,
                    license_id=grant.license.license_id,
                    values={
                        "public_id": created.key.public_id,
                        "former": former,
                        "former_ends_at": shown_time(ends_at),
                        "plan": grant.license.plan,
                    },
                )
            ]
        )
        return RotatedKey(created.plain, created.key.public_id, former, ends_at)

    async def end(self, grant: Grant, public_id: str, *, confirmed: bool) -> EndedKey:
        """Ends a key of the caller's license at once, everywhere.

        Raises NotFound for a key of another license, ScopeMissing for a key that may do more than the
        caller's, and Conflict for the caller's own key, unless it is `confirmed`.
        """
        changes = self._changes(grant)
        view = await changes.show(grant.license.license_id)
        found = next((key for key in view.keys if key.public_id == public_id), None)
        if found is None:
            raise NotFound("This license has no such key. GET license/keys lists its keys.")
        beyond = set(found.scopes) - set(grant.key.scopes)
        if beyond:
            raise ScopeMissing(
                f"The key {public_id} has scopes that your key lacks: {', '.join(sorted(beyond))}. Only "
                "such a key, or an operator, may end it."
            )
        if public_id == grant.key.public_id and not confirmed:
            raise Conflict(
                "This is the key of this request. With confirm=true it ends at once, and this license may be "
                "left without a key. POST license/rotate replaces it instead."
            )
        effect = await changes.revoke_key(public_id)
        return EndedKey(public_id, effect.connections_closed)

    def _changes(self, grant: Grant) -> KeyChanges:
        return self._licenses(grant.actor)

    def _shown(self, key: ApiKey, grant: Grant) -> OwnKey:
        kind = kind_of(grant.license)
        return OwnKey(
            public_id=key.public_id,
            prefix=(TEST_PREFIX if kind == "test" else PREFIX) + key.public_id,
            kind=kind,
            scopes=key.scopes,
            is_valid=is_valid_key(key, self._now()),
            in_use=key.public_id == grant.key.public_id,
            created_at=key.created_at,
            expires_at=key.expires_at,
            successor=key.successor,
        )
