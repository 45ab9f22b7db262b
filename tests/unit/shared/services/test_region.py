"""Which region is active: the database decides, and its silence changes nothing."""

import asyncio

import pytest

from shared.errors import DatabaseUnavailable
from shared.services import region as region_module
from shared.services.region import RegionService


class Database:
    """Counts how often it is asked; `silent` answers never, `error` fails."""

    def __init__(self) -> None:
        self.replica = False
        self.error: Exception | None = None
        self.silent = False
        self.asked = 0

    async def is_replica(self) -> bool:
        self.asked += 1
        if self.silent:
            await asyncio.Event().wait()
        if self.error is not None:
            raise self.error
        return self.replica


@pytest.fixture
def database() -> Database:
    return Database()


@pytest.fixture
def region(database: Database, monkeypatch: pytest.MonkeyPatch) -> RegionService:
    monkeypatch.setattr(region_module, "HOLD_S", 0.0)
    return RegionService(database)


async def test_a_region_is_active_if_its_database_accepts_writes(
    region: RegionService, database: Database
) -> None:
    assert await region.is_active()
    database.replica = True
    assert not await region.is_active()
    database.replica = False
    assert await region.is_active()


@pytest.mark.parametrize("replica", [False, True])
@pytest.mark.parametrize("silent", [False, True])
async def test_while_the_database_does_not_answer_the_last_answer_holds(
    region: RegionService,
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
    replica: bool,
    silent: bool,
) -> None:
    monkeypatch.setattr(region_module, "ASK_TIMEOUT_S", 0.01)
    database.replica = replica
    assert await region.is_active() is not replica
    database.silent = silent
    database.error = DatabaseUnavailable("The database cannot be reached.")
    assert await region.is_active() is not replica


async def test_before_the_first_answer_a_region_counts_as_active(
    region: RegionService, database: Database
) -> None:
    database.error = DatabaseUnavailable("The database cannot be reached.")
    assert await region.is_active()


async def test_probes_of_many_places_ask_the_database_once(database: Database) -> None:
    region = RegionService(database)
    assert all(await asyncio.gather(*(region.is_active() for _ in range(200))))
    assert database.asked == 1
