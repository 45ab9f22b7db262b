"""Keys are made, rotated and revoked; only their hashes are kept."""

from datetime import timedelta
from unittest.mock import AsyncMock, patch

import pytest

from shared.domain.access.admission import decode_record
from shared.domain.access.endings import Ending
from shared.domain.access.keys import hash_key, parse_key
from shared.domain.access.licenses import ALL_SCOPES, key_refusal, shard_of_license_id
from shared.domain.limits import ClockSkew
from shared.errors import Conflict, KeyStoreUnavailable, NotFound, ValidationFailed
from tests.support.license_world import PEPPER, World, errors


@pytest.fixture
def world() -> World:
    return World()


async def test_a_key_is_stored_as_its_hash_only(world: World) -> None:
    license_id = await world.license()
    created = await world.service.create_key(license_id, ALL_SCOPES)
    assert parse_key(created.plain).public_id == created.key.public_id
    assert created.key.key_hash == hash_key(created.plain, PEPPER)
    assert created.key.public_id.startswith(shard_of_license_id(license_id))
    assert created.plain[14:] not in repr(world.store.keys)
    assert created.plain not in repr(created)


async def test_many_keys_are_stored_in_transactions_of_a_hundred(world: World) -> None:
    plain = await world.service.create_keys(await world.license(plan="load"), 250)
    assert len(set(plain)) == 250
    assert world.store.transactions == [100, 100, 50]
    assert {hash_key(each, PEPPER) for each in plain} == {key.key_hash for key in world.store.keys.values()}


async def test_taken_public_ids_are_replaced(world: World) -> None:
    license_id = await world.license()
    world.store.taken = 2
    assert len(await world.service.create_keys(license_id, 3)) == 3
    world.store.taken = 99
    with pytest.raises(Conflict):
        await world.service.create_key(license_id)


@pytest.mark.parametrize("count", [0, -1, 10_001])
async def test_a_count_out_of_bounds_is_refused(world: World, count: int) -> None:
    license_id = await world.license()
    with pytest.raises(ValidationFailed):
        await world.service.create_keys(license_id, count)


async def test_an_unknown_scope_and_a_past_expiry_are_refused(world: World) -> None:
    license_id = await world.license()
    with pytest.raises(ValidationFailed):
        await world.service.create_key(license_id, ["root"])  # type: ignore[list-item] # that is the point
    with pytest.raises(ValidationFailed):
        await world.service.create_key(license_id, [])
    with pytest.raises(ValidationFailed):
        await world.service.create_key(license_id, expires_at=world.clock() - timedelta(seconds=1))


async def test_rotation_overlaps_and_never_lengthens_a_life(world: World) -> None:
    license_id = await world.license()
    old = await world.service.create_key(license_id, ("publisher", "ops"))
    new, effect = await world.service.rotate_key(old.key.public_id, timedelta(hours=1))
    assert effect.caches_told
    assert new.key.scopes == ("publisher", "ops")
    end = world.store.keys[old.key.public_id].expires_at
    assert end == world.clock() + timedelta(hours=1)
    with pytest.raises(Conflict, match=f"rotated before; {new.key.public_id} replaces it"):
        await world.service.rotate_key(old.key.public_id, timedelta(hours=5))
    assert world.store.keys[old.key.public_id].expires_at == end
    assert world.hub.closed == []
    world.clock.forward(3600)
    await world.endings.run(world.clock())
    assert world.hub.closed == [(f"key.{old.key.public_id}", "key expired")]


async def test_a_rotation_without_overlap_closes_the_old_key_as_a_revocation_does(world: World) -> None:
    license_id = await world.license()
    old, other = [await world.service.create_key(license_id) for _ in range(2)]
    new, effect = await world.service.rotate_key(old.key.public_id, timedelta(0))
    assert effect.connections_closed
    assert world.hub.closed == [(f"key.{old.key.public_id}", "key expired")]
    assert {other.key.public_id, new.key.public_id}.isdisjoint(
        ending.subject for ending in world.store.recorded_endings
    )
    world.hub.away = True
    _, effect = await world.service.rotate_key(other.key.public_id, timedelta(0))
    assert not effect.connections_closed
    _, effect = await world.service.rotate_key(new.key.public_id, timedelta(seconds=1))
    assert effect.connections_closed, "nothing is to be closed yet"


async def test_the_successor_of_a_key_that_ends_does_not_outlive_it(world: World) -> None:
    """Else the holder of a key for a week would have one for ever."""
    end = world.clock() + timedelta(days=7)
    old = await world.service.create_key(await world.license(), expires_at=end)
    new, _ = await world.service.rotate_key(old.key.public_id, timedelta(0))
    assert new.key.expires_at == end
    world.clock.forward(7 * 86_400)
    with pytest.raises(Conflict, match="has expired; create a new one"):
        await world.service.rotate_key(new.key.public_id, timedelta(0))


async def test_a_revoked_key_cannot_be_rotated(world: World) -> None:
    old = await world.service.create_key(await world.license())
    await world.service.revoke_key(old.key.public_id)
    with pytest.raises(Conflict):
        await world.service.rotate_key(old.key.public_id, timedelta(0))
    assert len(world.store.keys) == 1
    with pytest.raises(ValidationFailed):
        await world.service.rotate_key(old.key.public_id, timedelta(days=31))


async def test_keys_are_made_by_the_thousands_and_one_by_one(world: World) -> None:
    license_id = await world.license(plan="load")
    assert len(await world.service.create_keys(license_id, 1)) == 1
    assert len(await world.service.create_keys(license_id, 10_000)) == 10_000
    with pytest.raises(ValidationFailed) as refused:
        await world.service.create_keys(license_id, 10_001)
    assert errors(refused) == [("count", "out_of_range")]
    assert "from 1 to 10000 keys" in refused.value.errors[0].message


async def test_a_key_carries_what_was_asked_for(world: World) -> None:
    license_id = await world.license()
    end = world.clock() + timedelta(days=1)
    made = await world.service.create_key(license_id, ("ops", "bot", "ops"), expires_at=end)
    assert (made.key.scopes, made.key.expires_at) == (("ops", "bot"), end)
    assert (made.key.license_id, made.key.created_at) == (license_id, world.clock())
    assert (await world.service.create_key(license_id)).key.scopes == ("bot",)
    assert world.store.keys[made.key.public_id] == made.key


async def test_bad_scopes_and_expiries_are_named_together(world: World) -> None:
    license_id = await world.license()
    with pytest.raises(ValidationFailed) as refused:
        await world.service.create_key(license_id, ["root"], expires_at=world.clock())  # type: ignore[list-item]
    assert errors(refused) == [("scopes", "unknown_value"), ("expires_at", "out_of_range")]
    assert "bot, publisher, feeder, ops" in refused.value.errors[0].message


async def test_a_rotation_overlaps_up_to_thirty_days(world: World) -> None:
    old = await world.service.create_key(await world.license())
    await world.service.rotate_key(old.plain, timedelta(days=30))
    assert world.store.keys[old.key.public_id].expires_at == world.clock() + timedelta(days=30)


async def test_a_rotation_without_overlap_is_over_by_the_clock_of_every_server(world: World) -> None:
    old = await world.service.create_key(await world.license())
    await world.service.rotate_key(old.plain, timedelta(0))
    by_a_server_behind = world.clock() - ClockSkew.OPERATOR
    refused = key_refusal(world.store.keys[old.key.public_id], by_a_server_behind)
    assert refused is not None
    assert refused.code == "key_expired"
    assert world.store.recorded_endings == {Ending(world.clock(), old.key.public_id)}


@pytest.mark.parametrize("overlap", [timedelta(microseconds=-1), timedelta(days=30, microseconds=1)])
async def test_another_overlap_is_refused(world: World, overlap: timedelta) -> None:
    old = await world.service.create_key(await world.license())
    with pytest.raises(ValidationFailed) as refused:
        await world.service.rotate_key(old.key.public_id, overlap)
    assert errors(refused) == [("overlap", "out_of_range")]
    assert refused.value.errors[0].message == "Expected from 0 to 30 days."
    assert len(world.store.keys) == 1


async def test_a_rotation_tells_the_caches_the_end_of_the_old_key(world: World) -> None:
    old = await world.service.create_key(await world.license())
    new, _ = await world.service.rotate_key(old.key.public_id, timedelta(hours=1))
    _, grant = decode_record(world.cache.records[old.key.key_hash][2])
    assert grant.key.expires_at == world.clock() + timedelta(hours=1)
    world.cache.away = True
    _, effect = await world.service.rotate_key(new.key.public_id, timedelta(0))
    assert not effect.caches_told


async def test_keys_not_used_since_a_rotation_of_the_pepper_are_those_in_force(world: World) -> None:
    license_id = await world.license()
    end = world.clock() + timedelta(hours=1)
    old, ending, revoked = [
        await world.service.create_key(license_id, expires_at=expires_at) for expires_at in (None, end, None)
    ]
    await world.service.revoke_key(revoked.key.public_id)
    world.clock.forward(60)
    moment = world.clock()
    await world.service.create_key(license_id)
    assert await world.service.keys_hashed_before(moment) == [old.key, ending.key]
    world.clock.forward(59 * 60)
    assert await world.service.keys_hashed_before(moment) == [old.key]


async def test_a_key_is_named_by_its_beginning_alone(world: World) -> None:
    with pytest.raises(NotFound) as refused:
        await world.service.revoke_key("sc_live_abcdefSECRETSECRET")
    assert refused.value.detail == "There is no API key sc_live_abcdef."
    with pytest.raises(NotFound) as refused:
        await world.service.show("lic_" + "x" * 100)
    assert refused.value.detail == f"There is no license lic_{'x' * 60}."


async def test_only_a_taken_public_id_is_tried_again(world: World) -> None:
    license_id = await world.license()
    unavailable = AsyncMock(side_effect=KeyStoreUnavailable("away"))
    with patch.object(world.store, "add_keys", unavailable), pytest.raises(KeyStoreUnavailable):
        await world.service.create_key(license_id)
    assert unavailable.call_count == 1
    taken = AsyncMock(side_effect=Conflict("taken"))
    with patch.object(world.store, "add_keys", taken), pytest.raises(Conflict):
        await world.service.create_key(license_id)
    assert taken.call_count == 5


@pytest.mark.parametrize("public_id", ["Zz99Zz", "sc_live_Zz99Zz", "nonsense", ""])
async def test_a_key_that_was_never_issued_can_be_neither_rotated_nor_revoked(
    world: World, public_id: str
) -> None:
    for attempt in (world.service.rotate_key(public_id, timedelta(0)), world.service.revoke_key(public_id)):
        with pytest.raises(NotFound):
            await attempt
