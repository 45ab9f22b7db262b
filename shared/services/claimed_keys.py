"""Makes the keys that claim links give, and ends the keys that they replace."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Protocol

from shared.domain.access.endings import Ending
from shared.domain.access.licenses import (
    ApiKey,
    License,
    Scope,
    ending_key,
    is_valid_key,
    revoked_key,
)
from shared.services.auditing import AuditLog, Auditor
from shared.services.enforcement import Enforcement
from shared.services.key_making import CreatedKey, KeyMaking

ACTOR = "claim link"
# What a link gives. A mail address is not enough to get a key that may do more, or to end one.
SCOPES: tuple[Scope, ...] = ("bot",)


class ClaimedKeyStore(Protocol):
    async def keys_of(self, license_id: str) -> list[ApiKey]: ...
    async def add_endings(self, endings: Sequence[Ending]) -> None: ...
    async def update_key(self, public_id: str, change: Callable[[ApiKey], ApiKey]) -> ApiKey: ...


class ClaimedKeys:
    """Every method raises KeyStoreUnavailable if Table Storage is unavailable.

    A link whose use died before it was recorded is used again: the key that it had made, which nobody has
    seen, is revoked first, so that it takes no place in the plan's number of keys.
    """

    def __init__(
        self,
        *,
        store: ClaimedKeyStore,
        making: KeyMaking,
        enforcement: Enforcement,
        audit: AuditLog,
        now: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._making = making
        self._enforcement = enforcement
        self._audit = Auditor(audit, ACTOR)
        self._now = now

    async def first(self, license_: License, claim: str) -> CreatedKey:
        """Makes a key within the plan's number of keys; raises KeysExceeded."""
        await self._revoke_unseen(license_, claim)
        (created,) = await self._making.add(license_, 1, SCOPES, None, claim)
        await self._audit.note("key claimed", license_.license_id, key=created.key.public_id, claim=claim)
        return created

    async def replacement(self, license_: License, claim: str, overlap: timedelta) -> CreatedKey:
        """Makes a key, and lets the license's other bot keys end after `overlap`, or earlier as before."""
        await self._revoke_unseen(license_, claim)
        now = self._now()
        end = now + overlap
        others = [
            key
            for key in await self._store.keys_of(license_.license_id)
            if is_valid_key(key, now) and set(key.scopes) <= set(SCOPES)
        ]
        # First, so that a failure in between leaves one key too many and never none.
        created = await self._making.replacement(license_, SCOPES, claim)
        successor = created.key.public_id
        await self._end(license_, others, successor, end)
        await self._audit.note(
            "keys replaced",
            license_.license_id,
            successor=successor,
            ending=[key.public_id for key in others],
            claim=claim,
        )
        return created

    async def _end(self, license_: License, others: Sequence[ApiKey], successor: str, end: datetime) -> None:
        ended = []
        for key in others:
            await self._store.add_endings([Ending(end, key.public_id)])
            ended.append(
                await self._store.update_key(key.public_id, lambda stored: ending_key(stored, successor, end))
            )
        await self._enforcement.tell_caches(license_, ended)

    async def _revoke_unseen(self, license_: License, claim: str) -> None:
        now = self._now()
        for key in await self._store.keys_of(license_.license_id):
            if key.claim == claim and is_valid_key(key, now):
                await self._store.update_key(key.public_id, revoked_key)
                await self._audit.note("unseen key revoked", key.public_id, claim=claim)
