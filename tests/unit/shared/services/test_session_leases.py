"""Calls and open connections keep a session; a bot that lost it learns that, and an outage refuses nobody."""

import asyncio
from typing import Any

import pytest

from shared.domain.access.connections import Opening
from shared.domain.access.sessions import LEASE, NOTICED_WITHIN_S, RENEW_EVERY_S, Session
from shared.errors import SessionLost, SessionTaken
from shared.services import session_leases
from tests.support.memory_connections import MemoryConnections
from tests.support.session_world import START, Process, World


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    made = World()
    made.no_waiting(monkeypatch)
    return made


async def call(world: World, session: Session, process: Process | None = None) -> None:
    """One call of the bot, and what follows in the background."""
    process = process or world.first
    process.leases.note(world.grant, session.session_id)
    await process.settle()


async def connect(world: World, session: Session, connection_id: str, **changed: Any) -> None:
    record = world.sessions.licenses[world.license_id][session.session_id]
    opening = Opening(connection_id, world.license_id, connection_id, 10, session.session_id, record)
    for name, value in changed.items():
        object.__setattr__(opening, name, value)
    await world.table.record([opening], [])


async def test_calls_keep_a_session_for_as_long_as_they_come(world: World) -> None:
    session = await world.take()
    for _ in range(10):
        world.elapsed_s += 50
        await call(world, session, world.second)
    with pytest.raises(SessionTaken):
        await world.take("bot-2")


async def test_many_calls_cost_one_renewal(world: World) -> None:
    sessions = [await world.take(symbols=["ES"]), await world.take("bot-2", symbols=["NQ"])]
    for session in sessions * 100:
        world.first.leases.note(world.grant, session.session_id)
    await world.first.settle()
    assert world.sessions.renewed == [], "they were just taken"
    world.elapsed_s += RENEW_EVERY_S
    for session in sessions * 100:
        world.first.leases.note(world.grant, session.session_id)
    await world.first.settle()
    assert world.sessions.renewed == [2]


async def test_a_call_learns_in_time_that_another_bot_has_its_place(world: World) -> None:
    """The other process took it over; this one asks again before NOTICED_WITHIN_S is over."""
    session = await world.take()
    await call(world, session)
    await world.take("bot-2", force=True, process=world.second)
    refused_after = None
    for second in range(NOTICED_WITHIN_S + 1):
        try:
            await call(world, session)
        except SessionLost as error:
            refused_after = second
            assert "The instance bot-2 took this session over at 2026-03-02T14:30:00Z" in error.detail
            break
        world.elapsed_s += 1
    assert refused_after is not None
    assert refused_after + session_leases.GATHERED_S <= NOTICED_WITHIN_S
    assert RENEW_EVERY_S + 0.5 + 1 <= NOTICED_WITHIN_S


async def test_a_session_of_another_license_or_of_nobody_is_no_session(world: World) -> None:
    session = await world.take()
    for invented in ("", "none", "ses_" + "0" * 19, "ses_" + "0" * 21, "ses_" + "-" * 20):
        with pytest.raises(SessionLost):
            world.first.leases.note(world.grant, invented)
    unknown = "ses_" + "0" * 20
    for _ in range(2):  # another process may bring it back
        await call(
            world,
            Session(session_id=unknown, instance="", version=None, symbols=(), since=START, expires_at=START),
        )
        world.elapsed_s += RENEW_EVERY_S
    world.elapsed_s -= 1
    with pytest.raises(SessionLost):
        world.first.leases.note(world.grant, unknown)
    other = World().grant
    object.__setattr__(other.license, "license_id", "lic_Zz0000000000")
    world.elapsed_s += RENEW_EVERY_S
    with pytest.raises(SessionLost):
        world.first.leases.note(other, session.session_id)
    await call(world, session)


async def test_after_an_outage_the_first_to_renew_gets_the_place(world: World) -> None:
    world.redis_away = True
    first = await world.take()
    second = await world.take("bot-2", process=world.second)
    world.redis_away = False
    world.elapsed_s += RENEW_EVERY_S
    await call(world, first)
    world.second.leases.note(world.grant, second.session_id)
    await world.second.settle()
    with pytest.raises(SessionLost, match="bot-1 has its place"):
        world.second.leases.note(world.grant, second.session_id)
    assert [each.instance for each in (await world.first.service.look(world.grant)).sessions] == ["bot-1"]


async def test_a_session_given_in_an_outage_is_stored_afterwards_without_a_call_of_its_own(
    world: World,
) -> None:
    world.redis_away = True
    given = await world.take(symbols=["ES"])
    world.redis_away = False
    await world.take("bot-2", symbols=["NQ"])
    await world.first.settle()
    stored = await world.second.service.look(world.grant)
    assert given.session_id in [each.session_id for each in stored.sessions]


async def test_a_session_given_in_an_outage_is_stored_by_a_process_that_nobody_calls_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_leases, "RENEW_EVERY_S", 0.0)
    world.redis_away = True
    given = await world.take()
    for _ in range(3):
        await asyncio.sleep(0)
    world.redis_away = False
    while world.first.leases._bringing is not None:
        await world.first.leases._bringing
        await world.first.settle()
    stored = await world.second.service.look(world.grant)
    assert [each.session_id for each in stored.sessions] == [given.session_id]
    assert world.first.counted["sessions_unchecked"] >= 2


async def test_an_outage_lets_no_bot_connect_whose_session_is_known_to_be_over(world: World) -> None:
    session = await world.take()
    await world.take("bot-2", force=True)
    world.redis_away = True
    with pytest.raises(SessionLost, match="bot-2 took this session over"):
        await world.first.leases.confirm(world.grant, session.session_id)
    assert await world.second.leases.confirm(world.grant, session.session_id) is None


async def test_an_emptied_redis_gets_the_sessions_back(world: World) -> None:
    session = await world.take()
    world.sessions.licenses.clear()
    world.elapsed_s += RENEW_EVERY_S
    await call(world, session)
    with pytest.raises(SessionTaken):
        await world.take("bot-2")


async def test_an_outage_is_logged_once(world: World, caplog: pytest.LogCaptureFixture) -> None:
    session = await world.take()
    world.redis_away = True
    for _ in range(5):
        world.elapsed_s += RENEW_EVERY_S
        await call(world, session)
    assert world.first.counted["sessions_unchecked"] == 5
    assert len([record for record in caplog.records if "sessions are not checked" in record.message]) == 1


async def test_open_connections_keep_their_sessions_without_a_call(world: World) -> None:
    session = await world.take()
    await connect(world, session, "c-1")
    for _ in range(9):
        world.elapsed_s += 20
        assert await world.second.connected.renew() == 0
    assert (await world.first.service.look(world.grant)).sessions != []
    await world.table.record([], ["c-1"])
    world.elapsed_s += LEASE.total_seconds() + 1
    assert await world.second.connected.renew() == 0
    assert (await world.first.service.look(world.grant)).sessions == []


async def test_the_timer_closes_the_connection_of_a_session_that_is_over(world: World) -> None:
    session = await world.take()
    await connect(world, session, "c-1")
    world.connections.away = True
    await world.take("bot-2", force=True)
    assert await world.second.connected.renew() == 1
    world.connections.away = False
    assert await world.second.connected.renew() == 1
    assert world.connections.reasons(session) == ["session taken over by bot-2"]


async def test_the_timer_brings_sessions_back_to_an_emptied_redis(world: World) -> None:
    session = await world.take()
    await connect(world, session, "c-1")
    world.sessions.licenses.clear()
    fresh = Process(world, world.sessions)
    assert await fresh.connected.renew() == 0
    assert [each.session_id for each in (await fresh.service.look(world.grant)).sessions] == [
        session.session_id
    ]


async def test_an_unknown_session_gets_a_second_run_before_its_connection_is_closed(world: World) -> None:
    """Given in an outage: its process brings it back within seconds."""
    world.redis_away = True
    session = await world.take()
    await world.table.record([Opening("c-1", world.license_id, "n-1", 10, session.session_id, None)], [])
    world.redis_away = False
    assert await world.second.connected.renew() == 0
    assert await world.second.connected.renew() == 1
    assert world.connections.reasons(session) == ["session ended"]


async def test_a_session_has_one_connection_the_youngest(world: World) -> None:
    session = await world.take()
    await connect(world, session, "c-1")
    world.elapsed_s += 1
    await connect(world, session, "c-2")
    await world.first.connected.renew()
    assert world.connections.closed == [("c-1", "session connected again")]


async def test_sessions_come_in_pages(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.services.connected_sessions.PAGE", 2)
    world.table = world.first.connected._store = MemoryConnections()
    for number in range(5):
        opening = Opening(f"c-{number}", world.license_id, f"n-{number}", 10, f"ses_{number:020}", None)
        await world.table.record([opening], [])
    await world.first.connected.renew()
    assert world.sessions.renewed == [2, 2, 1]
