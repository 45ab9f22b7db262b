"""Makes, shows, rotates and ends hooks, for operators and for the holders of publishers' keys."""

import secrets as random
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Protocol

import msgspec

from shared.domain.access.hooks import Hook, HookRequest, check_hook, new_hook_id
from shared.domain.access.keys import RandomBytes
from shared.domain.access.license_checks import no_license
from shared.domain.access.licenses import License, require_among
from shared.domain.access.plan_catalog import PlanCatalog
from shared.domain.market.alert_mapping import AlertMapping
from shared.domain.problems import Problems
from shared.errors import Conflict, NotFound
from shared.services.auditing import AuditLog, Auditor
from shared.services.key_making import CreatedKey

MAX_OVERLAP = timedelta(days=7)
DEFAULT_OVERLAP = timedelta(hours=1)


class HookSecrets(Protocol):
    """What the registry needs of LicenseService."""

    async def create_hook_secret(self, license_id: str) -> CreatedKey: ...
    async def rotate_key(self, public_id: str, overlap: timedelta) -> tuple[CreatedKey, object]: ...
    async def revoke_key(self, public_id: str) -> object: ...


class LicenseReader(Protocol):
    async def get_license(self, license_id: str) -> License | None: ...


class HookStore(Protocol):
    async def add(self, hook: Hook) -> None: ...
    async def get(self, account_id: str | None, hook_id: str) -> Hook | None: ...
    async def of_account(self, account_id: str, license_id: str | None) -> list[Hook]: ...
    async def rotate(self, hook: Hook, public_id: str, at: datetime) -> Hook | None: ...
    async def end(self, account_id: str, hook_id: str, at: datetime) -> Hook | None: ...


class HookWithAddress(msgspec.Struct, frozen=True):
    """A hook and its whole address, which holds its secret: it is shown once and stored nowhere."""

    hook: Hook
    url: str

    def __repr__(self) -> str:
        return f"HookWithAddress({self.hook.hook_id})"


class Hooks(msgspec.Struct, frozen=True):
    """Hooks of one account, the latest first, also those that have ended."""

    hooks: list[Hook]


class HookRegistry:
    """Each change is audited under `actor`. Every method raises Unavailable.

    Methods with an `account_id` act on the hooks of this account alone; with None, for operators, on any.
    """

    def __init__(
        self,
        *,
        secrets: HookSecrets,
        licenses: LicenseReader,
        plans: PlanCatalog,
        store: HookStore,
        mappings: Mapping[str, AlertMapping],
        address_lists: Mapping[str, Sequence[str]],
        audit: AuditLog,
        actor: str,
        public_url: str,
        now: Callable[[], datetime],
        rng: RandomBytes = random.token_bytes,
    ) -> None:
        self._secrets = secrets
        self._licenses = licenses
        self._plans = plans
        self._store = store
        self._mappings = mappings
        self._address_lists = address_lists
        self._audit = Auditor(audit, actor)
        self._public_url = public_url
        self._now = now
        self._rng = rng

    async def create(self, license_id: str, request: HookRequest) -> HookWithAddress:
        """Makes a hook of a license.

        Raises NotFound, ValidationFailed, SymbolNotLicensed, and Conflict if the license has ended or has too
        many hooks.
        """
        license_ = await self._license(license_id)
        self._check(license_, request)
        secret = await self._secrets.create_hook_secret(license_id)
        hook = Hook(
            hook_id=new_hook_id(self._rng),
            account_id=license_.account_id,
            license_id=license_id,
            public_id=secret.key.public_id,
            name=request.name,
            mapping=request.mapping,
            strategy=request.strategy,
            symbols=tuple(dict.fromkeys(request.symbols)),
            addresses=tuple(dict.fromkeys(request.addresses)),
            created_at=self._now(),
        )
        try:
            await self._store.add(hook)
        except BaseException:
            # The secret opens nothing without its hook, but it should not stay.
            await self._secrets.revoke_key(secret.key.public_id)
            raise
        await self._audit.note("hook created", hook.hook_id, license=license_id, name=hook.name)
        return self._with_address(hook, secret)

    def _check(self, license_: License, request: HookRequest) -> None:
        problems = Problems()
        check_hook(request, self._mappings, self._address_lists, problems)
        problems.refuse()
        fields = {symbol: f"symbols[{index}]" for index, symbol in enumerate(request.symbols)}
        require_among(self._plans.terms_of(license_).symbols, fields)

    async def of_account(self, account_id: str) -> Hooks:
        """The hooks of all licenses of an account."""
        return Hooks(await self._store.of_account(account_id, None))

    async def of_license(self, license_id: str) -> Hooks:
        """The hooks of a license; raises NotFound."""
        license_ = await self._license(license_id)
        return Hooks(await self._store.of_account(license_.account_id, license_id))

    async def rotate(self, hook_id: str, overlap: timedelta, *, account_id: str | None) -> HookWithAddress:
        """Gives a hook another secret; the one before works during `overlap`, up to MAX_OVERLAP.

        A hook has at most two secrets: that before the former one stops to work. Raises NotFound, and
        Conflict if the hook has ended or was rotated meanwhile.
        """
        hook = await self._hook(hook_id, account_id)
        if hook.ended_at is not None:
            raise Conflict(f"The hook {hook_id} has ended; make a new one.")
        try:
            secret, _ = await self._secrets.rotate_key(hook.public_id, overlap)
        except Conflict:
            # An earlier rotation stopped half-way: the secret was replaced, and nobody saw the new one.
            secret = await self._secrets.create_hook_secret(hook.license_id)
        rotated = await self._store.rotate(hook, secret.key.public_id, self._now())
        if rotated is None:
            await self._secrets.revoke_key(secret.key.public_id)
            raise Conflict(f"The hook {hook_id} was changed meanwhile; look at it, and try again.")
        await self._audit.note("hook rotated", hook_id, overlap_s=int(overlap.total_seconds()))
        return self._with_address(rotated, secret)

    async def end(self, hook_id: str, *, account_id: str | None) -> Hook:
        """Ends a hook at once; ending it again changes nothing. Raises NotFound."""
        hook = await self._hook(hook_id, account_id)
        for public_id in (hook.public_id, hook.previous_public_id):
            if public_id is not None:
                await self._secrets.revoke_key(public_id)
        ended = await self._store.end(hook.account_id, hook_id, self._now())
        if ended is None:
            raise _no_hook(hook_id)
        await self._audit.note("hook ended", hook_id)
        return ended

    async def _license(self, license_id: str) -> License:
        license_ = await self._licenses.get_license(license_id)
        if license_ is None:
            raise no_license(license_id)
        return license_

    async def _hook(self, hook_id: str, account_id: str | None) -> Hook:
        hook = await self._store.get(account_id, hook_id)
        if hook is None:
            raise _no_hook(hook_id)
        return hook

    def _with_address(self, hook: Hook, secret: CreatedKey) -> HookWithAddress:
        return HookWithAddress(hook, f"{self._public_url}/api/hooks/{secret.plain}")


def _no_hook(hook_id: str) -> NotFound:
    return NotFound(f"There is no hook {hook_id[:64]}.")
