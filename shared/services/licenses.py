"""Creates, shows, rotates, suspends, revokes and expires licenses and keys.

Each change goes to Table Storage first: from then on no cache can load the old grant. Then the service
updates the caches, then closes open connections (Web PubSub checks a token only when a client connects).
`Effect` says if one of these later steps failed: without the caches a change takes effect within a minute,
see shared/services/access.py; without the realtime service sockets stay open until their next connect.
"""

import logging
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Protocol

import msgspec

from shared.domain.access.keys import RandomBytes, hash_key, new_key, new_public_id, public_id_in
from shared.domain.access.license_checks import account_exists, check_expiry, check_license, check_scopes
from shared.domain.access.licenses import (
    DEFAULT_REQUESTS_PER_MINUTE,
    ApiKey,
    Grant,
    License,
    Scope,
    ending_key,
    expired,
    new_license_id,
    resumed,
    revoked,
    revoked_key,
    shard_of_license_id,
    suspended,
)
from shared.domain.problems import Problems
from shared.errors import Conflict, FieldError, NotFound, Unavailable, ValidationFailed

MAX_KEYS_PER_TRANSACTION = 100
MAX_KEYS_AT_ONCE = 10_000
MAX_LISTED = 1_000
MAX_OVERLAP = timedelta(days=30)
# A shard has 14 million public ids, so this many attempts fail only because of a defect.
MAX_ID_ATTEMPTS = 5

log = logging.getLogger(__name__)


class KeyStore(Protocol):
    async def get_license(self, license_id: str) -> License | None: ...
    async def get_key(self, public_id: str) -> ApiKey | None: ...
    async def keys_of(self, license_id: str) -> list[ApiKey]: ...
    async def keys_hashed_before(self, moment: datetime) -> list[ApiKey]: ...
    async def list_licenses(self, limit: int) -> list[License]: ...
    async def has_account(self, account_id: str) -> bool: ...
    async def licenses_to_expire(self, now: datetime) -> list[License]: ...
    async def add_license(self, license_: License) -> None: ...
    async def add_keys(self, keys: Sequence[ApiKey]) -> None: ...
    async def update_license(self, license_id: str, change: Callable[[License], License]) -> License: ...
    async def update_key(self, public_id: str, change: Callable[[ApiKey], ApiKey]) -> ApiKey: ...


class GrantCache(Protocol):
    async def store_grants(self, grants: Iterable[tuple[str, Grant]]) -> None: ...


class ConnectionCloser(Protocol):
    async def close_user(self, user_id: str, reason: str) -> None: ...


class AuditLog(Protocol):
    async def write(self, actor: str, action: str, subject: str, detail: Mapping[str, object]) -> None: ...


class LicenseView(msgspec.Struct, frozen=True):
    """A license with its keys."""

    license: License
    keys: tuple[ApiKey, ...]


class CreatedKey(msgspec.Struct, frozen=True):
    """A new key; `plain` is shown only once and stored nowhere."""

    plain: str
    key: ApiKey

    def __repr__(self) -> str:
        return f"CreatedKey({self.key.public_id})"


class Effect(msgspec.Struct, frozen=True):
    """Which follow-up steps succeeded. A step that is False takes effect later."""

    license: License
    caches_told: bool = True
    connections_closed: bool = True


class LicenseService:
    """Changes licenses and keys. Every method raises KeyStoreUnavailable if Table Storage is unavailable.

    Each change is audited under `actor` after it is made. A revocation must not wait for Postgres, so an
    entry that cannot be written is logged instead.
    """

    def __init__(
        self,
        *,
        store: KeyStore,
        cache: GrantCache,
        connections: ConnectionCloser,
        audit: AuditLog,
        actor: str,
        pepper: bytes,
        now: Callable[[], datetime],
        rng: RandomBytes = secrets.token_bytes,
    ) -> None:
        self._store = store
        self._cache = cache
        self._connections = connections
        self._audit = audit
        self._actor = actor
        self._pepper = pepper
        self._now = now
        self._rng = rng

    async def create_license(
        self,
        account_id: str,
        *,
        symbols: Sequence[str],
        plan: str = "standard",
        requests_per_minute: int = DEFAULT_REQUESTS_PER_MINUTE,
        expires_at: datetime | None = None,
        is_new_account: bool = False,
    ) -> License:
        """Creates an active license without keys; raises ValidationFailed, and Conflict if `is_new_account`
        and another license has this account, with which it would share its trades.
        """
        now = self._now()
        license_ = License(
            license_id=new_license_id(self._rng),
            account_id=account_id,
            plan=plan,
            expires_at=expires_at,
            symbols=tuple(dict.fromkeys(symbols)),
            requests_per_minute=requests_per_minute,
            created_at=now,
        )
        problems = Problems()
        check_license(license_, now, problems)
        problems.refuse()
        if is_new_account and await self._store.has_account(account_id):
            raise account_exists(account_id)
        await self._store.add_license(license_)
        await self._note("license created", license_.license_id, account=account_id, plan=plan)
        return license_

    async def show(self, license_id: str) -> LicenseView:
        """The license and its keys; raises NotFound."""
        license_ = await self._license(license_id)
        return LicenseView(license_, tuple(await self._store.keys_of(license_id)))

    async def list_licenses(self, limit: int = MAX_LISTED) -> list[License]:
        return await self._store.list_licenses(min(limit, MAX_LISTED))

    async def keys_hashed_before(self, moment: datetime) -> list[ApiKey]:
        """The valid keys whose hash is older than `moment`: not used since a rotation of the pepper then."""
        now = self._now()
        return [
            key
            for key in await self._store.keys_hashed_before(moment)
            if key.status == "active" and (key.expires_at is None or key.expires_at > now)
        ]

    async def create_key(
        self, license_id: str, scopes: Sequence[Scope] = ("bot",), *, expires_at: datetime | None = None
    ) -> CreatedKey:
        """Creates a key of a license; raises NotFound, ValidationFailed, and Conflict if the license has
        ended.
        """
        (created,) = await self._create(await self._license(license_id), 1, scopes, expires_at)
        return created

    async def create_keys(self, license_id: str, count: int, scopes: Sequence[Scope] = ("bot",)) -> list[str]:
        """Creates `count` keys of one license, in transactions of 100; returns them in plain text."""
        if not 1 <= count <= MAX_KEYS_AT_ONCE:
            message = f"Expected from 1 to {MAX_KEYS_AT_ONCE} keys."
            raise ValidationFailed((FieldError("count", "out_of_range", message),))
        created = await self._create(await self._license(license_id), count, scopes, None)
        return [each.plain for each in created]

    async def rotate_key(self, public_id: str, overlap: timedelta) -> tuple[CreatedKey, Effect]:
        """Creates a key with the same scopes; the old one expires after `overlap`, or earlier as before.

        Raises NotFound, ValidationFailed, and Conflict if the key is revoked.
        """
        if not timedelta(0) <= overlap <= MAX_OVERLAP:
            message = f"Expected from 0 to {MAX_OVERLAP.days} days."
            raise ValidationFailed((FieldError("overlap", "out_of_range", message),))
        old = await self._key(public_id)
        end = self._now() + overlap
        ending_key(old, end)
        # Creates the new key first, so that a failure in between leaves one key too many and never none.
        (created,) = await self._create(await self._license(old.license_id), 1, old.scopes, None)
        old = await self._store.update_key(old.public_id, lambda key: ending_key(key, end))
        await self._note("key rotated", old.public_id, successor=created.key.public_id)
        # Read again, so that the caches keep a change of the license that was made in between.
        license_ = await self._license(old.license_id)
        return created, Effect(license_, await self._update_caches(license_, [old]))

    async def revoke_key(self, public_id: str) -> Effect:
        """Ends one key at once, and closes its account's connections; raises NotFound."""
        key = await self._store.update_key(_public_id(public_id), revoked_key)
        license_ = await self._license(key.license_id)
        return await self._enforce(license_, [key], "key revoked", key.public_id)

    async def suspend_license(self, license_id: str) -> Effect:
        """Refuses all keys of the license until it is resumed; raises NotFound and Conflict."""
        return await self._change(license_id, suspended, "license suspended")

    async def revoke_license(self, license_id: str) -> Effect:
        """Ends a license and all its keys, which is final; raises NotFound."""
        return await self._change(license_id, revoked, "license revoked")

    async def resume_license(self, license_id: str) -> Effect:
        """Ends a suspension; raises NotFound, and Conflict if the license has ended."""
        license_ = await self._store.update_license(license_id, resumed)
        keys = await self._store.keys_of(license_id)
        caches_told = await self._update_caches(license_, keys)
        await self._note("license resumed", license_id)
        return Effect(license_, caches_told)

    async def expire_due(self, now: datetime) -> list[License]:
        """Closes the connections of licenses whose time is over and marks them as expired; returns those.

        Their keys are refused from `expires_at` on in any case. If the connections of a license cannot be
        closed, it stays unmarked, and the next run tries again.
        """
        ended = []
        for due in await self._store.licenses_to_expire(now):
            if await self._close_connections(due, "license expired"):
                ended.append(await self._store.update_license(due.license_id, partial(expired, now=now)))
                await self._note("license expired", due.license_id)
        return ended

    async def _change(self, license_id: str, change: Callable[[License], License], reason: str) -> Effect:
        license_ = await self._store.update_license(license_id, change)
        return await self._enforce(license_, await self._store.keys_of(license_id), reason, license_id)

    async def _enforce(self, license_: License, keys: Sequence[ApiKey], reason: str, subject: str) -> Effect:
        caches_told = await self._update_caches(license_, keys)
        effect = Effect(license_, caches_told, await self._close_connections(license_, reason))
        await self._note(reason, subject)
        return effect

    async def _note(self, action: str, subject: str, **detail: object) -> None:
        try:
            await self._audit.write(self._actor, action, subject, detail)
        except Unavailable as error:
            log.warning("not audited: %s by %s, %s: %s", action, self._actor, subject, error.internal)

    async def _update_caches(self, license_: License, keys: Sequence[ApiKey]) -> bool:
        try:
            await self._cache.store_grants(
                [(key_hash, Grant(license=license_, key=key)) for key in keys for key_hash in key.hashes]
            )
        except Unavailable:
            return False
        return True

    async def _close_connections(self, license_: License, reason: str) -> bool:
        try:
            await self._connections.close_user(license_.account_id, reason)
        except Unavailable:
            return False
        return True

    async def _create(
        self, license_: License, count: int, scopes: Sequence[Scope], expires_at: datetime | None
    ) -> list[CreatedKey]:
        now = self._now()
        problems = Problems()
        check_scopes(scopes, problems)
        check_expiry(expires_at, now, problems)
        problems.refuse()
        if license_.status in ("revoked", "expired"):
            raise Conflict(
                f"The license {license_.license_id} is {license_.status} and cannot have new keys."
            )
        template = ApiKey(
            public_id="",
            key_hash="",
            license_id=license_.license_id,
            scopes=tuple(dict.fromkeys(scopes)),
            created_at=now,
            expires_at=expires_at,
        )
        created: list[CreatedKey] = []
        while len(created) < count:
            created += await self._store_keys(template, min(MAX_KEYS_PER_TRANSACTION, count - len(created)))
        made = [each.key.public_id for each in created]
        await self._note("keys created", license_.license_id, count=count, first=made[0], scopes=list(scopes))
        return created

    async def _store_keys(self, template: ApiKey, count: int) -> list[CreatedKey]:
        shard = shard_of_license_id(template.license_id)
        for attempt in range(1, MAX_ID_ATTEMPTS + 1):
            public_ids: set[str] = set()
            while len(public_ids) < count:
                public_ids.add(new_public_id(shard, self._rng))
            batch = []
            for public_id in public_ids:
                plain = new_key(public_id, self._rng)
                key_hash = hash_key(plain, self._pepper)
                key = msgspec.structs.replace(template, public_id=public_id, key_hash=key_hash)
                batch.append(CreatedKey(plain, key))
            try:
                await self._store.add_keys([each.key for each in batch])
            except Conflict:
                if attempt == MAX_ID_ATTEMPTS:
                    raise
            else:
                return batch
        raise AssertionError("the last attempt raises")

    async def _license(self, license_id: str) -> License:
        license_ = await self._store.get_license(license_id)
        if license_ is None:
            raise NotFound(f"There is no license {license_id[:64]}.")
        return license_

    async def _key(self, public_id: str) -> ApiKey:
        key = await self._store.get_key(_public_id(public_id))
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
