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

from shared.domain.access.consequences import consequences
from shared.domain.access.endings import Ending
from shared.domain.access.keys import RandomBytes, public_id_in
from shared.domain.access.license_changes import resumed, revoked, suspended
from shared.domain.access.license_checks import (
    account_exists,
    check_license,
    check_new_license,
    reference_taken,
)
from shared.domain.access.licenses import (
    ApiKey,
    License,
    Scope,
    is_valid_key,
    license_id_of,
    license_refusal,
    new_license_id,
    replaced_key,
    revoked_key,
)
from shared.domain.access.plan_catalog import PlanCatalog
from shared.domain.access.plans import NO_OVERRIDES, STANDARD, Overrides
from shared.domain.limits import ClockSkew
from shared.domain.problems import Problems
from shared.errors import Conflict, FieldError, NotFound, ValidationFailed
from shared.services.auditing import AuditLog, Auditor
from shared.services.enforcement import Enforcement
from shared.services.key_making import CreatedKey, KeyMaking, NewKeyStore

MAX_KEYS_AT_ONCE = 10_000
MAX_LISTED = 1_000
MAX_OVERLAP = timedelta(days=30)


class KeyStore(NewKeyStore, Protocol):
    async def get_license(self, license_id: str) -> License | None: ...
    async def get_key(self, public_id: str) -> ApiKey | None: ...
    async def keys_hashed_before(self, moment: datetime) -> list[ApiKey]: ...
    async def list_licenses(self, limit: int) -> list[License]: ...
    async def has_account(self, account_id: str) -> bool: ...
    async def add_license(self, license_: License) -> None: ...
    async def update_license(self, license_id: str, change: Callable[[License], License]) -> License: ...
    async def update_key(self, public_id: str, change: Callable[[ApiKey], ApiKey]) -> ApiKey: ...


class SymbolCheck(Protocol):
    async def check(self, symbols: Sequence[str], problems: Problems) -> None: ...


class LicenseView(msgspec.Struct, frozen=True):
    """A license with its keys."""

    license: License
    keys: tuple[ApiKey, ...]


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
        plans: PlanCatalog,
        enforcement: Enforcement,
        served: SymbolCheck,
        audit: AuditLog,
        actor: str,
        pepper: bytes,
        now: Callable[[], datetime],
        rng: RandomBytes = secrets.token_bytes,
    ) -> None:
        self._store = store
        self._plans = plans
        self._enforcement = enforcement
        self._served = served
        self._audit = Auditor(audit, actor)
        self._now = now
        self._rng = rng
        self._keys = KeyMaking(store=store, plans=plans, pepper=pepper, now=now, rng=rng)

    async def create_license(
        self,
        account_id: str,
        *,
        plan: str = STANDARD,
        overrides: Overrides = NO_OVERRIDES,
        expires_at: datetime | None = None,
        reference: str | None = None,
        payment: str | None = None,
        email: str | None = None,
        discord_user_id: str | None = None,
        notes: str = "",
        is_new_account: bool = False,
        may_be_unserved: bool = False,
    ) -> License:
        """Creates an active license without keys; with the same reference again, returns the same license.

        Raises ValidationFailed, also for a symbol that nothing serves, unless it `may_be_unserved`: a feeder
        or a publisher that is the first of its symbol needs a license before it can serve it. Raises Conflict
        if the reference has a license with other values, or if `is_new_account` and another license has this
        account, with which it would share its trades. Raises DatabaseUnavailable if only Postgres could tell
        that a symbol is served.
        """
        now = self._now()
        license_ = License(
            license_id=new_license_id(self._rng) if reference is None else license_id_of(reference),
            account_id=account_id,
            plan=plan,
            overrides=_without_repeats(overrides),
            expires_at=expires_at,
            reference=reference,
            payment=payment,
            email=email,
            discord_user_id=discord_user_id,
            notes=notes,
            created_at=now,
        )
        problems = Problems()
        check_new_license(license_, self._plans, now, problems)
        problems.refuse()
        if reference is not None and (stored := await self._same(license_)) is not None:
            return stored
        if not may_be_unserved:
            await self._check_served(license_, problems)
        if is_new_account and await self._store.has_account(account_id):
            raise account_exists(account_id)
        if expires_at is not None:
            await self._store.add_endings([Ending(expires_at, license_.license_id)])
        try:
            await self._store.add_license(license_)
        except Conflict:
            # Somebody has just created it under the same reference.
            stored = await self._same(license_)
            if stored is None:
                raise
            return stored
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
        return [key for key in await self._store.keys_hashed_before(moment) if is_valid_key(key, now)]

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

    async def rotate_key(self, public_id: str, overlap: timedelta) -> tuple[CreatedKey, Effect]:
        """Creates a key with the same scopes; the old one expires after `overlap`, or earlier as before.

        Without an overlap, the old key's connections are closed at once, else by the timer when it expires.
        Raises NotFound, ValidationFailed, KeysExceeded if the license has as many replaced keys that still
        work as it may have keys, and Conflict if the key is revoked or was rotated before.
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
        await self._store.add_endings([Ending(now + overlap, old.public_id)])
        successor = created.key.public_id
        old = await self._store.update_key(old.public_id, lambda key: replaced_key(key, successor, end))
        # Read again, so that the caches keep a change of the license that was made in between.
        license_ = await self._license(old.license_id)
        caches_told = await self._enforcement.tell_caches(license_, [old])
        closed = overlap > timedelta(0) or await self._enforcement.close_connections(
            old.public_id, "key expired"
        )
        audited = await self._audit.note("key rotated", old.public_id, successor=successor)
        return created, Effect(license_, caches_told, closed, audited)

    async def revoke_key(self, public_id: str) -> Effect:
        """Ends one key at once, and closes its connections; raises NotFound."""
        key = await self._key(public_id)
        await self._store.add_endings([Ending(self._now(), key.public_id)])
        key = await self._store.update_key(key.public_id, revoked_key)
        license_ = await self._license(key.license_id)
        caches_told = await self._enforcement.tell_caches(license_, [key])
        closed = await self._enforcement.close_connections(key.public_id, "key revoked")
        audited = await self._audit.note("key revoked", key.public_id)
        return Effect(license_, caches_told, closed, audited)

    async def suspend_license(self, license_id: str) -> Effect:
        """Refuses all keys of the license until it is resumed; raises NotFound and Conflict."""
        return await self.change(license_id, suspended, "license suspended")

    async def revoke_license(self, license_id: str) -> Effect:
        """Ends a license and all its keys, which is final; raises NotFound."""
        return await self.change(license_id, revoked, "license revoked")

    async def resume_license(self, license_id: str) -> Effect:
        """Ends a suspension; raises NotFound, and Conflict if the license has ended."""
        return await self.change(license_id, resumed, "license resumed")

    async def change(
        self,
        license_id: str,
        change: Callable[[License], License],
        reason: str,
        *,
        may_be_unserved: bool = False,
    ) -> Effect:
        """Applies a function of shared/domain/access/license_changes.py, and whatever follows from it.

        `change` may run more than once. Clients whose connections this closes get `reason`. A change that is
        stored already is enforced and audited again if the license allows nothing, because an earlier attempt
        may have failed half-way. Raises NotFound, ValidationFailed for an unknown plan, a value that no
        license can have, and a symbol that nothing serves unless it `may_be_unserved`; what `change` raises;
        DatabaseUnavailable if only Postgres could tell that a symbol is served.
        """
        before = await self._license(license_id)
        planned = change(before)
        now = self._now()
        if planned == before and license_refusal(before, now) is None:
            # Told again, because Redis may have been unavailable the last time.
            keys = await self._store.keys_of(license_id)
            return Effect(before, await self._enforcement.tell_caches(before, keys))
        await self._check(before, planned, may_be_unserved=may_be_unserved)
        terms = self._plans.terms_of(before), self._plans.terms_of(planned)
        following = consequences(before, planned, terms, now)
        if following.endings:
            await self._store.add_endings(following.endings)
        license_ = await self._store.update_license(license_id, change)
        caches_told = await self._enforcement.tell_caches(license_, await self._store.keys_of(license_id))
        closed = not following.closes or await self._enforcement.close_connections(license_id, reason)
        audited = await self._audit.note(reason, license_id)
        return Effect(license_, caches_told, closed, audited)

    async def _check(self, before: License, planned: License, *, may_be_unserved: bool) -> None:
        problems = Problems()
        check_license(planned, self._plans, problems)
        if planned.plan == before.plan and planned.plan not in self._plans:
            # A license whose plan is gone can still be ended, extended and moved to another plan.
            problems = Problems()
            check_license(msgspec.structs.replace(planned, plan=STANDARD), self._plans, problems)
        problems.refuse()
        if not may_be_unserved and planned.overrides.symbols != before.overrides.symbols:
            await self._check_served(planned, problems)

    async def _check_served(self, license_: License, problems: Problems) -> None:
        """The symbols of plans are served; those of overrides may not be."""
        if license_.overrides.symbols is not None:
            await self._served.check(license_.overrides.symbols, problems)
            problems.refuse("The license has symbols that nothing serves.")

    async def _same(self, wanted: License) -> License | None:
        """The license that has the reference of `wanted`; raises Conflict if it has other values."""
        stored = await self._store.get_license(wanted.license_id)
        if stored is not None and (refused := reference_taken(stored, wanted)) is not None:
            raise refused
        return stored

    async def _create(
        self, license_id: str, count: int, scopes: Sequence[Scope], expires_at: datetime | None
    ) -> list[CreatedKey]:
        license_ = await self._license(license_id)
        created = await self._keys.add(license_, count, scopes, expires_at)
        first = created[0].key.public_id
        await self._audit.note("keys created", license_id, count=count, first=first, scopes=list(scopes))
        return created

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


def _without_repeats(overrides: Overrides) -> Overrides:
    if overrides.symbols is None:
        return overrides
    return msgspec.structs.replace(overrides, symbols=tuple(dict.fromkeys(overrides.symbols)))


def _public_id(text: str) -> str:
    found = public_id_in(text)
    if not found:
        raise _no_key(text)
    return found


def _no_key(text: str) -> NotFound:
    # Shows only the beginning of `text`, because it may be a whole key.
    return NotFound(f"There is no API key {text[:14]}.")
