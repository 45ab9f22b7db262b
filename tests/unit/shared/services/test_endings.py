"""The timer closes what has ended, again for a while, and completes what a command has begun."""

import asyncio
from datetime import timedelta
from unittest.mock import AsyncMock, patch

import pytest

from shared.domain.access.admission import decode_record
from shared.domain.access.endings import CLOSED_WITHIN, ENFORCED_FOR, Ending
from shared.domain.access.license_changes import suspended, with_overrides
from shared.domain.access.plans import Overrides
from shared.errors import KeyStoreUnavailable
from shared.services.endings import EndingService
from shared.services.enforcement import Enforcement
from tests.support.access_fakes import FakeHub
from tests.support.license_plans import PLANS
from tests.support.license_world import World
from tests.support.memory_sessions import MemorySessions


@pytest.fixture
def world() -> World:
    return World()


async def test_a_license_that_expires_is_closed_and_marked_once(world: World) -> None:
    end = world.clock() + timedelta(seconds=10)
    due = await world.license(end)
    await world.license(end + timedelta(days=1))
    await world.license()
    assert await world.endings.run(world.clock()) == 0
    world.clock.forward(10)
    world.hub.away = True
    assert await world.endings.run(world.clock()) == 0
    assert world.store.licenses[due].status == "active"
    world.hub.away = False
    assert await world.endings.run(world.clock()) == 1
    assert await world.endings.run(world.clock()) == 1
    assert world.hub.closed == [(f"license.{due}", "license expired")] * 2
    assert world.store.licenses[due].status == "expired"
    assert world.audit.entries.count(("timer", "license expired", due)) == 1


class MeetingHub(FakeHub):
    """Lets its callers go on once all have come, so that each has read the license before any changes it."""

    def __init__(self, callers: int) -> None:
        super().__init__()
        self.barrier = asyncio.Barrier(callers)

    async def close_group(self, group: str, reason: str) -> None:
        await super().close_group(group, reason)
        await self.barrier.wait()


@pytest.mark.parametrize("processes", [2, 5])
async def test_of_processes_that_expire_one_license_exactly_one_audits_it(
    world: World, processes: int
) -> None:
    license_id = await world.license(world.clock() + timedelta(seconds=10))
    world.clock.forward(10)
    enforcement = Enforcement(world.cache, MeetingHub(processes), MemorySessions(), PLANS)
    racing = [
        EndingService(
            store=world.store,
            enforcement=enforcement,
            audit=world.audit,
            listed=world.note,
            actor=f"timer {number}",
        )
        for number in range(processes)
    ]
    assert await asyncio.gather(*(each.run(world.clock()) for each in racing)) == [1] * processes
    assert world.store.licenses[license_id].status == "expired"
    assert [action for _, action, subject in world.audit.entries if subject == license_id] == [
        "license created",
        "license expired",
    ]


async def test_a_license_that_is_suspended_meanwhile_is_not_audited_as_expired(world: World) -> None:
    license_id = await world.license(world.clock() + timedelta(seconds=10))
    world.clock.forward(10)
    read = world.store.get_license

    async def before_the_suspension(wanted: str) -> object:
        found = await read(wanted)
        world.store.licenses[wanted] = suspended(world.store.licenses[wanted])
        return found

    with patch.object(world.store, "get_license", before_the_suspension):
        await world.endings.run(world.clock())
    assert world.store.licenses[license_id].status == "suspended"
    assert ("timer", "license expired", license_id) not in world.audit.entries


async def test_a_key_that_expires_is_closed_alone(world: World) -> None:
    license_id = await world.license()
    ending = await world.service.create_key(license_id, expires_at=world.clock() + timedelta(seconds=10))
    await world.service.create_key(license_id)
    world.clock.forward(10)
    await world.endings.run(world.clock())
    assert world.hub.closed == [(f"key.{ending.key.public_id}", "key expired")]


async def test_a_command_that_died_after_the_change_is_completed(world: World) -> None:
    license_id = await world.license()
    created = await world.service.create_key(license_id)
    with patch.object(world.enforcement, "tell_caches", AsyncMock(side_effect=RuntimeError("killed"))):
        for attempt in (
            world.service.revoke_key(created.key.public_id),
            world.service.suspend_license(license_id),
        ):
            with pytest.raises(RuntimeError):
                await attempt
    assert world.hub.closed == []
    assert world.cache.records == {}
    assert await world.endings.run(world.clock()) == 2
    assert set(world.hub.closed) == {
        (f"key.{created.key.public_id}", "key revoked"),
        (f"license.{license_id}", "license suspended"),
    }
    _, grant = decode_record(world.cache.records[created.key.key_hash][2])
    assert (grant.key.status, grant.license.status) == ("revoked", "suspended")


async def test_closing_is_repeated_for_a_stated_while_and_then_forgotten(world: World) -> None:
    license_id = await world.license()
    await world.service.revoke_license(license_id)
    closed = len(world.hub.closed)
    for _ in range(4):
        assert await world.endings.run(world.clock()) == 1
        world.clock.forward(ENFORCED_FOR.total_seconds() / 4)
    assert len(world.hub.closed) == closed + 4
    assert await world.endings.run(world.clock()) == 1
    assert world.store.recorded_endings == set()
    assert await world.endings.run(world.clock()) == 0


@pytest.mark.parametrize("off_by_s", [-299, -121, 60, 299])
async def test_an_ending_is_enforced_for_two_minutes_however_the_operators_clock_differs(
    world: World, off_by_s: int
) -> None:
    license_id = await world.license()
    world.clock.forward(off_by_s)
    await world.service.revoke_license(license_id)
    world.clock.forward(-off_by_s)
    for _ in range(24):
        assert await world.endings.run(world.clock()) == 1
        world.clock.forward(5)


async def test_what_cannot_be_closed_is_tried_again_however_long_it_takes(world: World) -> None:
    license_id = await world.license()
    world.hub.away = True
    await world.service.revoke_license(license_id)
    world.clock.forward(3600)
    assert await world.endings.run(world.clock()) == 0
    world.hub.away = False
    assert await world.endings.run(world.clock()) == 1
    assert world.store.recorded_endings == set()


async def test_a_license_that_was_resumed_is_left_alone(world: World) -> None:
    license_id = await world.license()
    await world.service.suspend_license(license_id)
    await world.service.resume_license(license_id)
    closed = len(world.hub.closed)
    assert await world.endings.run(world.clock()) == 0
    assert len(world.hub.closed) == closed
    assert world.store.recorded_endings, "it may be a change that is still under way"
    world.clock.forward(ENFORCED_FOR.total_seconds())
    await world.endings.run(world.clock())
    assert world.store.recorded_endings == set()


async def test_a_changed_license_whose_connections_could_not_be_closed_gets_them_closed_once(
    world: World,
) -> None:
    """Otherwise a bot whose signals are delayed from now on would go on to hear them at once."""
    license_id = await world.license()
    world.hub.away = True
    fewer = Overrides(symbols=("ES", "NQ"), signal_delay_s=900)
    changed = await world.service.change(
        license_id, lambda one: with_overrides(one, fewer), "license changed"
    )
    assert not changed.connections_closed
    assert await world.endings.run(world.clock()) == 0, "the command may still be closing them"
    world.clock.forward(CLOSED_WITHIN.total_seconds())
    assert await world.endings.run(world.clock()) == 0
    world.hub.away = False
    assert await world.endings.run(world.clock()) == 1
    assert world.hub.closed == [(f"license.{license_id}", "license changed")]
    for _ in range(3):
        assert await world.endings.run(world.clock()) == 0
        world.clock.forward(ENFORCED_FOR.total_seconds())
    assert world.store.recorded_endings == set()


async def test_an_announced_ending_of_nothing_is_forgotten(world: World) -> None:
    world.store.recorded_endings = {
        Ending(world.clock(), "lic_Zz0000000000"),
        Ending(world.clock(), "Zz12Cd"),
    }
    assert await world.endings.run(world.clock()) == 0
    world.clock.forward(ENFORCED_FOR.total_seconds())
    await world.endings.run(world.clock())
    assert (world.store.recorded_endings, world.hub.closed) == (set(), [])


async def test_one_failure_does_not_keep_the_others_open(world: World) -> None:
    first, second = await world.license(), await world.license()
    world.hub.away = True
    for license_id in (first, second):
        await world.service.revoke_license(license_id)
    world.hub.away = False
    read = world.store.get_license

    async def damaged(license_id: str) -> object:
        if license_id == first:
            raise KeyStoreUnavailable("damaged")
        return await read(license_id)

    with patch.object(world.store, "get_license", damaged), pytest.raises(KeyStoreUnavailable):
        await world.endings.run(world.clock())
    assert world.hub.closed == [(f"license.{second}", "license revoked")]


async def test_without_redis_connections_are_closed_all_the_same(world: World) -> None:
    license_id = await world.license()
    world.cache.away = world.audit.away = True
    world.hub.away = True
    await world.service.revoke_license(license_id)
    world.hub.away = False
    assert await world.endings.run(world.clock()) == 1
