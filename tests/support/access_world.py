"""A license, its keys, and processes that admit by them, over stand-ins."""

from datetime import timedelta
from typing import Any

import pytest

from shared.domain.access.licenses import Scope
from shared.domain.access.plans import Overrides
from shared.errors import SignalCloudError
from shared.services.access import AccessService, Admitted
from shared.services.enforcement import Enforcement
from shared.services.key_making import CreatedKey
from shared.services.licenses import LicenseService
from tests.support.access_fakes import Clock, FakeAudit, FakeCache, FakeHub, FakeKeyStore
from tests.support.license_plans import PLANS
from tests.support.memory_licenses import unlisted
from tests.support.memory_sessions import MemorySessions
from tests.support.memory_stores import MemoryStores
from tests.support.served import served_symbols

PEPPER = b"p" * 32


class World:
    """One process's access service over fakes, and a license of 3 requests a minute with a bot key."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.cache = FakeCache(self.clock)
        self.unlimited: list[int] = []
        self.store = FakeKeyStore()
        self.audit = FakeAudit()
        self.licenses = LicenseService(
            plans=PLANS,
            store=self.store,
            enforcement=Enforcement(self.cache, FakeHub(), MemorySessions(), PLANS),
            served=served_symbols(MemoryStores(self.clock())),
            audit=self.audit,
            listed=unlisted,
            actor="tester",
            pepper=PEPPER,
            now=self.clock,
        )
        self.access = self.process()

    def process(self) -> AccessService:
        return AccessService(
            plans=PLANS,
            pepper=PEPPER,
            cache=self.cache,
            keys=self.store,
            now=self.clock,
            unlimited=lambda: self.unlimited.append(1),
        )

    async def bot(self, limit: int = 3, expires_in_s: float | None = None) -> CreatedKey:
        expires_at = None if expires_in_s is None else self.clock() + timedelta(seconds=expires_in_s)
        license_ = await self.licenses.create_license(
            "acct-1", overrides=Overrides(symbols=("ES",), requests_per_minute=limit), expires_at=expires_at
        )
        return await self.licenses.create_key(license_.license_id)

    async def admit(self, key: str, scope: Scope = "bot", **options: Any) -> Admitted:
        return await self.access.admit(f"Bearer {key}", scope, **options)

    async def refusal(self, key: str, scope: Scope = "bot", **options: Any) -> SignalCloudError:
        with pytest.raises(SignalCloudError) as refused:
            await self.admit(key, scope, **options)
        return refused.value
