"""A license is changed, ends and works again: what is announced, told, closed, refused and audited."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from shared.domain.access.endings import Ending
from shared.domain.access.license_changes import (
    extended,
    with_notes,
    with_overrides,
    with_plan,
)
from shared.domain.access.licenses import ApiKey, License, license_id_of
from shared.domain.access.plans import Overrides
from shared.errors import Conflict, KeysExceeded, NotFound, ValidationFailed
from shared.services.license_keys import Effect
from tests.support.access_world import World as Processes
from tests.support.license_world import World, errors
from tests.support.licenses import changed

DAY = timedelta(days=1)
BOTH = Overrides(symbols=("ES", "NQ"))


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def fleet() -> Processes:
    return Processes()


def replaced(**values: Any) -> Callable[[License], License]:
    return lambda one: with_overrides(one, msgspec.structs.replace(one.overrides, **values))


async def change(world: World, license_id: str, change: Callable[[License], License]) -> Effect:
    return await world.service.change(license_id, change, "license changed")


async def test_a_change_is_told_audited_and_counted_once(world: World) -> None:
    license_id = await world.license()
    key = await world.service.create_key(license_id)
    effect = await change(world, license_id, replaced(requests_per_minute=600))
    assert effect == Effect(world.store.licenses[license_id])
    assert effect.license.revision == 2
    assert world.cache.records[key.key.key_hash][1].key == 600
    assert world.audit.entries[-1] == ("tester", "license changed", license_id)
    entries = len(world.audit.entries)
    again = await change(world, license_id, replaced(requests_per_minute=600))
    assert (again.license, len(world.audit.entries)) == (effect.license, entries)
    assert world.hub.closed == []
    assert world.store.recorded_endings == set()


async def test_what_redis_was_not_told_is_told_when_the_change_is_repeated(world: World) -> None:
    license_id = await world.license()
    key = await world.service.create_key(license_id)
    world.cache.away = True
    assert not (await change(world, license_id, replaced(requests_per_minute=600))).caches_told
    world.cache.away = False
    assert (await change(world, license_id, replaced(requests_per_minute=600))).caches_told
    assert world.cache.records[key.key.key_hash][1].key == 600


@pytest.mark.parametrize(
    ("values", "is_closed"),
    [
        ({"symbols": ("ES",)}, True),
        ({"symbols": ("ES", "CL")}, True),
        ({"signal_delay_s": 60}, True),
        ({"sessions": 1}, True),
        ({"session_required": True}, True),
        ({"symbols": ("NQ", "ES")}, False),
        ({"symbols": ("ES", "NQ", "CL")}, False),
        ({"requests_per_minute": 1, "keys": 1}, False),
    ],
)
async def test_sockets_that_hear_what_is_not_covered_any_more_are_closed(
    world: World, values: dict[str, Any], is_closed: bool
) -> None:
    license_id = await world.license()
    await change(world, license_id, replaced(**values))
    closed = [(f"license.{license_id}", "license changed")] if is_closed else []
    assert world.hub.closed == closed
    endings = {Ending(world.clock(), license_id)} if is_closed else set()
    assert world.store.recorded_endings == endings


async def test_each_new_end_is_announced_before_it_is_stored(world: World) -> None:
    license_id = await world.license()
    end, grace = world.clock() + 9 * DAY, world.clock() + 3 * DAY
    await change(world, license_id, lambda one: changed(one, expires_at=end))
    await change(world, license_id, lambda one: changed(one, grace_until=grace))
    assert world.store.recorded_endings == {Ending(end, license_id), Ending(grace, license_id)}
    await change(world, license_id, lambda one: changed(one, expires_at=world.clock()))
    assert Ending(world.clock(), license_id) in world.store.recorded_endings
    assert world.hub.closed == [(f"license.{license_id}", "license changed")]


@pytest.mark.parametrize(
    ("change_", "field", "code"),
    [
        (lambda one: with_plan(one, "gold"), "plan", "unknown_value"),
        (replaced(symbols=("ES", "XX")), "symbols", "unknown_value"),
        (replaced(symbols=("es",)), "symbols", "invalid_format"),
        (replaced(keys=0), "keys", "out_of_range"),
        (lambda one: with_notes(one, "x" * 2_001), "notes", "out_of_range"),
        (lambda one: msgspec.structs.replace(one, email="nobody"), "email", "invalid_format"),
        (lambda one: msgspec.structs.replace(one, discord_user_id="me"), "discord_user_id", "invalid_format"),
    ],
)
async def test_a_change_to_what_no_license_can_have_is_refused(
    world: World, change_: Callable[[License], License], field: str, code: str
) -> None:
    license_id = await world.license()
    before = world.store.licenses[license_id]
    with pytest.raises(ValidationFailed) as refused:
        await change(world, license_id, change_)
    assert errors(refused) == [(field, code)]
    assert world.store.licenses[license_id] is before


async def test_a_license_whose_plan_is_gone_can_be_extended_and_moved(world: World) -> None:
    license_id = await world.license(world.clock() + DAY)
    gone = msgspec.structs.replace(world.store.licenses[license_id], plan="vip")
    world.store.licenses[license_id] = gone
    await change(world, license_id, lambda one: extended(one, DAY, world.clock()))
    with pytest.raises(ValidationFailed):
        await change(world, license_id, lambda one: with_plan(one, "vip2"))
    assert (await change(world, license_id, lambda one: with_plan(one, "pro"))).license.plan == "pro"


async def test_a_change_of_nothing_says_so(world: World) -> None:
    with pytest.raises(NotFound):
        await change(world, "lic_Ab0123456789", lambda one: one)


@pytest.mark.parametrize("redis_is_up", [True, False])
async def test_an_extended_license_works_again_in_every_process(fleet: Processes, redis_is_up: bool) -> None:
    """At once while Redis is up, also where only the refusal is known; within 5 s without Redis."""
    bot = await fleet.bot(limit=100, expires_in_s=60)
    processes = [fleet.access, fleet.process(), fleet.process()]

    async def codes() -> set[str]:
        outcomes = await asyncio.gather(
            *(each.admit(f"Bearer {bot.plain}", "bot") for each in processes), return_exceptions=True
        )
        return {getattr(outcome, "code", "in") for outcome in outcomes}

    await processes[0].admit(f"Bearer {bot.plain}", "bot")
    await processes[1].admit(f"Bearer {bot.plain}", "bot")
    fleet.clock.forward(60)
    assert await codes() == {"license_expired"}, "the third has seen nothing but the refusal"
    fleet.cache.away = not redis_is_up
    assert await codes() == {"license_expired"}
    effect = await fleet.licenses.change(
        bot.key.license_id, lambda one: extended(one, DAY, fleet.clock()), "license extended"
    )
    assert effect.caches_told == redis_is_up
    if not redis_is_up:
        fleet.clock.forward(5)
    assert await codes() == {"in"}
    fleet.cache.away = False
    assert await codes() == {"in"}, "and when Redis comes back with the record from before"


async def test_a_failed_payment_refuses_from_the_end_of_its_grace_until_it_is_paid(world: World) -> None:
    license_id = await world.license(world.clock() + 30 * DAY)
    key = await world.service.create_key(license_id)
    await change(world, license_id, lambda one: changed(one, grace_until=world.clock() + DAY))
    assert await world.endings.run(world.clock()) == 0
    world.clock.forward(DAY.total_seconds())
    assert await world.endings.run(world.clock()) == 1
    assert world.hub.closed == [(f"license.{license_id}", "license suspended")]
    stored = world.store.licenses[license_id]
    assert (stored.status, stored.suspended_by) == ("suspended", "payment")
    assert world.audit.entries[-1] == ("timer", "license suspended", license_id)
    assert world.cache.records[key.key.key_hash][1].key == 0
    paid = await change(world, license_id, lambda one: extended(one, 30 * DAY, world.clock()))
    assert paid.license.status == "active"
    assert world.cache.records[key.key.key_hash][1].key == 100
    assert await world.endings.run(world.clock()) == 0, "the ending is over: no socket is closed again"


async def test_the_same_reference_makes_one_license(world: World) -> None:
    given: dict[str, Any] = {
        "overrides": BOTH,
        "expires_at": world.clock() + 30 * DAY,
        "reference": "stripe:sub_1",
        "email": "a@b.cd",
    }
    made = await world.service.create_license("acct-1", **given)
    assert made.license_id == license_id_of("stripe:sub_1")
    assert await world.service.create_license("acct-1", **given) == made
    world.clock.forward(3600)
    assert (
        await world.service.create_license("acct-1", **given | {"expires_at": world.clock() + 30 * DAY})
        == made
    ), "the same span again"
    for values in ({"plan": "pro"}, {"email": None}, {"expires_at": None}, {"overrides": Overrides()}):
        (name,) = values
        with pytest.raises(Conflict, match=f"with another value of {name}. Change that license"):
            await world.service.create_license("acct-1", **given | values)
    with pytest.raises(Conflict, match="account_id, plan"):
        await world.service.create_license("acct-2", **given | {"plan": "pro"})
    assert [action for _, action, _ in world.audit.entries] == ["license created"]
    assert (await world.service.create_license("acct-1", **given | {"reference": None})) != made


async def test_two_creations_at_once_under_one_reference_make_one_license(world: World) -> None:
    known: list[License] = []

    async def taken(license_: License) -> None:
        known.append(msgspec.structs.replace(license_, created_at=world.clock() - timedelta(seconds=1)))
        world.store.licenses[license_.license_id] = known[0]
        raise Conflict("It exists already.")

    world.store.add_license = taken  # type: ignore[method-assign] # the other one was first
    assert await world.service.create_license("acct-1", reference="r") is known[0]


async def test_a_license_has_as_many_valid_keys_as_its_terms_say(world: World) -> None:
    license_id = await world.license()
    await change(world, license_id, replaced(keys=2))
    first, second = [await world.service.create_key(license_id) for _ in range(2)]
    with pytest.raises(KeysExceeded, match="may have 2 valid keys at once, and has 2: ") as refused:
        await world.service.create_key(license_id)
    assert first.key.public_id in refused.value.detail
    with pytest.raises(KeysExceeded):
        await world.service.create_keys(license_id, 1)
    await world.service.revoke_key(first.key.public_id)
    await world.service.create_key(license_id, expires_at=world.clock() + DAY)
    new, _ = await world.service.rotate_key(second.key.public_id, DAY)
    newer, _ = await world.service.rotate_key(new.key.public_id, DAY)
    with pytest.raises(KeysExceeded, match="may have 2 replaced keys that still work, and has 2: "):
        await world.service.rotate_key(newer.key.public_id, DAY)
    with pytest.raises(KeysExceeded):
        await world.service.create_key(license_id)
    world.clock.forward(DAY.total_seconds())
    await world.service.create_key(license_id)
    assert world.store.keys[second.key.public_id].successor == new.key.public_id


async def test_keys_that_are_added_at_the_same_time_do_not_pass_the_limit(world: World) -> None:
    license_id = await world.license()
    await change(world, license_id, replaced(keys=3))
    read = world.store.keys_of

    async def slow(license_id: str) -> list[ApiKey]:
        found = await read(license_id)
        await asyncio.sleep(0)
        return found

    world.store.keys_of = slow  # type: ignore[method-assign]
    outcomes = await asyncio.gather(
        *(world.service.create_key(license_id) for _ in range(6)), return_exceptions=True
    )
    made = [each for each in outcomes if not isinstance(each, BaseException)]
    assert {type(each) for each in outcomes} >= {KeysExceeded}
    valid = [key for key in world.store.keys.values() if key.status == "active"]
    assert len(made) == len(valid) <= 3


async def test_a_key_that_two_rotate_at_once_has_one_successor(world: World) -> None:
    old = await world.service.create_key(await world.license())
    add = world.store.add_keys

    async def slow(keys: Sequence[ApiKey]) -> None:
        await add(keys)
        await asyncio.sleep(0)

    world.store.add_keys = slow  # type: ignore[method-assign]
    outcomes = await asyncio.gather(
        *(world.service.rotate_key(old.key.public_id, DAY) for _ in range(3)), return_exceptions=True
    )
    (rotated,) = [each for each in outcomes if not isinstance(each, BaseException)]
    assert [type(each) for each in outcomes].count(Conflict) == 2
    valid = {key.public_id for key in world.store.keys.values() if key.status == "active"}
    assert valid == {old.key.public_id, rotated[0].key.public_id}
