"""Provides a license service over fakes that hold state."""

from datetime import datetime

import pytest

from shared.domain.access.licenses import License
from shared.domain.access.plans import Overrides
from shared.errors import ValidationFailed
from shared.services.endings import EndingService
from shared.services.enforcement import Enforcement
from shared.services.licenses import LicenseService
from tests.support.access_fakes import Clock, FakeAudit, FakeCache, FakeHub, FakeKeyStore
from tests.support.license_plans import PLANS
from tests.support.memory_sessions import MemorySessions
from tests.support.memory_stores import MemoryStores
from tests.support.served import served_symbols

PEPPER = b"p" * 32


class World:
    def __init__(self) -> None:
        self.clock = Clock()
        self.cache = FakeCache(self.clock)
        self.store = FakeKeyStore()
        self.audit = FakeAudit()
        self.hub = FakeHub()
        self.stores = MemoryStores(self.clock())
        self.sessions = MemorySessions(clock_ms=lambda: round(self.clock.timestamp() * 1000))
        self.enforcement = Enforcement(self.cache, self.hub, self.sessions, PLANS)
        self.listed: list[License] = []
        self.endings = EndingService(
            store=self.store,
            enforcement=self.enforcement,
            audit=self.audit,
            listed=self.note,
            actor="timer",
        )
        self.service = LicenseService(
            plans=PLANS,
            store=self.store,
            enforcement=self.enforcement,
            served=served_symbols(self.stores),
            audit=self.audit,
            listed=self.note,
            actor="tester",
            pepper=PEPPER,
            now=self.clock,
        )

    async def note(self, license_: License) -> None:
        self.listed.append(license_)

    async def license(self, expires_at: datetime | None = None, plan: str = "standard") -> str:
        made = await self.service.create_license(
            "acct-1", plan=plan, overrides=Overrides(symbols=("ES", "NQ")), expires_at=expires_at
        )
        return made.license_id


def errors(refused: pytest.ExceptionInfo[ValidationFailed]) -> list[tuple[str, str]]:
    return [(error.field, error.code) for error in refused.value.errors]
