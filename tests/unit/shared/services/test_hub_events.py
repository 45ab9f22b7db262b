"""Events of the hub: proven first, clients judged by the source of truth, connections counted."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import timedelta

import msgspec
import pytest

from shared.domain.access.client_access import ACCESS_URL_LIFETIME, ClientAccessToken
from shared.domain.access.hub_events import GROUP_CLAIM, ROLE_CLAIM, ConnectRequest, EventKind, HubEvent
from shared.domain.access.license_changes import with_overrides
from shared.domain.access.plans import Overrides
from shared.errors import (
    KeyStoreUnavailable,
    KeyUnknown,
    MalformedJson,
    SignalCloudError,
    Unauthenticated,
    ValidationFailed,
)
from shared.services import hub_events
from shared.services.full_licenses import FULL_FOR_S
from shared.services.hub_events import HubEventService
from shared.services.key_making import CreatedKey
from shared.services.presence import Presence
from shared.services.session_leases import SessionLeases
from tests.support.counting import Counted
from tests.support.license_plans import PLANS
from tests.support.license_world import World
from tests.support.memory_connections import MemoryConnections

HEADERS = {"ce-signature": "ours"}


class Proof:
    origin = "signal.webpubsub.azure.com"

    async def check(self, event: HubEvent, headers: Mapping[str, str]) -> None:
        if headers.get("ce-signature") != "ours":
            raise KeyUnknown("Only this deployment's Web PubSub may send events.")


class Hub:
    async def connections_in(self, group: str) -> list[str]:
        return []

    async def close_connection(self, connection_id: str, reason: str) -> None:
        raise AssertionError("nothing here is above its limit")


class Hubs(World):
    """A license world, and two processes that get the hub's events."""

    def __init__(self) -> None:
        super().__init__()
        self.counted = Counted()
        self.table = MemoryConnections(clock=self.clock.timestamp)
        self.first, self.second = self.process(), self.process()
        self.serial = 0

    def process(self) -> HubEventService:
        presence = Presence(
            plans=PLANS,
            store=self.table,
            licenses=self.store,
            hub=Hub(),
            clock=self.clock.timestamp,
            count=self.counted,
        )
        return HubEventService(
            plans=PLANS,
            proof=Proof(),
            keys=self.store,
            presence=presence,
            sessions=SessionLeases(self.sessions, clock=self.clock.timestamp, count=self.counted),
            now=self.clock,
            count=self.counted,
        )

    async def key(self, **options: object) -> CreatedKey:
        return await self.service.create_key(await self.license(), **options)  # type: ignore[arg-type]

    async def connect(
        self,
        key: CreatedKey,
        nonce: str = "",
        user: str = "acct-1",
        *,
        process: HubEventService | None = None,
        groups: Sequence[str] = (),
        session_id: str | None = None,
    ) -> str:
        """The code of the refusal of a client that holds a URL of this key for `groups`, or "in"."""
        self.serial += 1
        nonce = nonce or f"n-{self.serial}"
        token = ClientAccessToken(key.key.license_id, key.key.public_id, nonce, session_id)
        roles = [f"webpubsub.joinLeaveGroup.{group}" for group in groups]
        body = msgspec.json.encode(ConnectRequest({GROUP_CLAIM: list(token.groups), ROLE_CLAIM: roles}))
        event = HubEvent("connect", f"c-{self.serial}", user)
        try:
            await (process or self.first).take(event, HEADERS, lambda: body)
        except SignalCloudError as error:
            return error.code
        return "in"


@pytest.fixture
def hubs() -> Hubs:
    return Hubs()


async def test_a_client_of_a_good_key_is_let_in_and_counted(hubs: Hubs) -> None:
    key = await hubs.key()
    assert await hubs.connect(key) == "in"
    assert hubs.table.of(key.key.license_id) == ["c-1"]
    assert hubs.counted == {}


async def test_each_ending_refuses_urls_from_before_without_asking_redis(hubs: Hubs) -> None:
    hubs.cache.away = True
    revoked, rotated, expiring = [await hubs.key() for _ in range(2)], await hubs.key(), None
    await hubs.service.revoke_key(revoked[0].key.public_id)
    assert await hubs.connect(revoked[0]) == "key_revoked"
    await hubs.service.suspend_license(revoked[1].key.license_id)
    assert await hubs.connect(revoked[1]) == "license_suspended"
    await hubs.service.revoke_license(revoked[1].key.license_id)
    assert await hubs.connect(revoked[1]) == "license_revoked"
    await hubs.service.rotate_key(rotated.key.public_id, timedelta(0))
    assert await hubs.connect(rotated) == "key_expired"
    expiring = await hubs.key(expires_at=hubs.clock() + timedelta(seconds=5))
    assert await hubs.connect(expiring) == "in"
    hubs.clock.forward(5)
    assert await hubs.connect(expiring) == "key_expired"
    license_id = await hubs.license(hubs.clock() + timedelta(seconds=5))
    key = await hubs.service.create_key(license_id)
    hubs.clock.forward(5)
    assert await hubs.connect(key) == "license_expired"
    assert hubs.counted == {"connections_refused": 6}


async def test_a_url_from_before_the_license_lost_a_symbol_is_refused(hubs: Hubs) -> None:
    key = await hubs.key()
    license_id = key.key.license_id
    await hubs.service.change(
        license_id, lambda one: with_overrides(one, Overrides(symbols=("ES",))), "license changed"
    )
    assert await hubs.connect(key, groups=["symbol.ES", "symbol.NQ"]) == "symbol_not_licensed"
    assert await hubs.connect(key, groups=["symbol.ES"]) == "in"
    late = Overrides(symbols=("ES",), signal_delay_s=900)
    await hubs.service.change(license_id, lambda one: with_overrides(one, late), "license changed")
    assert await hubs.connect(key, groups=["symbol.ES"]) == "symbol_not_licensed"
    assert await hubs.connect(key, groups=["symbol.ES.delay900"]) == "in"


async def test_while_the_source_of_truth_cannot_be_asked_clients_are_refused_for_now(hubs: Hubs) -> None:
    key = await hubs.key()
    hubs.store.away = True
    assert await hubs.connect(key, "n") == "key_store_unavailable"
    assert hubs.counted == {}
    hubs.store.away = False
    assert await hubs.connect(key, "n") == "in", "an attempt that failed has not used the URL"


async def test_a_url_connects_once_in_every_process(hubs: Hubs) -> None:
    key = await hubs.key()
    assert await hubs.connect(key, "n") == "in"
    assert await hubs.connect(key, "n") == "access_url_used"
    assert await hubs.connect(key, "n", process=hubs.second) == "access_url_used"
    assert hubs.counted == {"connections_refused": 2}


async def test_one_url_that_opens_many_sockets_costs_one_look_up(hubs: Hubs) -> None:
    key = await hubs.key()
    found = await asyncio.gather(*(hubs.connect(key, "n") for _ in range(1_500)))
    assert (found.count("in"), found.count("access_url_used")) == (1, 1_499)
    assert hubs.store.reads == 1
    assert len(hubs.table.rows) == 1


async def test_a_license_opens_as_many_connections_as_its_plan_allows(hubs: Hubs) -> None:
    key = await hubs.key()
    other = await hubs.service.create_key(key.key.license_id)
    found = await asyncio.gather(
        *(
            hubs.connect((key, other)[n % 2], process=(hubs.first, hubs.second)[n // 2 % 2])
            for n in range(100)
        )
    )
    assert (found.count("in"), found.count("connections_exceeded")) == (10, 90)
    assert hubs.counted["connections_exceeded"] == 90
    event = HubEvent("disconnected", hubs.table.of(key.key.license_id)[0], "acct-1")
    await hubs.second.take(event, HEADERS, lambda: b"{}")
    hubs.clock.forward(FULL_FOR_S)
    assert await hubs.connect(key) == "in"


@pytest.mark.parametrize("process", ["first", "second"])
async def test_attempts_with_a_used_url_cost_no_look_up(hubs: Hubs, process: str) -> None:
    """Each cost two reads of Table Storage and a transaction, and no limit counts attempts."""
    key = await hubs.key()
    assert await hubs.connect(key, "n") == "in"
    # Another process learns it from its first attempt.
    assert await hubs.connect(key, "n", process=getattr(hubs, process)) == "access_url_used"
    cost = (hubs.store.reads, len(hubs.table.batches))
    for _ in range(60):
        for _ in range(20):
            assert await hubs.connect(key, "n", process=getattr(hubs, process)) == "access_url_used"
        hubs.clock.forward(ACCESS_URL_LIFETIME.total_seconds() / 60 - 0.001)
    assert (hubs.store.reads, len(hubs.table.batches)) == cost
    assert await hubs.connect(key) == "in", "another URL of the same key"
    hubs.clock.forward(60)
    assert await hubs.connect(key, "n", process=getattr(hubs, process)) == "access_url_used"


async def test_attempts_on_a_full_license_cost_no_look_up_for_a_moment(hubs: Hubs) -> None:
    key, other = await hubs.key(), await hubs.key()
    for _ in range(10):
        assert await hubs.connect(key) == "in"
    assert await hubs.connect(key) == "connections_exceeded"
    cost = (hubs.store.reads, len(hubs.table.batches))
    for _ in range(500):
        assert await hubs.connect(key) == "connections_exceeded"
    assert (hubs.store.reads, len(hubs.table.batches)) == cost
    assert hubs.counted == {"connections_refused": 501, "connections_exceeded": 501}
    assert await hubs.connect(other) == "in"


async def test_attempts_of_an_ended_license_cost_no_look_up_for_a_moment(hubs: Hubs) -> None:
    key = await hubs.key()
    await hubs.service.suspend_license(key.key.license_id)
    assert await hubs.connect(key, "n") == "license_suspended"
    reads = hubs.store.reads
    for _ in range(500):
        assert await hubs.connect(key, "n") == "license_suspended"
    assert hubs.store.reads == reads
    await hubs.service.resume_license(key.key.license_id)
    hubs.clock.forward(hub_events.REFUSED_FOR.total_seconds())
    assert await hubs.connect(key, "n") == "in"


async def test_the_same_event_twice_is_answered_twice(hubs: Hubs) -> None:
    key = await hubs.key()
    assert await hubs.connect(key, "n") == "in"
    hubs.serial -= 1  # the service asks again about the same connection
    assert await hubs.connect(key, "n") == "in"
    assert hubs.table.of(key.key.license_id) == ["c-1"]


async def test_a_process_remembers_a_bounded_number_of_urls(
    hubs: Hubs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_events, "MAX_REMEMBERED", 4)
    key = await hubs.key()
    for n in range(9):
        assert await hubs.connect(key, f"n{n}") == "in"
    assert len(hubs.first._judged) == 4
    assert await hubs.connect(key, "n0") == "access_url_used", "Postgres knows it longer"


@pytest.mark.parametrize("user", ["acct-2", ""])
async def test_a_token_of_another_account_is_refused(hubs: Hubs, user: str) -> None:
    assert await hubs.connect(await hubs.key(), user=user) == "key_unknown"


async def test_a_key_of_another_license_or_of_none_is_refused(hubs: Hubs) -> None:
    key, other = await hubs.key(), await hubs.key()
    mixed = msgspec.structs.replace(key.key, license_id=other.key.license_id)
    assert await hubs.connect(msgspec.structs.replace(key, key=mixed)) == "key_unknown"
    gone = msgspec.structs.replace(key.key, public_id="Zz12Cd")
    assert await hubs.connect(msgspec.structs.replace(key, key=gone)) == "key_unknown"


async def test_a_key_without_the_scope_of_bots_is_refused(hubs: Hubs) -> None:
    assert await hubs.connect(await hubs.key(scopes=("publisher",))) == "scope_missing"


@pytest.mark.parametrize("claims", [{}, {GROUP_CLAIM: []}, {GROUP_CLAIM: ["key.Ab12Cd"]}, {"iat": ["1"]}])
async def test_a_token_that_is_not_ours_is_refused(hubs: Hubs, claims: dict[str, list[str]]) -> None:
    body = msgspec.json.encode(ConnectRequest(claims))
    with pytest.raises(KeyUnknown, match="negotiate again"):
        await hubs.first.take(HubEvent("connect", "c-1", "acct-1"), HEADERS, lambda: body)
    assert hubs.counted == {"connections_refused": 1}


@pytest.mark.parametrize("kind", ["connect", "connected", "disconnected"])
async def test_what_is_not_proven_is_neither_read_nor_counted(hubs: Hubs, kind: EventKind) -> None:
    def never() -> bytes:
        raise AssertionError("nothing of a stranger's event may be read")

    with pytest.raises(Unauthenticated):
        await hubs.first.take(HubEvent(kind, "c-1", "k"), {}, never)
    assert hubs.counted == {}


async def test_a_connect_request_that_is_none_is_refused(hubs: Hubs) -> None:
    event = HubEvent("connect", "c-1", "k")
    with pytest.raises(MalformedJson):
        await hubs.first.take(event, HEADERS, lambda: b"{")
    with pytest.raises(ValidationFailed):
        await hubs.first.take(event, HEADERS, lambda: b'{"claims": 7}')


def test_only_our_own_hub_is_welcome(hubs: Hubs) -> None:
    assert hubs.first.allowed_origin("Signal.webpubsub.azure.com") == "Signal.webpubsub.azure.com"
    for stranger in ("", "other.webpubsub.azure.com", "*"):
        with pytest.raises(ValidationFailed) as refused:
            hubs.first.allowed_origin(stranger)
        assert [error.field for error in refused.value.errors] == ["webhook-request-origin"]


async def test_connections_are_counted(hubs: Hubs) -> None:
    kinds: list[EventKind] = ["connected", "disconnected", "connected"]
    for kind in kinds:
        await hubs.first.take(HubEvent(kind, "c-1", "k"), HEADERS, lambda: b"{}")
    assert hubs.counted == {"connections_opened": 2, "connections_closed": 1}


async def test_a_store_that_fails_midway_is_told_as_unavailable(hubs: Hubs) -> None:
    key = await hubs.key()

    async def damaged(license_id: str) -> None:
        raise KeyStoreUnavailable("damaged")

    hubs.store.get_license = damaged  # type: ignore[method-assign]
    assert await hubs.connect(key) == "key_store_unavailable"
