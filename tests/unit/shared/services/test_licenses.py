from datetime import datetime, timedelta

import pytest

from shared.domain.access.keys import hash_key, parse_key
from shared.domain.access.licenses import ALL_SCOPES, Grant, is_license_id, shard_of_license_id
from shared.domain.access.rate_limit import RateState
from shared.errors import Conflict, NotFound, ValidationFailed
from shared.services.licenses import LicenseService, own_license
from tests.support.access_fakes import Clock, FakeAudit, FakeCache, FakeHub, FakeKeyStore

PEPPER = b"p" * 32


class World:
    def __init__(self) -> None:
        self.clock = Clock()
        self.cache = FakeCache(self.clock)
        self.store = FakeKeyStore()
        self.audit = FakeAudit()
        self.hub = FakeHub()
        self.service = LicenseService(
            store=self.store,
            cache=self.cache,
            connections=self.hub,
            audit=self.audit,
            actor="tester",
            pepper=PEPPER,
            now=self.clock,
        )

    async def license(self, expires_at: datetime | None = None) -> str:
        made = await self.service.create_license("acct-1", symbols=["ES", "NQ"], expires_at=expires_at)
        return made.license_id


@pytest.fixture
def world() -> World:
    return World()


async def test_a_new_license_is_active_with_the_default_limit(world: World) -> None:
    view = await world.service.show(await world.license())
    assert is_license_id(view.license.license_id)
    assert (view.license.status, view.license.requests_per_minute) == ("active", 100)
    assert view.license.symbols == ("ES", "NQ")
    assert view.keys == ()


async def test_every_bad_field_is_named(world: World) -> None:
    with pytest.raises(ValidationFailed) as refused:
        await world.service.create_license(
            "no spaces allowed",
            symbols=["ES", "not a symbol"],
            plan="",
            requests_per_minute=0,
            expires_at=world.clock(),
        )
    fields = {error.field for error in refused.value.errors}
    assert fields == {"account_id", "symbols", "plan", "requests_per_minute", "expires_at"}
    assert world.store.licenses == {}


async def test_a_key_is_stored_as_its_hash_only(world: World) -> None:
    license_id = await world.license()
    created = await world.service.create_key(license_id, ALL_SCOPES)
    assert parse_key(created.plain).public_id == created.key.public_id
    assert created.key.key_hash == hash_key(created.plain, PEPPER)
    assert created.key.public_id.startswith(shard_of_license_id(license_id))
    assert created.plain[14:] not in repr(world.store.keys)
    assert created.plain not in repr(created)


async def test_many_keys_are_stored_in_transactions_of_a_hundred(world: World) -> None:
    plain = await world.service.create_keys(await world.license(), 250)
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
    await world.service.rotate_key(old.key.public_id, timedelta(hours=5))
    assert world.store.keys[old.key.public_id].expires_at == end
    assert world.hub.closed == []


async def test_a_revoked_key_cannot_be_rotated(world: World) -> None:
    old = await world.service.create_key(await world.license())
    await world.service.revoke_key(old.key.public_id)
    with pytest.raises(Conflict):
        await world.service.rotate_key(old.key.public_id, timedelta(0))
    assert len(world.store.keys) == 1
    with pytest.raises(ValidationFailed):
        await world.service.rotate_key(old.key.public_id, timedelta(days=31))


async def test_revoking_closes_the_connections(world: World) -> None:
    license_id = await world.license()
    key = await world.service.create_key(license_id)
    effect = await world.service.revoke_key(key.plain)
    assert (effect.caches_told, effect.connections_closed) == (True, True)
    await world.service.suspend_license(license_id)
    await world.service.revoke_license(license_id)
    assert [reason for _, reason in world.hub.closed] == [
        "key revoked",
        "license suspended",
        "license revoked",
    ]


async def test_a_revocation_stands_when_caches_and_realtime_are_away(world: World) -> None:
    license_id = await world.license()
    await world.service.create_key(license_id)
    world.cache.away = world.hub.away = True
    effect = await world.service.revoke_license(license_id)
    assert (effect.caches_told, effect.connections_closed) == (False, False)
    assert world.store.licenses[license_id].status == "revoked"


async def test_a_revoked_license_neither_resumes_nor_takes_keys(world: World) -> None:
    license_id = await world.license()
    await world.service.revoke_license(license_id)
    for attempt in (world.service.resume_license, world.service.suspend_license, world.service.create_key):
        with pytest.raises(Conflict):
            await attempt(license_id)


async def test_changes_are_idempotent(world: World) -> None:
    license_id = await world.license()
    for change in (
        world.service.resume_license,
        world.service.suspend_license,
        world.service.suspend_license,
    ):
        await change(license_id)
    assert world.store.licenses[license_id].revision == 2


@pytest.mark.parametrize("name", ["lic_doesnotexist", "", "nonsense"])
async def test_what_is_not_there_is_not_found(world: World, name: str) -> None:
    for attempt in (
        world.service.show,
        world.service.create_key,
        world.service.revoke_key,
        world.service.revoke_license,
        world.service.suspend_license,
    ):
        with pytest.raises(NotFound):
            await attempt(name)


async def test_expiry_closes_connections_once_and_retries_until_it_could(world: World) -> None:
    due = await world.license(world.clock() + timedelta(seconds=10))
    await world.license(world.clock() + timedelta(days=1))
    await world.license()
    assert await world.service.expire_due(world.clock()) == []
    world.clock.forward(10)
    world.hub.away = True
    assert await world.service.expire_due(world.clock()) == []
    assert world.store.licenses[due].status == "active"
    world.hub.away = False
    assert [each.license_id for each in await world.service.expire_due(world.clock())] == [due]
    assert await world.service.expire_due(world.clock()) == []
    assert world.hub.closed == [("acct-1", "license expired")]
    assert world.store.licenses[due].status == "expired"


async def test_own_license_tells_the_holder_what_concerns_it(world: World) -> None:
    license_id = await world.license()
    key = await world.service.create_key(license_id)
    view = await world.service.show(license_id)
    grant = Grant(license=view.license, key=key.key)
    own = own_license(grant, RateState(100, 42, 1.0))
    assert (own.account_id, own.requests_remaining, own.key_scopes) == ("acct-1", 42, ("bot",))
    assert own_license(grant, None).requests_remaining is None
    assert not hasattr(own, "key_hash")


async def test_every_change_is_audited_under_its_actor(world: World) -> None:
    license_id = await world.license()
    created = await world.service.create_key(license_id)
    await world.service.suspend_license(license_id)
    await world.service.resume_license(license_id)
    await world.service.revoke_key(created.key.public_id)
    await world.service.revoke_license(license_id)
    assert world.audit.entries == [
        ("tester", "license created", license_id),
        ("tester", "keys created", license_id),
        ("tester", "license suspended", license_id),
        ("tester", "license resumed", license_id),
        ("tester", "key revoked", created.key.public_id),
        ("tester", "license revoked", license_id),
    ]


async def test_a_revocation_does_not_wait_for_the_audit(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    license_id = await world.license()
    world.audit.away = True
    effect = await world.service.revoke_license(license_id)
    assert effect.license.status == "revoked"
    assert "not audited: license revoked by tester" in caplog.text
