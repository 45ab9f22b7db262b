"""A place of a license has one bot: who gets it, who is refused, and who is told."""

import pytest

from shared.adapters.notifications.files import shipped_templates
from shared.errors import (
    CacheUnavailable,
    NotFound,
    SessionLost,
    SessionTaken,
    SymbolNotLicensed,
    ValidationFailed,
)
from shared.services.sessions import NegotiateRequest
from tests.support.session_world import World
from tests.support.shown_values import values_lacking


@pytest.fixture
def world() -> World:
    return World()


async def test_a_bot_gets_a_place_of_every_symbol(world: World) -> None:
    session = await world.take(version="1.2")
    assert (session.instance, session.version, session.symbols) == ("bot-1", "1.2", ("ES", "NQ"))
    assert (session.expires_at - session.since).total_seconds() == 60
    assert session.is_confirmed
    looked = await world.second.service.look(world.grant)
    assert (looked.sessions, looked.places) == ([session], 1)


async def test_a_second_bot_is_told_who_holds_the_place_and_how_long_to_wait(world: World) -> None:
    await world.take(version="1.2")
    world.elapsed_s += 20
    with pytest.raises(SessionTaken) as refused:
        await world.take("bot-2", process=world.second)
    assert "bot-1 (version 1.2) holds ES, NQ since 2026-03-02T14:30:00Z" in refused.value.detail
    assert refused.value.retry_after_s == 40
    assert world.fights == [("acct-1", "refused")]
    assert world.second.counted["sessions_refused"] == 1
    assert world.connections.closed == []


async def test_two_bots_that_take_over_from_each_other_are_told_of_once_in_a_while(world: World) -> None:
    """Each event is a mail to the holder, and mails of all customers go through one server."""
    for _ in range(10):
        await world.take("bot-1", force=True)
        await world.take("bot-2", force=True)
    assert len(world.fights) == 19
    assert len({event.event_id for event in world.events}) == 1, "a repeated id is stored once"
    world.elapsed_s += 600
    await world.take("bot-1")
    await world.take("bot-2", force=True)
    assert len({event.event_id for event in world.events}) == 2


async def test_all_symbols_or_none(world: World) -> None:
    await world.take(symbols=["NQ"])
    with pytest.raises(SessionTaken):
        await world.take("bot-2")
    session = await world.take("bot-2", symbols=["ES"])
    assert session.symbols == ("ES",)


async def test_the_plan_says_how_many_places_a_symbol_has() -> None:
    world = World(places=2)
    await world.take()
    await world.take("bot-2")
    with pytest.raises(SessionTaken):
        await world.take("bot-3")


async def test_force_takes_the_place_over_and_tells_the_other_bot(world: World) -> None:
    held = await world.take(version="1.2")
    taken = await world.take("bot-2", force=True, process=world.second)
    assert world.connections.reasons(held) == ["session taken over by bot-2"]
    (event,) = world.events
    assert (event.kind, event.account_id, event.license_id) == (
        "session_taken_over",
        "acct-1",
        world.license_id,
    )
    assert values_lacking(event) == set()
    shown = shipped_templates().render(event, "mail")
    assert shown.title == "Your session for ES, NQ was taken over"
    assert "for ES, NQ, held by bot-1 (1.2), was taken over by bot-2." in shown.text
    assert world.fights == [("acct-1", "taken_over")]
    with pytest.raises(SessionLost, match="The instance bot-2 took this session over"):
        await world.second.leases.confirm(world.grant, held.session_id)
    assert await world.second.leases.confirm(world.grant, taken.session_id) is not None


async def test_a_restarted_bot_gets_its_own_place_at_once(world: World) -> None:
    held = await world.take()
    again = await world.take(process=world.second)
    assert again.session_id != held.session_id
    assert world.connections.reasons(held) == ["session taken over by bot-1"]
    assert (world.events, world.fights) == ([], [("acct-1", "replaced")])


async def test_a_bot_that_connects_again_keeps_its_session(world: World) -> None:
    held = await world.take()
    world.elapsed_s += 30
    kept = await world.take(former=held, process=world.second, connects=True)
    assert (kept.session_id, kept.since) == (held.session_id, held.since)
    assert kept.expires_at > held.expires_at
    assert world.connections.reasons(held) == ["session connects again"]
    assert world.fights == []


async def test_a_bot_that_takes_its_session_again_keeps_a_connection_that_hears_no_more_than_it_holds(
    world: World,
) -> None:
    held = await world.take()
    kept = await world.take(former=held, symbols=["NQ", "ES"])
    assert (kept.session_id, world.connections.closed) == (held.session_id, [])
    await world.take(former=held, symbols=["ES"])
    assert world.connections.reasons(held) == ["session connects again"]


async def test_a_place_is_free_when_its_session_expires_or_is_released(world: World) -> None:
    await world.take()
    world.elapsed_s += 61
    second = await world.take("bot-2")
    assert world.events == [], "nobody held it any more"
    released = await world.first.service.release(world.grant, second.session_id)
    again = await world.first.service.release(world.grant, second.session_id)
    assert (released.was_live, again.was_live) == (True, False)
    assert world.connections.reasons(second) == ["session ended"]
    with pytest.raises(SessionLost, match="was released"):
        world.first.leases.note(world.grant, second.session_id)
    await world.take("bot-3")


async def test_an_operator_sees_and_ends_sessions(world: World) -> None:
    held = await world.take()
    seen = await world.second.service.sessions_of(world.license_id)
    assert (seen.sessions, seen.places) == ([held], 1)
    ended = await world.second.service.end(world.license_id, held.session_id, "alice")
    assert ended.was_live
    assert world.audit.entries == [("alice", "session ended", world.license_id)]
    assert [event.values["taken_by"] for event in world.events] == ["an operator"]
    assert not (await world.second.service.end(world.license_id, held.session_id, "alice")).was_live
    with pytest.raises(NotFound):
        await world.second.service.sessions_of("lic_Nobody000000")
    await world.take("bot-2")


async def test_symbols_are_those_of_the_license(world: World) -> None:
    with pytest.raises(SymbolNotLicensed):
        await world.take(symbols=["ES", "CL"])
    with pytest.raises(ValidationFailed):
        await world.take(symbols=[])


async def test_a_plan_can_require_a_session(world: World) -> None:
    await world.first.service.negotiate(world.grant, NegotiateRequest())
    access = await world.first.service.negotiate(world.grant, NegotiateRequest(instance="bot-1"))
    assert access.session is not None
    assert world.connections.negotiated == [None, access.session.session_id]
    required = World()
    object.__setattr__(required.grant.terms, "session_required", True)
    with pytest.raises(ValidationFailed) as refused:
        await required.first.service.negotiate(required.grant, NegotiateRequest())
    assert [(error.field, error.code) for error in refused.value.errors] == [("instance", "missing")]


async def test_without_redis_nobody_is_refused(world: World) -> None:
    world.redis_away = True
    sessions = [await world.take(), await world.take("bot-2", process=world.second)]
    assert [session.is_confirmed for session in sessions] == [False, False]
    for session in sessions:
        world.first.leases.note(world.grant, session.session_id)
    with pytest.raises(CacheUnavailable):
        await world.first.service.look(world.grant)
    await world.first.settle()
    assert world.first.counted["sessions_unchecked"] == 2


async def test_without_the_hub_a_place_is_taken_over_all_the_same(world: World) -> None:
    held = await world.take()
    world.connections.away = True
    taken = await world.take("bot-2", force=True)
    assert (await world.first.service.look(world.grant)).sessions == [taken]
    with pytest.raises(SessionLost):
        world.first.leases.note(world.grant, held.session_id)
