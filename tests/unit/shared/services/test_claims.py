"""Claim links: each gives one key, whatever dies in between, and nobody learns who has a license."""

import asyncio
from datetime import timedelta

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.domain.access.claims import claim_secret, claim_token
from shared.domain.access.license_changes import suspended
from shared.domain.access.licenses import License, is_valid_key
from shared.domain.notifications.events import Event
from shared.errors import (
    CacheUnavailable,
    ClaimUsed,
    DatabaseUnavailable,
    KeysExceeded,
    LicenseExpired,
    LicenseRevoked,
    NotFound,
    TriesExceeded,
)
from shared.services.claimed_keys import ClaimedKeys
from shared.services.claims import OVERLAP, ClaimService
from shared.services.key_making import KeyMaking
from shared.services.tries import Tries
from tests.support.license_plans import PLANS
from tests.support.license_world import PEPPER, World
from tests.support.licenses import changed
from tests.support.memory_claims import MemoryClaims
from tests.unit.shared.services.test_tries import Counts

NETWORK = "203.0.113.7"


class Claims:
    """A claim service over a world of licenses; `told` are the events that it has reported."""

    def __init__(self, request_s: float = 0.0) -> None:
        self.world = World()
        self.table = MemoryClaims(self.world.clock)
        self.counts = Counts()
        self.told: list[Event] = []
        making = KeyMaking(store=self.world.store, plans=PLANS, pepper=PEPPER, now=self.world.clock)
        self.service = ClaimService(
            store=self.table,
            licenses=self.world.store,
            plans=PLANS,
            keys=ClaimedKeys(
                store=self.world.store,
                making=making,
                enforcement=self.world.enforcement,
                audit=self.world.audit,
                now=self.world.clock,
            ),
            of_mail=self.table,
            tell=self.tell,
            tries=Tries(self.counts),
            peppers=(PEPPER,),
            public_url="https://signals.example.com",
            now=self.world.clock,
            request_s=request_s,
        )

    async def tell(self, events: object) -> None:
        assert isinstance(events, list)
        self.told += events

    async def license(self, plan: str = "starter", email: str | None = "me@example.com") -> License:
        made = await self.world.service.create_license("acct-1", plan=plan, email=email)
        self.table.listed.append(made)
        return made

    def token(self, license_: License, purpose: str = "first_key") -> str:
        kind = "license_created" if purpose == "first_key" else "claim_requested"
        return self.url_for(self.event(license_, kind)).rpartition("/")[2]

    def url_for(self, event: Event) -> str:
        url = self.service.url_for(event)
        assert url is not None
        return url

    def event(self, license_: License, kind: str) -> Event:
        return msgspec.convert(
            {"event_id": "e", "kind": kind, "at": self.world.clock(), "license_id": license_.license_id},
            Event,
        )

    def valid_keys(self) -> list[str]:
        keys = self.world.store.keys.values()
        return [key.public_id for key in keys if is_valid_key(key, self.world.clock())]


async def test_a_link_gives_one_key_that_works_and_then_no_other() -> None:
    claims = Claims()
    license_ = await claims.license()
    token = claims.token(license_)
    claimed = await claims.service.use(token, NETWORK)
    assert claimed.key.startswith("sc_live_")
    assert (claimed.plan, claimed.symbols, claimed.others_end_at) == ("starter", ("ES", "NQ"), None)
    (key,) = claims.world.store.keys.values()
    assert (key.scopes, key.public_id) == (("bot",), claimed.key[8:14])
    with pytest.raises(ClaimUsed, match="2026-03-02"):
        await claims.service.use(token, NETWORK)
    assert len(claims.world.store.keys) == 1


async def test_of_two_uses_at_once_one_gets_the_key() -> None:
    claims = Claims()
    token = claims.token(await claims.license())
    answers = await asyncio.gather(
        *(claims.service.use(token, NETWORK) for _ in range(5)), return_exceptions=True
    )
    assert sorted(type(answer).__name__ for answer in answers) == [*["ClaimUsed"] * 4, "ClaimedKey"]
    assert len(claims.world.store.keys) == 1


@settings(max_examples=30, deadline=None)
@given(
    st.sampled_from(["first_key", "lost_key"]),
    st.lists(st.sampled_from(["commit", "keys"]), max_size=4),
)
def test_however_often_a_use_dies_the_link_gives_one_valid_key_in_the_end(
    purpose: str, deaths: list[str]
) -> None:
    async def run() -> None:
        claims = Claims()
        license_ = await claims.license(plan="free")
        token = claims.token(license_, purpose)
        for death in deaths:
            claims.table.dies, claims.world.store.away = death == "commit", death == "keys"
            with pytest.raises(Exception, match=r"died|away"):
                await claims.service.use(token, NETWORK)
        claims.table.dies = claims.world.store.away = False
        claimed = await claims.service.use(token, NETWORK)
        claims.world.clock.forward(OVERLAP.total_seconds())
        assert claims.valid_keys() == [claimed.key[8:14]], "the plan free has one key"

    asyncio.run(run())


async def test_a_link_for_a_lost_key_ends_the_others_after_an_overlap() -> None:
    claims = Claims()
    license_ = await claims.license()
    old = [await claims.world.service.create_key(license_.license_id) for _ in range(2)]
    rotated, _ = await claims.world.service.rotate_key(old[0].key.public_id, timedelta(days=20))
    claimed = await claims.service.use(claims.token(license_, "lost_key"), NETWORK)
    assert claimed.others_end_at == claims.world.clock() + OVERLAP
    assert len(claims.valid_keys()) == 4, "running bots go on for a day"
    ended = {each.subject for each in claims.world.store.recorded_endings}
    assert {old[0].key.public_id, old[1].key.public_id, rotated.key.public_id} <= ended
    claims.world.clock.forward(OVERLAP.total_seconds())
    assert claims.valid_keys() == [claimed.key[8:14]]


async def test_a_mail_address_neither_gives_nor_ends_a_key_that_may_do_more() -> None:
    claims = Claims()
    license_ = await claims.license()
    operators = await claims.world.service.create_key(license_.license_id, ("bot", "ops"))
    claimed = await claims.service.use(claims.token(license_, "lost_key"), NETWORK)
    claims.world.clock.forward(OVERLAP.total_seconds())
    assert sorted(claims.valid_keys()) == sorted([operators.key.public_id, claimed.key[8:14]])


async def test_a_first_key_counts_towards_the_plans_number() -> None:
    claims = Claims()
    license_ = await claims.license(plan="free")
    await claims.world.service.create_key(license_.license_id)
    token = claims.token(license_)
    with pytest.raises(KeysExceeded):
        await claims.service.use(token, NETWORK)
    assert claims.table.used == {}, "the link still works when a key has gone"


async def test_an_ended_license_gives_no_key_and_a_suspended_one_does() -> None:
    claims = Claims()
    service, store = claims.world.service, claims.world.store
    license_ = await claims.license()
    token = claims.token(license_)
    await service.change(license_.license_id, suspended, "license suspended")
    store.licenses[license_.license_id] = changed(license_, grace_until=claims.world.clock())
    assert (await claims.service.use(token, NETWORK)).key
    for end, refused in (("revoked", LicenseRevoked), ("expired", LicenseExpired)):
        claims.world.clock.forward(1)
        store.licenses[license_.license_id] = msgspec.structs.replace(license_, status=end)
        with pytest.raises(refused):
            await claims.service.use(claims.token(license_), NETWORK)
    store.licenses.clear()
    with pytest.raises(NotFound, match="does not exist"):
        await claims.service.use(claims.token(license_), NETWORK)


async def test_the_same_event_has_the_same_link_and_only_two_kinds_have_one() -> None:
    claims = Claims()
    license_ = await claims.license()
    event = claims.event(license_, "license_created")
    assert claims.url_for(event) == claims.url_for(event)
    assert claims.url_for(event).startswith("https://signals.example.com/api/claim/")
    assert claims.service.url_for(claims.event(license_, "license_extended")) is None


async def test_forged_tokens_are_not_found_and_cost_tries() -> None:
    claims = Claims()
    license_ = await claims.license()
    forged = claim_token(license_.license_id, "lost_key", claims.world.clock(), claim_secret(b"q" * 32))
    for _ in range(30):
        with pytest.raises(NotFound):
            await claims.service.use(forged, NETWORK)
    with pytest.raises(TriesExceeded):
        await claims.service.use(claims.token(license_), NETWORK)
    assert (await claims.service.use(claims.token(license_), "203.0.113.8")).key


async def test_links_work_while_nothing_counts_tries_and_not_while_postgres_is_away() -> None:
    claims = Claims()
    token = claims.token(await claims.license())
    claims.table.is_away = lambda: True
    with pytest.raises(DatabaseUnavailable):
        await claims.service.use(token, NETWORK)
    claims.table.is_away = lambda: False
    claims.counts.away = True
    assert (await claims.service.use(token, NETWORK)).key


async def test_a_request_tells_each_active_license_of_the_address() -> None:
    claims = Claims()
    first, second = await claims.license(email="Me@Example.com"), await claims.license()
    ended = msgspec.structs.replace(await claims.license(), status="revoked")
    claims.table.listed[-1] = ended
    await claims.license(email="other@example.com")
    await claims.service.request("me@example.COM", NETWORK)
    assert [event.license_id for event in claims.told] == [first.license_id, second.license_id]
    assert {event.kind for event in claims.told} == {"claim_requested"}
    for event in claims.told:
        token = claims.url_for(event).rpartition("/")[2]
        assert (await claims.service.use(token, NETWORK)).license_id == event.license_id


async def test_an_unknown_address_is_answered_alike_after_the_same_time() -> None:
    claims = Claims(request_s=0.02)
    await claims.license()
    clock = asyncio.get_running_loop().time
    for address in ("me@example.com", "nobody@example.com"):
        started = clock()
        await claims.service.request(address, NETWORK)
        assert clock() - started >= 0.019
    assert len(claims.told) == 1


async def test_a_mailbox_is_not_flooded_from_many_networks() -> None:
    claims = Claims()
    await claims.license()
    for number in range(3):
        claims.world.clock.forward(1)
        await claims.service.request("me@example.com", f"203.0.113.{number}")
    with pytest.raises(TriesExceeded):
        await claims.service.request(" ME@example.com", "203.0.113.99")
    assert len(claims.told) == 3
    claims.counts.away = True
    with pytest.raises(CacheUnavailable):
        await claims.service.request("you@example.com", NETWORK)
