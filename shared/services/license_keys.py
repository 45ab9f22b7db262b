"""Creates, rotates and revokes API keys, and says which follow-up steps of a change succeeded.

shared/services/licenses.py says in which order a change is made.
"""

import secrets
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Protocol

import msgspec

from shared.domain.access.endings import Ending
from shared.domain.access.keys import RandomBytes, public_id_in
from shared.domain.access.license_checks import no_license
from shared.domain.access.licenses import (
    ApiKey,
    License,
    Scope,
    is_valid_key,
    replaced_key,
    revoked_key,
)
from shared.domain.access.plan_catalog import PlanCatalog
from shared.domain.limits import ClockSkew
from shared.errors import Conflict, FieldError, NotFound, ValidationFailed
from shared.services.auditing import AuditLog, Auditor
from shared.services.enforcement import Enforcement
from shared.services.key_making import CreatedKey, KeyMaking, NewKeyStore

MAX_KEYS_AT_ONCE = 10_000
MAX_OVERLAP = timedelta(days=30)


class KeyStore(NewKeyStore, Protocol):
    async def get_license(self, license_id: str) -> License | None: ...
    async def get_key(self, public_id: str) -> ApiKey | None: ...
    async def keys_hashed_before(self, moment: datetime) -> list[ApiKey]: ...
    async def update_key(self, public_id: str, change: Callable[[ApiKey], ApiKey]) -> ApiKey: ...


class Effect(msgspec.Struct, frozen=True):
    """Which follow-up steps succeeded. A step that is False takes effect later; no entry is audited later."""

    license: License
    caches_told: bool = True
    connections_closed: bool = True
    audited: bool = True


class KeyService:
    """Changes keys. Every method raises KeyStoreUnavailable if Table Storage is unavailable.

    Each change is audited under `actor` after it is made. A revocation must not wait for Postgres, so an
    entry that cannot be written is logged instead.
    """

    def __init__(
        self,
        *,
        store: KeyStore,
        plans: PlanCatalog,
        enforcement: Enforcement,
        audit: AuditLog,
        actor: str,
        pepper: bytes,
        now: Callable[[], datetime],
        rng: RandomBytes = secrets.token_bytes,
    ) -> None:
        self._key_store = store
        self._enforcement = enforcement
        self._audit = Auditor(audit, actor)
        self._now = now
        self._keys = KeyMaking(store=store, plans=plans, pepper=pepper, now=now, rng=rng)

    async def keys_hashed_before(self, moment: datetime) -> list[ApiKey]:
        """The valid keys whose hash is older than `moment`: not used since a rotation of the pepper then."""
        now = self._now()
        return [key for key in await self._key_store.keys_hashed_before(moment) if is_valid_key(key, now)]

    async def create_key(
        self, license_id: str, scopes: Sequence[Scope] = ("bot",), *, expires_at: datetime | None = None
    ) -> CreatedKey:
        """Creates a key of a license.

        Raises NotFound, ValidationFailed, KeysExceeded, and Conflict if the license has ended.
        """
        (created,) = await self._create(license_id, 1, scopes, expires_at)
        return created

    async def create_keys(self, license_id: str, count: int, scopes: Sequence[Scope] = ("bot",)) -> list[str]:
        """Creates `count` keys of one license, in transactions of 100; returns them in plain text."""
        if not 1 <= count <= MAX_KEYS_AT_ONCE:
            message = f"Expected from 1 to {MAX_KEYS_AT_ONCE} keys."
            raise ValidationFailed((FieldError("count", "out_of_range", message),))
        return [each.plain for each in await self._create(license_id, count, scopes, None)]

    async def create_hook_secret(self, license_id: str) -> CreatedKey:
        """Creates the secret of a hook; raises NotFound, and Conflict if the license has ended."""
        created = await self._keys.hook_secret(await self._license(license_id))
        await self._audit.note("hook secret created", license_id, key=created.key.public_id)
        return created

    async def rotate_key(self, public_id: str, overlap: timedelta) -> tuple[CreatedKey, Effect]:
        """Creates a key with the same scopes and end; the old one expires after `overlap`, or as before.

        Without an overlap, the old key's connections are closed at once, else by the timer when it expires.
        Raises NotFound, ValidationFailed, KeysExceeded if the license has as many replaced keys that still
        work as it may have keys, and Conflict if the key is revoked, has expired or was rotated before.
        """
        if not timedelta(0) <= overlap <= MAX_OVERLAP:
            message = f"Expected from 0 to {MAX_OVERLAP.days} days."
            raise ValidationFailed((FieldError("overlap", "out_of_range", message),))
        old = await self._key(public_id)
        now = self._now()
        # Without an overlap, the old key is over by the clock of every server, which may be behind ours.
        end = now + overlap if overlap else now - ClockSkew.OPERATOR
        replaced_key(old, "", end)
        # Creates the new key first, so that a failure in between leaves one key too many and never none.
        created = await self._keys.successor(await self._license(old.license_id), old)
        await self._key_store.add_endings([Ending(now + overlap, old.public_id)])
        successor = created.key.public_id
        try:
            old = await self._key_store.update_key(
                old.public_id, lambda key: replaced_key(key, successor, end)
            )
        except Conflict:
            # Somebody rotated or revoked it in between, so nobody gets the new key.
            await self._key_store.update_key(successor, revoked_key)
            raise
        # Read again, so that the caches keep a change of the license that was made in between.
        license_ = await self._license(old.license_id)
        caches_told = await self._enforcement.tell_caches(license_, [old])
        closed = overlap > timedelta(0) or await self._enforcement.close_connections(
            license_.license_id, "key expired", old.public_id
        )
        audited = await self._audit.note("key rotated", old.public_id, successor=successor)
        return created, Effect(license_, caches_told, closed, audited)

    async def revoke_key(self, public_id: str) -> Effect:
        """Ends one key at once, and closes its connections; raises NotFound."""
        key = await self._key(public_id)
        await self._key_store.add_endings([Ending(self._now(), key.public_id)])
        key = await self._key_store.update_key(key.public_id, revoked_key)
        license_ = await self._license(key.license_id)
        caches_told = await self._enforcement.tell_caches(license_, [key])
        closed = await self._enforcement.close_connections(key.license_id, "key revoked", key.public_id)
        audited = await self._audit.note("key revoked", key.public_id)
        return Effect(license_, caches_told, closed, audited)

    async def _create(
        self, license_id: str, count: int, scopes: Sequence[Scope], expires_at: datetime | None
    ) -> list[CreatedKey]:
        license_ = await self._license(license_id)
        created = await self._keys.add(license_, count, scopes, expires_at)
        first = created[0].key.public_id
        await self._audit.note("keys created", license_id, count=count, first=first, scopes=list(scopes))
        return created

    async def _license(self, license_id: str) -> License:
        license_ = await self._key_store.get_license(license_id)
        if license_ is None:
            raise no_license(license_id)
        return license_

    async def _key(self, public_id: str) -> ApiKey:
        key = await self._key_store.get_key(_public_id(public_id))
        if key is None:
            raise _no_key(public_id)
        return key


def _public_id(text: str) -> str:
    found = public_id_in(text)
    if not found:
        raise _no_key(text)
    return found


def _no_key(text: str) -> NotFound:
    # Shows only the beginning of `text`, because it may be a whole key.
    return NotFound(f"There is no API key {text[:14]}.")
