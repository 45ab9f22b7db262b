"""Makes API keys of a license: as many as its plan allows, under ids that are free."""

import secrets
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Protocol

import msgspec

from shared.domain.access.endings import Ending
from shared.domain.access.keys import KeyKind, RandomBytes, hash_key, new_key, new_public_id
from shared.domain.access.license_checks import (
    check_expiry,
    check_scopes,
    keys_exceeded,
    replaced_keys_exceeded,
)
from shared.domain.access.licenses import (
    HOOK_SCOPES,
    ApiKey,
    License,
    Scope,
    is_over,
    is_valid_key,
    revoked_key,
    shard_of_license_id,
)
from shared.domain.access.plan_catalog import PlanCatalog
from shared.domain.access.test_licenses import kind_of
from shared.domain.problems import Problems
from shared.errors import Conflict

MAX_KEYS_PER_TRANSACTION = 100
# A shard has 14 million public ids, so this many attempts fail only because of a defect.
MAX_ID_ATTEMPTS = 5
# As many callers may add keys to one license at the same time before its keys must be counted again.
RACING = 10


class NewKeyStore(Protocol):
    async def keys_of(self, license_id: str) -> list[ApiKey]: ...
    async def add_endings(self, endings: Sequence[Ending]) -> None: ...
    async def add_keys(self, keys: Sequence[ApiKey]) -> None: ...
    async def update_key(self, public_id: str, change: Callable[[ApiKey], ApiKey]) -> ApiKey: ...


class CreatedKey(msgspec.Struct, frozen=True):
    """A new key; `plain` is shown only once and stored nowhere."""

    plain: str
    key: ApiKey

    def __repr__(self) -> str:
        return f"CreatedKey({self.key.public_id})"


class KeyMaking:
    """Every method raises KeyStoreUnavailable if Table Storage is unavailable."""

    def __init__(
        self,
        *,
        store: NewKeyStore,
        plans: PlanCatalog,
        pepper: bytes,
        now: Callable[[], datetime],
        rng: RandomBytes = secrets.token_bytes,
    ) -> None:
        self._store = store
        self._plans = plans
        self._pepper = pepper
        self._now = now
        self._rng = rng

    async def add(
        self,
        license_: License,
        count: int,
        scopes: Sequence[Scope],
        expires_at: datetime | None,
        claim: str | None = None,
    ) -> list[CreatedKey]:
        """Makes `count` keys; `claim` names the claim link that gives them.

        Raises ValidationFailed, KeysExceeded, and Conflict if the license has ended.
        """
        problems = Problems()
        check_scopes(scopes, problems)
        check_expiry(expires_at, self._now(), problems)
        problems.refuse()
        counted = await self._counted_keys(license_)
        most = self._plans.terms_of(license_).keys
        if len(counted) + count > most:
            raise keys_exceeded(license_, counted, most)
        created = await self._make(license_, count, scopes, expires_at, claim)
        if len(counted) + RACING * count > most:
            await self._withdraw_excess(license_, created, most)
        return created

    async def _withdraw_excess(self, license_: License, created: Sequence[CreatedKey], most: int) -> None:
        """Revokes `created` if others have added keys at the same time, so that there are too many now."""
        counted = await self._counted_keys(license_)
        if len(counted) > most:
            for each in created:
                await self._store.update_key(each.key.public_id, revoked_key)
            raise keys_exceeded(license_, counted, most)

    async def replacement(self, license_: License, scopes: Sequence[Scope], claim: str) -> CreatedKey:
        """Makes a key for which the caller ends the others, however many there are.

        Raises Conflict if the license has ended.
        """
        (created,) = await self._make(license_, 1, scopes, None, claim)
        return created

    async def successor(self, license_: License, old: ApiKey) -> CreatedKey:
        """Makes the key that replaces `old`; replaced keys that still work do not count, up to as many more.

        It expires when `old` does. Raises KeysExceeded, and Conflict if the license has ended or `old` has
        expired.
        """
        if is_over(old.expires_at, self._now()):
            raise Conflict(f"The key {old.public_id} has expired; create a new one.")
        if old.scopes != HOOK_SCOPES:
            replaced = [key for key in await self._valid_keys(license_) if key.successor is not None]
            most = self._plans.terms_of(license_).keys
            if len(replaced) >= most:
                raise replaced_keys_exceeded(license_, replaced, most)
        (created,) = await self._make(license_, 1, old.scopes, old.expires_at)
        return created

    async def hook_secret(self, license_: License) -> CreatedKey:
        """Makes the secret of a hook, which counts as no key; raises Conflict if the license has ended."""
        (created,) = await self._make(license_, 1, HOOK_SCOPES, None)
        return created

    async def _counted_keys(self, license_: License) -> list[ApiKey]:
        return [key for key in await self._valid_keys(license_) if key.successor is None]

    async def _valid_keys(self, license_: License) -> list[ApiKey]:
        """The valid keys, without the secrets of hooks."""
        now, keys = self._now(), await self._store.keys_of(license_.license_id)
        return [key for key in keys if key.scopes != HOOK_SCOPES and is_valid_key(key, now)]

    async def _make(
        self,
        license_: License,
        count: int,
        scopes: Sequence[Scope],
        expires_at: datetime | None,
        claim: str | None = None,
    ) -> list[CreatedKey]:
        now = self._now()
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
            claim=claim,
        )
        kind: KeyKind = "hook" if template.scopes == HOOK_SCOPES else kind_of(license_)
        created: list[CreatedKey] = []
        while len(created) < count:
            created += await self._store_keys(
                template, kind, min(MAX_KEYS_PER_TRANSACTION, count - len(created))
            )
        return created

    async def _store_keys(self, template: ApiKey, kind: KeyKind, count: int) -> list[CreatedKey]:
        shard = shard_of_license_id(template.license_id)
        for attempt in range(1, MAX_ID_ATTEMPTS + 1):
            public_ids: set[str] = set()
            while len(public_ids) < count:
                public_ids.add(new_public_id(shard, self._rng))
            batch = []
            for public_id in public_ids:
                plain = new_key(public_id, kind, rng=self._rng)
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
