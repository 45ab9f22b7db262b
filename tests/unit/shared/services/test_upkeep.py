"""Upkeep sends before it measures, and keeps each kind of row for its time."""

from datetime import UTC, datetime

import pytest

from shared.errors import DatabaseUnavailable
from shared.services.upkeep import UpkeepReport, UpkeepService
from tests.support.memory_stores import MemoryStores

NOW = datetime(2026, 3, 2, 14, 30, tzinfo=UTC)


def a_service(done: list[str], *, relay_fails: bool = False) -> UpkeepService:
    async def relay() -> None:
        if relay_fails:
            raise DatabaseUnavailable("The database is unavailable.")
        done.append("relay")

    async def measure() -> None:
        done.append("measure")

    async def remove_test_licenses(now: datetime) -> int:
        assert now == NOW
        return 3

    return UpkeepService(MemoryStores(NOW).upkeep, relay, measure, remove_test_licenses)


async def test_messages_are_sent_before_the_system_is_measured() -> None:
    done: list[str] = []
    await a_service(done).relay_and_measure()
    assert done == ["relay", "measure"]


async def test_nothing_is_measured_if_messages_cannot_be_sent() -> None:
    done: list[str] = []
    with pytest.raises(DatabaseUnavailable):
        await a_service(done, relay_fails=True).relay_and_measure()
    assert done == []


async def test_a_run_reports_what_it_did() -> None:
    assert await a_service([]).run(NOW) == UpkeepReport(
        0, 0, 0, 0, test_signals=0, test_licenses=3, claims=0, notifications=0, misuse=0
    )
