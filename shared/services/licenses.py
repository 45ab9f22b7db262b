"""Creates, shows, rotates, suspends, revokes and expires licenses and keys.

Each change goes to Table Storage first: from then on no cache can load the old grant. An ending is announced
there before it is made, so that a timer completes what a command has begun, see shared/services/endings.py.
Then the service updates the caches, then closes open connections (Web PubSub checks a token only when a
client connects). `Effect` says if one of these later steps failed. Without the caches an ending takes effect
within five seconds, see shared/services/access.py; connections that stay open are closed by the timer.
"""

import logging
import secrets
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Protocol

import msgspec

from shared.domain.access.consequences import consequences
from shared.domain.access.endings import Ending
from shared.domain.access.keys import RandomBytes
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
    license_id_of,
    license_refusal,
    new_license_id,
)
from shared.domain.access.plan_catalog import PlanCatalog
from shared.domain.access.plans import NO_OVERRIDES, STANDARD, Overrides
from shared.domain.problems import Problems
from shared.errors import Conflict, Unavailable
from shared.services.auditing import AuditLog
from shared.services.enforcement import Enforcement
from shared.services.license_keys import Effect, KeyService, KeyStore

log = logging.getLogger(__name__)


class LicenseStore(KeyStore, Protocol):
    async def has_account(self, account_id: str) -> bool: ...
    async def add_license(self, license_: License) -> None: ...
    async def update_license(self, license_id: str, change: Callable[[License], License]) -> License: ...


class SymbolCheck(Protocol):
    async def check(self, symbols: Sequence[str], problems: Problems) -> None: ...


class LicenseView(msgspec.Struct, frozen=True):
    """A license with its keys."""

    license: License
    keys: tuple[ApiKey, ...]


class LicenseService(KeyService):
    """Changes licenses and keys. Every method raises KeyStoreUnavailable if Table Storage is unavailable."""

    def __init__(
        self,
        *,
        store: LicenseStore,
        plans: PlanCatalog,
        enforcement: Enforcement,
        served: SymbolCheck,
        audit: AuditLog,
        listed: Callable[[License], Awaitable[object]],
        actor: str,
        pepper: bytes,
        now: Callable[[], datetime],
        rng: RandomBytes = secrets.token_bytes,
    ) -> None:
        """`listed` is told of each license that was stored; it raises nothing if it cannot list it now."""
        super().__init__(
            store=store,
            plans=plans,
            enforcement=enforcement,
            audit=audit,
            actor=actor,
            pepper=pepper,
            now=now,
            rng=rng,
        )
        self._listed = listed
        self._store = store
        self._plans = plans
        self._served = served
        self._rng = rng

    async def create_license(
        self,
        account_id: str,
        *,
        plan: str = STANDARD,
        overrides: Overrides = NO_OVERRIDES,
        expires_at: datetime | None = None,
        reference: str | None = None,
        payment: str | None = None,
        paid_until: datetime | None = None,
        paid_plan: str | None = None,
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
            paid_until=paid_until,
            paid_plan=paid_plan,
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
        return await self._add(license_)

    async def _add(self, license_: License) -> License:
        """Stores a new license, or returns the one that has its reference since a moment."""
        if license_.expires_at is not None:
            await self._store.add_endings([Ending(license_.expires_at, license_.license_id)])
        try:
            await self._store.add_license(license_)
        except Conflict:
            stored = await self._same(license_)
            if stored is None:
                raise
            return stored
        await self._audit.note(
            "license created", license_.license_id, account=license_.account_id, plan=license_.plan
        )
        await self._listed(license_)
        return license_

    async def show(self, license_id: str) -> LicenseView:
        """The license and its keys; raises NotFound."""
        license_ = await self._license(license_id)
        return LicenseView(license_, tuple(await self._store.keys_of(license_id)))

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
        if closed:
            await self._note_closed(following.endings)
        audited = await self._audit.note(reason, license_id)
        await self._listed(license_)
        return Effect(license_, caches_told, closed, audited)

    async def _note_closed(self, endings: Sequence[Ending]) -> None:
        """Notes that the timer need not close the connections of a license that lives on."""
        closed = [msgspec.structs.replace(each, closes=False) for each in endings if each.closes]
        if closed:
            try:
                await self._store.add_endings(closed)
            except Unavailable as error:
                log.warning("the timer closes the connections of a changed license again: %s", error.internal)

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


def _without_repeats(overrides: Overrides) -> Overrides:
    if overrides.symbols is None:
        return overrides
    return msgspec.structs.replace(overrides, symbols=tuple(dict.fromkeys(overrides.symbols)))
