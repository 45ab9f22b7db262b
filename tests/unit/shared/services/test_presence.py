"""Connections are counted exactly, over processes and simultaneous clients, and the counts heal."""

import asyncio
from functools import partial

import pytest

from shared.errors import AccessUrlUsed, ConnectionsExceeded, RealtimeUnavailable
from shared.services import full_licenses, presence
from tests.support.presence import LICENSE, World, background, outcome
from tests.support.presence import opening as an_opening

LIMIT = 3


@pytest.fixture
def world() -> World:
    return World()


opening = partial(an_opening, limit=LIMIT)


async def test_simultaneous_clients_of_two_processes_get_exactly_the_limit(world: World) -> None:
    asked = [opening(f"c{n}") for n in range(200)]
    found = await asyncio.gather(
        *(outcome((world.first, world.second)[n % 2], each) for n, each in enumerate(asked))
    )
    assert sorted(set(found)) == ["connections_exceeded", "opened"]
    assert found.count("opened") == LIMIT == len(world.table.rows)
    assert world.counted["connections_exceeded"] == 197


async def test_one_url_opens_one_connection_whatever_the_limit(world: World) -> None:
    asked = [opening(f"c{n}", nonce="one", limit=1_000) for n in range(500)]
    found = await asyncio.gather(
        *(outcome((world.first, world.second)[n % 2], each) for n, each in enumerate(asked))
    )
    assert (found.count("opened"), found.count("access_url_used")) == (1, 499)
    with pytest.raises(AccessUrlUsed, match="negotiate"):
        await world.process().open(opening("late", nonce="one", limit=1_000), "acct-1")


async def test_a_closed_connection_makes_room_and_its_url_stays_used(world: World) -> None:
    for n in range(LIMIT):
        await world.first.open(opening(f"c{n}"), "acct-1")
    world.list_all(world.table.rows)
    with pytest.raises(ConnectionsExceeded, match="3 open connections"):
        await world.second.open(opening("more"), "acct-1")
    await world.second.close("c0", "acct-1")
    assert await outcome(world.first, opening("again", nonce="n-c0")) == "access_url_used"
    assert await outcome(world.first, opening("more")) == "opened"


async def test_many_events_share_few_transactions(world: World) -> None:
    asked = [opening(f"c{n}", license_id=f"lic_Ab{n:010}") for n in range(1_000)]
    await asyncio.gather(*(world.first.open(each, "acct-1") for each in asked))
    await asyncio.gather(*(world.first.close(each.connection_id, "acct-1") for each in asked))
    assert world.table.rows == {}
    assert len(world.table.batches) <= 2 + 2_000 / presence.MAX_EVENTS_PER_TRANSACTION + 2


async def test_lost_reports_of_ends_are_found_when_a_license_seems_full(world: World) -> None:
    for n in range(LIMIT):
        await world.first.open(opening(f"c{n}"), "acct-1")
    world.list_all(["c2"])  # the others have ended, and nobody has reported it
    world.time += presence.LISTED_AFTER_S + 1
    assert await outcome(world.second, opening("more")) == "opened"
    assert world.table.of(LICENSE) == ["c2", "more"]


async def test_connections_too_young_to_be_listed_are_not_forgotten(world: World) -> None:
    for n in range(LIMIT):
        await world.first.open(opening(f"c{n}"), "acct-1")
    world.list_all([])
    assert await outcome(world.first, opening("more")) == "connections_exceeded"
    assert len(world.table.of(LICENSE)) == LIMIT


async def test_a_connection_that_closes_while_the_service_lists_it_is_not_counted_again(world: World) -> None:
    for n in range(LIMIT):
        await world.first.open(opening(f"c{n}"), "acct-1")
    world.list_all(world.table.rows)
    world.while_listing = partial(world.second.close, "c0", "acct-1")
    await outcome(world.first, opening("more"))
    assert "c0" not in world.table.of(LICENSE)


async def test_a_full_license_is_compared_once_in_a_while(world: World) -> None:
    for n in range(LIMIT):
        await world.first.open(opening(f"c{n}"), "acct-1")
    world.list_all(world.table.rows)
    for n in range(20):
        await outcome(world.first, opening(f"d{n}"))
    assert world.lists == 1
    world.time += presence.COMPARE_EVERY_S
    await outcome(world.first, opening("e"))
    assert world.lists == 2


async def test_the_timer_forgets_what_has_ended_and_counts_what_was_not(world: World) -> None:
    for name in ("c0", "c1"):
        await world.first.open(opening(name), "acct-1")
    world.list_all(["c1", "opened while Postgres was away"])
    assert await world.second.reconcile() == 0, "compared a moment ago"
    world.time += presence.COMPARED_FOR_S + 1
    assert await world.second.reconcile() == 1
    assert world.table.of(LICENSE) == ["c1", "opened while Postgres was away"]
    assert await world.second.reconcile() == 0
    assert world.lists == 1
    assert world.table.pruned == [600.0] * 3


async def test_a_hub_that_does_not_answer_stops_the_timer_and_forgets_nobody(world: World) -> None:
    for n in range(LIMIT):
        await world.first.open(opening(f"c{n}"), "acct-1")
    world.time += 60
    world.hub_away = True
    with pytest.raises(RealtimeUnavailable):
        await world.first.reconcile()
    assert await outcome(world.first, opening("more")) == "connections_exceeded"
    assert len(world.table.of(LICENSE)) == LIMIT


async def test_without_postgres_the_limit_opens_is_counted_and_logged_once(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.away = True
    for n in range(10):
        assert await outcome(world.first, opening(f"c{n}")) == "opened"
    await world.first.close("c0", "acct-1")
    assert world.counted == {"connections_uncounted": 10}
    assert [record.getMessage() for record in caplog.records] == [
        "connections open and close uncounted: refused"
    ]
    world.away = False
    await world.first.open(opening("d"), "acct-1")
    await background()
    world.away = True
    await world.first.open(opening("e"), "acct-1")
    assert len(caplog.records) == 2


async def test_refusals_of_a_license_are_logged_once_a_minute_with_its_account(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    await world.first.open(opening("c", limit=1), "acct-1")
    world.list_all(["c"])
    for _ in range(5):
        await outcome(world.first, opening("d", limit=1))
    world.time += full_licenses.LOG_EVERY_S
    await outcome(world.first, opening("d", limit=1))
    first, second = [record.getMessage() for record in caplog.records]
    assert "account acct-1" in first
    assert f"license {LICENSE} has 1 open; 0 more" in first
    assert "4 more were refused" in second


async def test_a_defect_fails_its_callers_and_nobody_waits_for_ever(world: World) -> None:
    async def broken(*_: object) -> None:
        raise RuntimeError("defect")

    world.table.record = broken  # type: ignore[method-assign, assignment]
    async with asyncio.timeout(2):
        with pytest.raises(RuntimeError, match="defect"):
            await world.first.open(opening("c"), "acct-1")
