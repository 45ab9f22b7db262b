"""Creates, shows, rotates, suspends, revokes and expires licenses and keys.

Each change goes to Table Storage first: from then on no cache can load the old grant. An ending is announced
there before it is made, so that a timer completes what a command has begun, see shared/services/endings.py.
Then the service updates the caches, then closes open connections (Web PubSub checks a token only when a
client connects). `Effect` says if one of these later steps failed. Without the caches an ending takes effect
within five seconds, see shared/services/access.py; connections that stay open are closed by the timer.
"""

import secrets
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Protocol

import msgspec

from shared.domain.access.endings import Ending
from shared.domain.access.keys import RandomBytes, hash_key, new_key, new_public_id, public_id_in
from shared.domain.access.license_checks import account_exists, check_expiry, check_license, check_scopes
from shared.domain.access.licenses import (
    DEFAULT_REQUESTS_PER_MINUTE,
    ApiKey,
    License,
    Scope,
    ending_key,
    new_license_id,
    resumed,
    revoked,
    revoked_key,
    shard_of_license_id,
    suspended,
)
from shared.domain.limits import ClockSkew
from shared.domain.problems import Problems
from shared.errors import Conflict, FieldError, NotFound, ValidationFailed
from shared.services.auditing import AuditLog, Auditor
from shared.services.enforcement import Enforcement

MAX_KEYS_PER_TRANSACTION = 100
MAX_KEYS_AT_ONCE = 10_000
MAX_LISTED = 1_000
MAX_OVERLAP = timedelta(days=30)
# A shard has 14 million public ids, so this many attempts fail only because of a defect.
MAX_ID_ATTEMPTS = 5


class KeyStore(Protocol):
    async def get_license(self, license_id: str) -> License | None: ...
    async def get_key(self, public_id: str) -> ApiKey | None: ...
    async def keys_of(self, license_id: str) -> list[ApiKey]: ...
    async def keys_hashed_before(self, moment: datetime) -> list[ApiKey]: ...
    async def list_licenses(self, limit: int) -> list[License]: ...
    async def has_account(self, account_id: str) -> bool: ...
    async def add_endings(self, endings: Sequence[Ending]) -> None: ...
    async def add_license(self, license_: License) -> None: ...
    async def add_keys(self, keys: Sequence[ApiKey]) -> None: ...
    async def update_license(self, license_id: str, change: Callable[[License], License]) -> License: ...
    async def update_key(self, public_id: str, change: Callable[[ApiKey], ApiKey]) -> ApiKey: ...


class SymbolCheck(Protocol):
    async def check(self, symbols: Sequence[str], problems: Problems) -> None: ...


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
    """Which follow-up steps succeeded. A step that is False takes effect later; no entry is audited later."""

    license: License
    caches_told: bool = True
    connections_closed: bool = True
    audited: bool = True


class LicenseService:
    """Changes licenses and keys. Every method raises KeyStoreUnavailable if Table Storage is unavailable.

    Each change is audited under `actor` after it is made. A revocation must not wait for Postgres, so an
    entry that cannot be written is logged instead.
    """

    def __init__(
        self,
        *,
        store: KeyStore,
        enforcement: Enforcement,
        served: SymbolCheck,
        audit: AuditLog,
        actor: str,
        pepper: bytes,
        now: Callable[[], datetime],
        rng: RandomBytes = secrets.token_bytes,
    ) -> None:
        self._store = store
        self._enforcement = enforcement
        self._served = served
        self._audit = Auditor(audit, actor)
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
        may_be_unserved: bool = False,
    ) -> License:
        """Creates an active license without keys.

        Raises ValidationFailed, also for a symbol that nothing serves, unless it `may_be_unserved`: a feeder
        or a publisher that is the first of its symbol needs a license before it can serve it. Raises Conflict
        if `is_new_account` and another license has this account, with which it would share its trades.
        Raises DatabaseUnavailable if only Postgres could tell that a symbol is served.
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
        if not may_be_unserved:
            await self._served.check(license_.symbols, problems)
            problems.refuse("The license has symbols that nothing serves.")
        if is_new_account and await self._store.has_account(account_id):
            raise account_exists(account_id)
        if expires_at is not None:
            await self._store.add_endings([Ending(expires_at, license_.license_id)])
        await self._store.add_license(license_)
        await self._audit.note("license created", license_.license_id, account=account_id, plan=plan)
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

        Without an overlap, the old key's connections are closed at once, else by the timer when it expires.
        Raises NotFound, ValidationFailed, and Conflict if the key is revoked.
        """
        if not timedelta(0) <= overlap <= MAX_OVERLAP:
            message = f"Expected from 0 to {MAX_OVERLAP.days} days."
            raise ValidationFailed((FieldError("overlap", "out_of_range", message),))
        old = await self._key(public_id)
        now = self._now()
        # Without an overlap, the old key is over by the clock of every server, which may be behind ours.
        end = now + overlap if overlap else now - ClockSkew.OPERATOR
        ending_key(old, end)
        # Creates the new key first, so that a failure in between leaves one key too many and never none.
        (created,) = await self._create(await self._license(old.license_id), 1, old.scopes, None)
        await self._store.add_endings([Ending(now + overlap, old.public_id)])
        old = await self._store.update_key(old.public_id, lambda key: ending_key(key, end))
        # Read again, so that the caches keep a change of the license that was made in between.
        license_ = await self._license(old.license_id)
        caches_told = await self._enforcement.tell_caches(license_, [old])
        closed = overlap > timedelta(0) or await self._enforcement.close_connections(
            old.public_id, "key expired"
        )
        audited = await self._audit.note("key rotated", old.public_id, successor=created.key.public_id)
        return created, Effect(license_, caches_told, closed, audited)

    async def revoke_key(self, public_id: str) -> Effect:
        """Ends one key at once, and closes its connections; raises NotFound."""
        key = await self._key(public_id)
        await self._store.add_endings([Ending(self._now(), key.public_id)])
        key = await self._store.update_key(key.public_id, revoked_key)
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
        caches_told = await self._enforcement.tell_caches(license_, keys)
        return Effect(license_, caches_told, audited=await self._audit.note("license resumed", license_id))

    async def _change(self, license_id: str, change: Callable[[License], License], reason: str) -> Effect:
        # First, so that only licenses that exist are announced, and only changes that are allowed.
        change(await self._license(license_id))
        await self._store.add_endings([Ending(self._now(), license_id)])
        license_ = await self._store.update_license(license_id, change)
        return await self._enforce(license_, await self._store.keys_of(license_id), reason, license_id)

    async def _enforce(self, license_: License, keys: Sequence[ApiKey], reason: str, subject: str) -> Effect:
        caches_told = await self._enforcement.tell_caches(license_, keys)
        closed = await self._enforcement.close_connections(subject, reason)
        return Effect(license_, caches_told, closed, await self._audit.note(reason, subject))

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
        await self._audit.note(
            "keys created", license_.license_id, count=count, first=made[0], scopes=list(scopes)
        )
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
            if template.expires_at is not None:
                endings = [Ending(template.expires_at, public_id) for public_id in public_ids]
                await self._store.add_endings(endings)
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
