from datetime import datetime, timedelta
from typing import Any
from unittest.mock import AsyncMock, patch

import pytest

from shared.domain.access.admission import decode_record
from shared.domain.access.keys import hash_key, parse_key
from shared.domain.access.licenses import (
    ALL_SCOPES,
    License,
    is_license_id,
    rehashed_key,
    shard_of_license_id,
)
from shared.errors import Conflict, KeyStoreUnavailable, NotFound, ValidationFailed
from shared.services.licenses import LicenseService
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


def errors(refused: pytest.ExceptionInfo[ValidationFailed]) -> list[tuple[str, str]]:
    return [(error.field, error.code) for error in refused.value.errors]


async def test_the_audit_says_what_was_created_and_what_follows_what(world: World) -> None:
    license_id = await world.license()
    await world.service.create_keys(license_id, 3, ("bot", "ops"))
    first = next(iter(world.store.keys))
    new, _ = await world.service.rotate_key(first, timedelta(hours=1))
    assert world.audit.details == [
        {"account": "acct-1", "plan": "standard"},
        {"count": 3, "first": first, "scopes": ["bot", "ops"]},
        {"count": 1, "first": new.key.public_id, "scopes": ["bot", "ops"]},
        {"successor": new.key.public_id},
    ]
    assert world.audit.entries[-1] == ("tester", "key rotated", first)


@pytest.mark.parametrize(
    ("changed", "field", "code"),
    [
        ({"account_id": ""}, "account_id", "invalid_format"),
        ({"account_id": ".a"}, "account_id", "invalid_format"),
        ({"account_id": "a" * 65}, "account_id", "invalid_format"),
        ({"plan": "Standard"}, "plan", "invalid_format"),
        ({"plan": "p" * 33}, "plan", "invalid_format"),
        ({"symbols": []}, "symbols", "out_of_range"),
        ({"symbols": [f"S{n}" for n in range(101)]}, "symbols", "out_of_range"),
        ({"symbols": ["es"]}, "symbols", "invalid_format"),
        ({"requests_per_minute": 0}, "requests_per_minute", "out_of_range"),
        ({"requests_per_minute": 100_001}, "requests_per_minute", "out_of_range"),
        ({"expires_at": Clock().time}, "expires_at", "out_of_range"),
        ({"expires_at": datetime(2030, 1, 1)}, "expires_at", "out_of_range"),  # noqa: DTZ001 - on purpose
    ],
)
async def test_a_license_out_of_bounds_is_refused(
    world: World, changed: dict[str, Any], field: str, code: str
) -> None:
    given = {"account_id": "acct-1", "symbols": ["ES"]} | changed
    with pytest.raises(ValidationFailed) as refused:
        await world.service.create_license(given.pop("account_id"), **given)
    assert errors(refused) == [(field, code)]
    assert world.audit.entries == []


@pytest.mark.parametrize(
    "changed",
    [
        {"account_id": "a"},
        {"account_id": "A9._-" + "a" * 59},
        {"plan": "p"},
        {"plan": "p9_-" + "p" * 28},
        {"symbols": [f"S{n}" for n in range(100)]},
        {"requests_per_minute": 1},
        {"requests_per_minute": 100_000},
        {"expires_at": Clock().time + timedelta(microseconds=1)},
    ],
)
async def test_the_ends_of_every_bound_are_accepted(world: World, changed: dict[str, Any]) -> None:
    given = {"account_id": "acct-1", "symbols": ["ES"]} | changed
    made = await world.service.create_license(given.pop("account_id"), **given)
    assert world.store.licenses == {made.license_id: made}
    for name, value in changed.items():
        assert getattr(made, name) == (tuple(value) if name == "symbols" else value)


async def test_a_symbol_is_licensed_once(world: World) -> None:
    made = await world.service.create_license("acct-1", symbols=["NQ", "ES", "NQ"])
    assert made.symbols == ("NQ", "ES")
    assert (made.plan, made.created_at, made.expires_at) == ("standard", world.clock(), None)


async def test_symbols_that_are_none_are_named(world: World) -> None:
    with pytest.raises(ValidationFailed) as refused:
        await world.service.create_license("acct-1", symbols=["es", "ES", "nq"])
    assert refused.value.errors[0].message == "Not a symbol: es, nq."


async def test_keys_are_made_by_the_thousands_and_one_by_one(world: World) -> None:
    license_id = await world.license()
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


@pytest.mark.parametrize("overlap", [timedelta(0), timedelta(days=30)])
async def test_a_rotation_overlaps_up_to_thirty_days(world: World, overlap: timedelta) -> None:
    old = await world.service.create_key(await world.license())
    await world.service.rotate_key(old.plain, overlap)
    assert world.store.keys[old.key.public_id].expires_at == world.clock() + overlap


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
    await world.service.rotate_key(old.key.public_id, timedelta(hours=1))
    _, grant = decode_record(world.cache.records[old.key.key_hash][2])
    assert grant.key.expires_at == world.clock() + timedelta(hours=1)
    world.cache.away = True
    _, effect = await world.service.rotate_key(old.key.public_id, timedelta(0))
    assert not effect.caches_told


async def test_what_ends_is_told_to_the_caches_under_every_hash(world: World) -> None:
    license_id = await world.license()
    created = await world.service.create_key(license_id)
    moved = rehashed_key(created.key, created.key.key_hash, "new", world.clock())
    world.store.keys[moved.public_id] = moved
    await world.service.suspend_license(license_id)
    assert set(world.cache.records) == {"new", created.key.key_hash}
    assert {limit for _, limit, _ in world.cache.records.values()} == {0}
    effect = await world.service.resume_license(license_id)
    assert (effect.license.status, effect.caches_told, effect.connections_closed) == ("active", True, True)
    assert {limit for _, limit, _ in world.cache.records.values()} == {100}


async def test_a_license_is_shown_with_its_keys(world: World) -> None:
    first, second = await world.license(), await world.license()
    keys = [await world.service.create_key(first) for _ in range(2)]
    await world.service.create_key(second)
    view = await world.service.show(first)
    assert view.keys == tuple(key.key for key in keys)


async def test_licenses_are_listed_up_to_a_bound(world: World) -> None:
    made = [await world.license() for _ in range(3)]
    assert [each.license_id for each in await world.service.list_licenses()] == made
    assert len(await world.service.list_licenses(2)) == 2
    asked: list[int] = []

    async def listed(limit: int) -> list[License]:
        asked.append(limit)
        return []

    world.store.list_licenses = listed  # type: ignore[method-assign]
    for limit in (1_000, 1_001, 5_000_000):
        await world.service.list_licenses(limit)
    await world.service.list_licenses()
    assert asked == [1_000] * 4


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


async def test_a_license_that_has_ended_takes_no_keys(world: World) -> None:
    license_id = await world.license(world.clock() + timedelta(seconds=1))
    world.clock.forward(1)
    await world.service.expire_due(world.clock())
    with pytest.raises(Conflict, match=f"The license {license_id} is expired and cannot have new keys"):
        await world.service.create_key(license_id)


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
