"""Gives test keys to whoever asks, free of charge, and removes their licenses when they have ended."""

import secrets
from collections.abc import Callable
from datetime import datetime
from typing import Protocol

import msgspec

from shared.domain.access.keys import RandomBytes, random_base62
from shared.domain.access.licenses import License
from shared.domain.access.test_licenses import (
    TEST_ACCOUNT,
    TEST_LIFETIME,
    TEST_PLAN,
    TEST_RETENTION,
    TEST_SYMBOLS,
)
from shared.domain.access.try_limits import limits_of_test_keys
from shared.services.key_making import CreatedKey
from shared.services.tries import Tries

ACCOUNT_CHARACTERS = 16
# Bounds one run of the timer; what is left waits for the next one.
MAX_REMOVED = 500


class LicenseMaker(Protocol):
    """What the service needs of LicenseService."""

    async def create_license(
        self, account_id: str, *, plan: str = ..., expires_at: datetime | None = ...
    ) -> License: ...
    async def create_key(self, license_id: str) -> CreatedKey: ...


class EndedLicenses(Protocol):
    async def ended_licenses(self, plan: str, before: datetime, limit: int) -> list[License]: ...
    async def remove_license(self, license_id: str) -> None: ...


class AccountRows(Protocol):
    async def remove(self, account_id: str, license_id: str) -> None: ...


class NewTestKey(msgspec.Struct, frozen=True):
    """A test key, which is shown only once, and what it hears until its license ends."""

    key: str
    license_id: str
    account_id: str
    plan: str
    symbols: tuple[str, ...]
    expires_at: datetime


class FreeTestKeys:
    def __init__(
        self,
        *,
        licenses: LicenseMaker,
        store: EndedLicenses,
        rows: AccountRows,
        tries: Tries,
        now: Callable[[], datetime],
        rng: RandomBytes = secrets.token_bytes,
    ) -> None:
        self._licenses = licenses
        self._store = store
        self._rows = rows
        self._tries = tries
        self._now = now
        self._rng = rng

    async def create(self, network: str) -> NewTestKey:
        """Makes an account, a test license and its key.

        Raises TriesExceeded; CacheUnavailable while nothing counts the tries, because then anybody could make
        any number; and KeyStoreUnavailable.
        """
        await self._tries.take(limits_of_test_keys(network))
        account_id = TEST_ACCOUNT + random_base62(ACCOUNT_CHARACTERS, self._rng)
        expires_at = self._now() + TEST_LIFETIME
        license_ = await self._licenses.create_license(account_id, plan=TEST_PLAN, expires_at=expires_at)
        created = await self._licenses.create_key(license_.license_id)
        return NewTestKey(
            created.plain, license_.license_id, account_id, license_.plan, TEST_SYMBOLS, expires_at
        )

    async def remove_ended(self, now: datetime) -> int:
        """Removes test licenses that ended TEST_RETENTION ago, with their keys and their accounts' rows.

        Returns how many. The license goes last, so that a run that dies is repeated. Raises Unavailable.
        """
        ended = await self._store.ended_licenses(TEST_PLAN, now - TEST_RETENTION, MAX_REMOVED)
        for license_ in ended:
            await self._rows.remove(license_.account_id, license_.license_id)
            await self._store.remove_license(license_.license_id)
        return len(ended)
