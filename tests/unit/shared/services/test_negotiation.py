"""Client access URLs cover what was asked for, and the connections of a group can be closed."""

import json
from datetime import timedelta

import msgspec
import pytest

from shared.domain.access.client_access import token_in
from shared.domain.market.messages import HEARTBEATS
from shared.errors import SymbolNotLicensed, ValidationFailed
from tests.support.counting import Counted
from tests.support.grants import grant_of
from tests.support.realtime import NOW, FakeDelayed, FakeHub, FakeOutbox, service


async def test_client_access_covers_exactly_the_groups_asked_for() -> None:
    counted = Counted()
    grant = grant_of("k1", "NQ", "ES", "CL")
    hub = FakeHub()
    access = await service(hub, FakeOutbox(), counted).negotiate(grant, ["ES", "CL", "ES"])
    assert access.groups == ["symbol.ES", "symbol.CL"]
    assert access.url == "wss://hub/k1/symbol.ES,symbol.CL/300"
    assert access.expires_at == NOW + timedelta(minutes=5)
    assert (access.hub, access.protocol) == ("signals", "json.reliable.webpubsub.azure.v1")
    assert counted == {"negotiated": 1}


async def test_client_access_covers_the_whole_license_unless_symbols_are_named() -> None:
    realtime = service(FakeHub(), FakeOutbox())
    grant = grant_of("k1", "NQ", "ES")
    assert (await realtime.negotiate(grant, None)).groups == ["symbol.NQ", "symbol.ES"]


async def test_a_connection_that_would_hear_nothing_is_refused() -> None:
    counted = Counted()
    with pytest.raises(ValidationFailed) as refused:
        await service(FakeHub(), FakeOutbox(), counted).negotiate(grant_of("k1", "NQ", "ES"), [])
    assert [(error.field, error.code) for error in refused.value.errors] == [("symbols", "out_of_range")]
    assert counted == {}


async def test_no_client_access_for_a_symbol_outside_of_the_license() -> None:
    counted = Counted()
    realtime = service(FakeHub(), FakeOutbox(), counted)
    with pytest.raises(SymbolNotLicensed) as refused:
        await realtime.negotiate(grant_of("k1", "ES"), ["ES", "NQ", "CL"])
    assert [error.field for error in refused.value.errors] == ["symbols[1]", "symbols[2]"]
    assert counted == {}


async def test_each_url_puts_its_connection_into_the_groups_of_its_license_its_key_and_itself() -> None:
    hub = FakeHub()
    realtime, grant = service(hub, FakeOutbox()), grant_of("k1", "ES")
    for _ in range(2):
        await realtime.negotiate(grant, None)
    first, second = (token_in(groups) for groups in hub.memberships)
    assert first is not None
    assert second is not None
    named = (grant.license.license_id, grant.key.public_id)
    assert (first.license_id, first.public_id) == named == (second.license_id, second.public_id)
    assert first.nonce != second.nonce
    assert all(HEARTBEATS in groups for groups in hub.memberships), "without a role to join it"
    assert len(first.nonce) >= 32


async def test_a_delayed_license_connects_to_the_groups_of_its_delay_alone() -> None:
    hub, delayed = FakeHub(), FakeDelayed()
    grant = grant_of("k1", "ES", "NQ")
    grant = msgspec.structs.replace(grant, terms=msgspec.structs.replace(grant.terms, signal_delay_s=900))
    access = await service(hub, FakeOutbox(), delayed=delayed).negotiate(grant, ["ES"])
    assert access.groups == ["symbol.ES.delay900"]
    (memberships,) = hub.memberships
    assert HEARTBEATS not in memberships
    assert "heartbeats.delay900" in memberships
    assert delayed.wanted == [900]


async def test_a_closed_group_is_told_why_first() -> None:
    hub = FakeHub()
    await service(hub, FakeOutbox()).close_group("license.a", "license revoked")
    (group, told), closed = hub.sent
    assert (group, json.loads(told)["type"], json.loads(told)["reason"]) == (
        "license.a",
        "revoked",
        "license revoked",
    )
    assert closed == ("license.a", b"closed: license revoked")


async def test_a_group_that_cannot_be_told_is_closed_all_the_same() -> None:
    hub = FakeHub(fails_after=0)
    await service(hub, FakeOutbox()).close_group("key.a", "key revoked")
    assert hub.sent == [("key.a", b"closed: key revoked")]
