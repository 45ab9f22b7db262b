"""Licenses are created, listed, changed and ended, and every change is audited and told to the caches."""

from datetime import datetime, timedelta
from typing import Any
from unittest.mock import AsyncMock, patch

import pytest

from shared.domain.access.endings import Ending
from shared.domain.access.licenses import (
    is_license_id,
    rehashed_key,
)
from shared.domain.access.plans import Overrides
from shared.domain.access.rate_limit import REFUSED, Limits
from shared.errors import Conflict, NotFound, ValidationFailed
from tests.support.access_fakes import Clock
from tests.support.license_world import World, errors


@pytest.fixture
def world() -> World:
    return World()


async def test_a_new_license_is_active_with_the_default_limit(world: World) -> None:
    view = await world.service.show(await world.license())
    assert is_license_id(view.license.license_id)
    assert (view.license.status, view.license.plan) == ("active", "standard")
    assert view.license.overrides == Overrides(symbols=("ES", "NQ"))
    assert view.keys == ()


async def test_every_bad_field_is_named(world: World) -> None:
    with pytest.raises(ValidationFailed) as refused:
        await world.service.create_license(
            "no spaces allowed",
            overrides=Overrides(symbols=("ES", "not a symbol"), requests_per_minute=0),
            plan="",
            expires_at=world.clock(),
        )
    fields = {error.field for error in refused.value.errors}
    assert fields == {"account_id", "symbols", "plan", "requests_per_minute", "expires_at"}
    assert world.store.licenses == {}


async def test_revoking_closes_the_connections(world: World) -> None:
    license_id = await world.license()
    key = await world.service.create_key(license_id)
    effect = await world.service.revoke_key(key.plain)
    assert (effect.caches_told, effect.connections_closed, effect.audited) == (True, True, True)
    await world.service.suspend_license(license_id)
    await world.service.revoke_license(license_id)
    assert world.hub.closed == [
        (f"key.{key.key.public_id}", "key revoked"),
        (f"license.{license_id}", "license suspended"),
        (f"license.{license_id}", "license revoked"),
    ]


async def test_a_revocation_stands_when_caches_and_realtime_are_away(world: World) -> None:
    license_id = await world.license()
    await world.service.create_key(license_id)
    world.cache.away = world.hub.away = True
    effect = await world.service.revoke_license(license_id)
    assert (effect.caches_told, effect.connections_closed) == (False, False)
    world.audit.away = True
    assert not (await world.service.revoke_license(license_id)).audited
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


async def test_an_ending_is_announced_before_it_is_made(world: World) -> None:
    """So a command that dies in between leaves nothing that the timer does not find."""
    license_id = await world.license()
    created = await world.service.create_key(license_id)
    public_id = created.key.public_id
    with patch.object(world.store, "update_key", AsyncMock(side_effect=RuntimeError("killed"))):
        for attempt in (
            world.service.revoke_key(public_id),
            world.service.rotate_key(public_id, timedelta(seconds=7)),
        ):
            with pytest.raises(RuntimeError):
                await attempt
    with (
        patch.object(world.store, "update_license", AsyncMock(side_effect=RuntimeError("killed"))),
        pytest.raises(RuntimeError),
    ):
        await world.service.suspend_license(license_id)
    now = world.clock()
    assert world.store.recorded_endings == {
        Ending(now, public_id),
        Ending(now + timedelta(seconds=7), public_id),
        Ending(now, license_id),
    }


async def test_a_time_of_expiry_is_announced_with_the_license_and_the_key(world: World) -> None:
    end = world.clock() + timedelta(days=1)
    license_id = await world.license(end)
    created = await world.service.create_key(license_id, expires_at=end)
    await world.service.create_key(license_id)
    assert world.store.recorded_endings == {Ending(end, license_id), Ending(end, created.key.public_id)}


async def test_a_change_that_is_refused_announces_nothing(world: World) -> None:
    license_id = await world.license()
    await world.service.revoke_license(license_id)
    world.store.recorded_endings.clear()
    with pytest.raises(Conflict):
        await world.service.suspend_license(license_id)
    with pytest.raises(NotFound):
        await world.service.revoke_license("lic_doesnotexist")
    assert world.store.recorded_endings == set()


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


async def test_the_audit_says_what_was_created_and_what_follows_what(world: World) -> None:
    license_id = await world.license()
    await world.service.create_keys(license_id, 3, ("bot", "ops"))
    first = next(iter(world.store.keys))
    new, _ = await world.service.rotate_key(first, timedelta(hours=1))
    assert world.audit.details == [
        {"account": "acct-1", "plan": "standard"},
        {"count": 3, "first": first, "scopes": ["bot", "ops"]},
        {"successor": new.key.public_id},
    ]
    assert world.audit.entries[-1] == ("tester", "key rotated", first)


OVERRIDABLE = Overrides.__struct_fields__


def creation(changed: dict[str, Any]) -> dict[str, Any]:
    """The arguments of a creation for ES that has these values instead."""
    given = {"account_id": "acct-1", "symbols": ("ES",)} | changed
    overrides = Overrides(**{name: given.pop(name) for name in OVERRIDABLE if name in given})
    return {**given, "overrides": overrides}


@pytest.mark.parametrize(
    ("changed", "field", "code"),
    [
        ({"account_id": ""}, "account_id", "invalid_format"),
        ({"account_id": ".a"}, "account_id", "invalid_format"),
        ({"account_id": "a" * 65}, "account_id", "invalid_format"),
        ({"plan": "Standard"}, "plan", "unknown_value"),
        ({"plan": "premum"}, "plan", "unknown_value"),
        ({"symbols": ()}, "symbols", "out_of_range"),
        ({"symbols": tuple(f"S{n}" for n in range(101))}, "symbols", "out_of_range"),
        ({"symbols": ("es",)}, "symbols", "invalid_format"),
        ({"requests_per_minute": 0}, "requests_per_minute", "out_of_range"),
        ({"requests_per_minute": 100_001}, "requests_per_minute", "out_of_range"),
        ({"expires_at": Clock().time}, "expires_at", "out_of_range"),
        ({"expires_at": datetime(2030, 1, 1)}, "expires_at", "out_of_range"),  # noqa: DTZ001 - on purpose
    ],
)
async def test_a_license_out_of_bounds_is_refused(
    world: World, changed: dict[str, Any], field: str, code: str
) -> None:
    given = creation(changed)
    with pytest.raises(ValidationFailed) as refused:
        await world.service.create_license(given.pop("account_id"), **given)
    assert errors(refused) == [(field, code)]
    assert world.audit.entries == []


@pytest.mark.parametrize(
    "changed",
    [
        {"account_id": "a"},
        {"account_id": "A9._-" + "a" * 59},
        {"plan": "load"},
        {"symbols": tuple(f"S{n}" for n in range(100)), "may_be_unserved": True},
        {"requests_per_minute": 1},
        {"requests_per_minute": 100_000},
        {"expires_at": Clock().time + timedelta(microseconds=1)},
    ],
)
async def test_the_ends_of_every_bound_are_accepted(world: World, changed: dict[str, Any]) -> None:
    given = creation(changed)
    made = await world.service.create_license(given.pop("account_id"), **given)
    assert world.store.licenses == {made.license_id: made}
    for name, value in changed.items():
        if name != "may_be_unserved":
            assert getattr(made.overrides if name in OVERRIDABLE else made, name) == value


async def test_a_symbol_is_licensed_once(world: World) -> None:
    made = await world.service.create_license("acct-1", overrides=Overrides(symbols=("NQ", "ES", "NQ")))
    assert made.overrides.symbols == ("NQ", "ES")
    assert (made.plan, made.created_at, made.expires_at) == ("standard", world.clock(), None)


async def test_symbols_that_are_none_are_named(world: World) -> None:
    with pytest.raises(ValidationFailed) as refused:
        await world.service.create_license("acct-1", overrides=Overrides(symbols=("es", "ES", "nq")))
    assert refused.value.errors[0].message == (
        "Symbols are in capitals and without blanks, got es: send ES. "
        "Symbols are in capitals and without blanks, got nq: send NQ."
    )


async def test_what_ends_is_told_to_the_caches_under_every_hash(world: World) -> None:
    license_id = await world.license()
    created = await world.service.create_key(license_id)
    moved = rehashed_key(created.key, created.key.key_hash, "new", world.clock())
    world.store.keys[moved.public_id] = moved
    await world.service.suspend_license(license_id)
    assert set(world.cache.records) == {"new", created.key.key_hash}
    assert {limits for _, limits, _ in world.cache.records.values()} == {REFUSED}
    effect = await world.service.resume_license(license_id)
    assert (effect.license.status, effect.caches_told, effect.connections_closed) == ("active", True, True)
    assert {limits for _, limits, _ in world.cache.records.values()} == {Limits(100)}


async def test_a_license_is_shown_with_its_keys(world: World) -> None:
    first, second = await world.license(), await world.license()
    keys = [await world.service.create_key(first) for _ in range(2)]
    await world.service.create_key(second)
    view = await world.service.show(first)
    assert view.keys == tuple(key.key for key in keys)


async def test_each_stored_change_of_a_license_is_listed(world: World) -> None:
    license_id = await world.license()
    await world.service.suspend_license(license_id)
    await world.service.resume_license(license_id)
    await world.service.resume_license(license_id)
    assert [(each.license_id, each.status) for each in world.listed] == [
        (license_id, "active"),
        (license_id, "suspended"),
        (license_id, "active"),
    ]


async def test_a_license_that_has_ended_takes_no_keys(world: World) -> None:
    license_id = await world.license(world.clock() + timedelta(seconds=1))
    world.clock.forward(1)
    await world.endings.run(world.clock())
    with pytest.raises(Conflict, match=f"The license {license_id} is expired and cannot have new keys"):
        await world.service.create_key(license_id)
