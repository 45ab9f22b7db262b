"""The limit of connections holds through a flood and after an outage, and attempts cost nothing."""

import asyncio
from functools import partial

import pytest

from shared.domain.access.plans import STANDARD
from shared.errors import DatabaseBusy
from shared.services import full_licenses, presence
from tests.support.license_plans import PLANS
from tests.support.presence import LICENSE, World, background, outcome
from tests.support.presence import opening as an_opening

LIMIT = 3
PLANNED = PLANS[STANDARD].connections


@pytest.fixture
def world() -> World:
    return World()


opening = partial(an_opening, limit=LIMIT)


async def test_a_full_queue_of_ours_refuses_and_does_not_open_the_limit(world: World) -> None:
    """It let clients in uncounted, so a flood that filled the pool of connections opened every limit."""
    world.table.is_busy = True
    with pytest.raises(DatabaseBusy) as refused:
        await world.first.open(opening("c"), "acct-1")
    assert refused.value.retry_after_s == 1.0
    world.table.is_busy = False
    world.away = True
    assert await outcome(world.first, opening("d")) == "opened", "an outage is another matter"
    assert world.counted == {"connections_uncounted": 1}


async def test_more_clients_than_may_wait_are_refused(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(presence, "MAX_WAITING", 50)
    asked = [opening(f"c{n}", license_id=f"lic_Ab{n:010}") for n in range(80)]
    found = await asyncio.gather(*(outcome(world.first, each) for each in asked))
    assert (found.count("opened"), found.count("database_unavailable")) == (50, 30)
    assert len(world.table.rows) == 50
    assert world.counted == {}


async def flooded(world: World, count: int) -> list[str]:
    """That many connections of the license, which opened while Postgres was unavailable."""
    world.away = True
    names = [f"u{n:03}" for n in range(count)]
    for name in names:
        assert await outcome(world.first, opening(name, limit=PLANNED)) == "opened"
    world.away = False
    return names


@pytest.mark.parametrize("before", [0, 4])
async def test_after_an_outage_the_youngest_connections_above_the_limit_are_closed(
    world: World, before: int
) -> None:
    """Also if the license had none before, so that its name was in no row."""
    old = [f"c{n}" for n in range(before)]
    for name in old:
        await world.first.open(opening(name, limit=PLANNED), "acct-1")
    world.time += 60
    names = await flooded(world, 25)
    world.list_all(old + names)
    assert world.closed == []
    await world.first.close("another license's", "acct-1")
    await background()
    assert len(world.closed) == 25 + before - PLANNED
    assert set(world.closed).isdisjoint(old), "those that were counted stay"
    assert await outcome(world.second, opening("more", limit=PLANNED)) == "connections_exceeded"
    # They end, and are neither closed again nor counted.
    for name in list(world.closed):
        await world.second.close(name, "acct-1")
    world.list_all(sorted(world.table.rows))
    closed = len(world.closed)
    world.time += presence.COMPARED_FOR_S + 1
    await world.second.reconcile()
    await background()
    assert len(world.closed) == closed
    assert len(world.table.of(LICENSE)) == PLANNED


async def test_the_timer_closes_what_is_above_the_limit(world: World) -> None:
    await world.first.open(opening("c0", limit=PLANNED), "acct-1")
    world.list_all(["c0", *(f"u{n:02}" for n in range(PLANNED + 2))])
    world.time += presence.COMPARED_FOR_S + 1
    await world.second.reconcile()
    assert world.closed == [f"u{n:02}" for n in range(PLANNED - 1, PLANNED + 2)]


@pytest.mark.parametrize("away", ["hub", "licenses"])
async def test_what_cannot_be_closed_now_is_closed_by_a_later_comparison(world: World, away: str) -> None:
    names = await flooded(world, PLANNED + 5)
    world.list_all(names)
    setattr(world, f"{away}_away", True)
    await world.first.close("x", "acct-1")
    await background()
    assert world.closed == []
    setattr(world, f"{away}_away", False)
    world.time += presence.COMPARED_FOR_S + 1
    await world.first.close("y", "acct-1")
    await background()
    await world.second.reconcile()
    assert len(world.closed) == 5


async def test_a_plan_that_allows_more_closes_nothing(world: World) -> None:
    world.plan = "load"
    world.list_all(await flooded(world, 50))
    await world.first.close("x", "acct-1")
    await background()
    assert (world.closed, len(world.table.of(LICENSE))) == ([], 50)


async def test_attempts_on_a_full_license_cost_no_transaction_for_a_moment(world: World) -> None:
    for n in range(LIMIT):
        await world.first.open(opening(f"c{n}"), "acct-1")
    world.list_all(world.table.rows)
    assert await outcome(world.first, opening("d")) == "connections_exceeded"
    batches = len(world.table.batches)
    for n in range(1_000):
        assert await outcome(world.first, opening(f"e{n}")) == "connections_exceeded"
    assert len(world.table.batches) == batches
    assert world.counted["connections_exceeded"] == 1_001
    other = opening("f", license_id="lic_Zz0000000000")
    assert await outcome(world.first, other) == "opened", "another license is asked about"
    await world.second.close("c0", "acct-1")
    world.time += full_licenses.FULL_FOR_S
    assert await outcome(world.first, opening("d")) == "opened"


async def test_an_account_that_closes_a_connection_need_not_wait_for_its_place(world: World) -> None:
    for n in range(LIMIT):
        await world.first.open(opening(f"c{n}"), "acct-1")
    world.list_all(world.table.rows)
    assert await outcome(world.first, opening("d")) == "connections_exceeded"
    await world.first.close("another account's", "acct-2")
    batches = len(world.table.batches)
    assert await outcome(world.first, opening("d")) == "connections_exceeded"
    assert len(world.table.batches) == batches
    await world.first.close("c0", "acct-1")
    assert await outcome(world.first, opening("d")) == "opened"
