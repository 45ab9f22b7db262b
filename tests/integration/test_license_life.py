"""A license ends and works again on real servers, in processes that know only its refusal."""

import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from shared.adapters.redis import RedisStore
from shared.adapters.tables import LicenseTables
from shared.domain.access.license_changes import extended, with_overrides
from shared.domain.access.licenses import License
from shared.domain.access.plans import Overrides
from shared.errors import LicenseExpired
from shared.services.access import AccessService
from shared.services.enforcement import Enforcement
from shared.services.licenses import LicenseService
from tests.support.access_fakes import FakeAudit, FakeHub
from tests.support.license_plans import PLANS
from tests.support.licenses import changed
from tests.support.memory_licenses import unlisted
from tests.support.memory_sessions import MemorySessions
from tests.support.memory_stores import MemoryStores
from tests.support.served import served_symbols

PEPPER = b"p" * 32
PROCESSES = 3


def now() -> datetime:
    return datetime.now(UTC)


class Servers:
    """One key store, and a connection to Redis for each process."""

    def __init__(self, tables: str, redis: str) -> None:
        self.tables = LicenseTables(tables)
        self.stores = [RedisStore(redis) for _ in range(PROCESSES)]
        self.processes = [
            AccessService(pepper=PEPPER, cache=store, keys=self.tables, plans=PLANS, now=now)
            for store in self.stores
        ]
        self.licenses = LicenseService(
            store=self.tables,
            plans=PLANS,
            enforcement=Enforcement(self.stores[0], FakeHub(), MemorySessions(), PLANS),
            served=served_symbols(MemoryStores(now())),
            audit=FakeAudit(),
            listed=unlisted,
            actor="tester",
            pepper=PEPPER,
            now=now,
        )


@pytest.fixture
async def servers(tables_connection_string: str, redis_url: str) -> AsyncIterator[Servers]:
    servers = Servers(tables_connection_string, redis_url)
    yield servers
    for store in servers.stores:
        await store.close()
    await servers.tables.close()


async def test_an_extended_license_works_again_within_a_second_in_every_process(servers: Servers) -> None:
    made = await servers.licenses.create_license("acct-1", overrides=Overrides(requests_per_minute=50))
    key = await servers.licenses.create_key(made.license_id)
    authorization = f"Bearer {key.plain}"
    await servers.processes[0].admit(authorization, "bot")

    def over(one: License) -> License:
        return changed(one, expires_at=now())

    await servers.licenses.change(made.license_id, over, "license expired")
    for process in servers.processes:
        with pytest.raises(LicenseExpired):
            await process.admit(authorization, "bot")

    began = time.perf_counter()
    await servers.licenses.change(
        made.license_id, lambda one: extended(one, timedelta(days=30), now()), "license extended"
    )
    for process in servers.processes:
        admitted = await process.admit(authorization, "bot")
        assert admitted.rate is not None
        assert admitted.grant.license.status == "active"
    assert time.perf_counter() - began < 1.0
    await servers.licenses.change(
        made.license_id, lambda one: with_overrides(one, Overrides(requests_per_minute=60)), "license changed"
    )
    for process in servers.processes:
        assert (await process.admit(authorization, "bot")).grant.terms.requests_per_minute == 60
