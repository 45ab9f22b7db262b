"""Enforces what has ended, for a while after each ending; a timer runs it every few seconds.

A license or key that expires has nobody else to close its connections. And for each ending it does again
what the command has done or should have done: the command may have died half-way, Redis or Web PubSub may
have been unavailable, and a connection that was judged just before the ending may have opened just after the
closing. A license that lives on with less than before has its connections closed once, here if the command
could not.
"""

from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Protocol

import msgspec

from shared.domain.access.endings import Ending
from shared.domain.access.license_changes import ended
from shared.domain.access.licenses import (
    ApiKey,
    License,
    is_license_id,
    key_refusal,
    license_refusal,
)
from shared.domain.limits import ClockSkew
from shared.errors import SignalCloudError
from shared.services.auditing import AuditLog, Auditor
from shared.services.concurrency import run_for_each
from shared.services.enforcement import Enforcement

# Bounds one run. The oldest endings come first, and each one's record is removed after ENFORCED_FOR.
MAX_ENDINGS = 1_000
AT_ONCE = 16
_EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)


class EndingStore(Protocol):
    async def get_license(self, license_id: str) -> License | None: ...
    async def get_key(self, public_id: str) -> ApiKey | None: ...
    async def keys_of(self, license_id: str) -> list[ApiKey]: ...
    async def endings(self, since: datetime, until: datetime, limit: int) -> list[Ending]: ...
    async def add_endings(self, endings: Sequence[Ending]) -> None: ...
    async def remove_ending(self, ending: Ending) -> None: ...
    async def update_license(self, license_id: str, change: Callable[[License], License]) -> License: ...


class EndingService:
    """Repeats are harmless: what has ended stays ended, and an open license or key is left alone."""

    def __init__(
        self,
        *,
        store: EndingStore,
        enforcement: Enforcement,
        audit: AuditLog,
        listed: Callable[[License], Awaitable[object]],
        actor: str,
    ) -> None:
        """`listed` is told of each license that got another status; see LicenseService."""
        self._store = store
        self._listed = listed
        self._enforcement = enforcement
        self._audit = Auditor(audit, actor)

    async def run(self, now: datetime) -> int:
        """Enforces the endings that are due, and returns how many connections' groups it has closed.

        An ending whose connections could not be closed stays recorded, and the next run tries again. Raises
        Unavailable.
        """
        # What ends later by its time may have ended already, by an operator's clock that is ahead of ours.
        due = await self._store.endings(_EARLIEST, now + ClockSkew.OPERATOR, MAX_ENDINGS)
        return sum(await run_for_each(partial(self._enforce, now=now), due, at_once=AT_ONCE))

    async def _enforce(self, ending: Ending, now: datetime) -> bool:
        """Whether the connections of the license or key of `ending` are closed, because they must be."""
        if is_license_id(ending.subject):
            refused, closed = await self._enforce_license(ending.subject, now)
        else:
            refused, closed = await self._enforce_key(ending.subject, now)
        if refused is None and ending.closes:
            return await self._close_changed(ending, now)
        if ending.is_enforced(now) and (closed or refused is None):
            await self._store.remove_ending(ending)
        return closed

    async def _close_changed(self, ending: Ending, now: datetime) -> bool:
        """Closes the connections of a license that lives on with less than before, once."""
        if not ending.is_due_to_close(now):
            return False
        closed = await self._enforcement.close_connections(ending.subject, "license changed")
        if closed:
            await self._store.add_endings([msgspec.structs.replace(ending, closes=False)])
        return closed

    async def _enforce_license(self, license_id: str, now: datetime) -> tuple[SignalCloudError | None, bool]:
        license_ = await self._store.get_license(license_id)
        refused = license_refusal(license_, now) if license_ is not None else None
        if license_ is None or refused is None:
            # Resumed since, or the command has ended before it changed anything.
            return None, False
        closed = await self._enforcement.close_connections(license_id, _reason(refused))
        if closed and license_.status == "active":
            license_ = await self._mark(license_id, now)
        await self._enforcement.tell_caches(license_, await self._store.keys_of(license_id))
        return refused, closed

    async def _mark(self, license_id: str, now: datetime) -> License:
        """Gives the license the status that its times give it: expired, or suspended after a failed payment.

        Of several processes, the one whose change is stored audits it.
        """
        is_ours = False

        def mark(before: License) -> License:
            nonlocal is_ours
            after = ended(before, now)
            is_ours = after != before
            return after

        license_ = await self._store.update_license(license_id, mark)
        if is_ours:
            await self._audit.note(f"license {license_.status}", license_id)
            await self._listed(license_)
        return license_

    async def _enforce_key(self, public_id: str, now: datetime) -> tuple[SignalCloudError | None, bool]:
        key = await self._store.get_key(public_id)
        refused = key_refusal(key, now) if key is not None else None
        if key is None or refused is None:
            return None, False
        closed = await self._enforcement.close_connections(key.license_id, _reason(refused), public_id)
        license_ = await self._store.get_license(key.license_id)
        if license_ is not None:
            await self._enforcement.tell_caches(license_, [key])
        return refused, closed


def _reason(refused: SignalCloudError) -> str:
    """The reason that the closed clients get, such as "license expired"."""
    return refused.code.replace("_", " ")
