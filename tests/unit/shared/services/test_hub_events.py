"""Events of the hub: read, proven by signature, and old tokens refused."""

import hashlib
import hmac
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.adapters.event_proof import AccessKeyProof
from shared.domain.access.hub_events import ConnectRequest, EventKind, HubEvent, hub_event, is_signed
from shared.errors import CacheUnavailable, Unauthenticated, ValidationFailed
from shared.services.hub_events import HubEventService

HEADERS = {
    "ce-type": "azure.webpubsub.sys.connect",
    "ce-hub": "signals",
    "ce-connectionid": "c-1",
    "ce-userid": "zo%C3%AB",
}
EVENT = HubEvent("connect", "c-1", "zo\u00eb")


def signature(key: bytes, connection_id: str) -> str:
    return "sha256=" + hmac.new(key, connection_id.encode(), hashlib.sha256).hexdigest()


def test_an_event_is_read_from_its_headers() -> None:
    assert hub_event(HEADERS, "signals") == EVENT
    assert (
        hub_event(HEADERS | {"ce-type": "azure.webpubsub.sys.disconnected"}, "Signals").kind == "disconnected"
    )


def test_every_header_that_is_off_is_named() -> None:
    with pytest.raises(ValidationFailed) as caught:
        hub_event(
            {"ce-type": "azure.webpubsub.user.buy", "ce-hub": "other", "ce-userid": "u" * 300}, "signals"
        )
    assert [error.field for error in caught.value.errors] == [
        "ce-type",
        "ce-hub",
        "ce-connectionid",
        "ce-userid",
    ]


@given(st.binary(min_size=1), st.binary(min_size=1), st.text(max_size=40))
def test_only_a_signature_under_one_of_the_keys_holds(key: bytes, other: bytes, connection_id: str) -> None:
    signed = signature(key, connection_id)
    assert is_signed(connection_id, f"{signature(other, connection_id)},{signed}", [key])
    assert is_signed(connection_id, signed, [other]) == (key == other)
    assert not is_signed(connection_id, signed[:-1], [key])
    assert not is_signed(connection_id + "x", signed, [key])


async def test_a_connection_string_tells_origin_and_key() -> None:
    proof = AccessKeyProof("Endpoint=http://127.0.0.1;AccessKey=a+b=;Version=1.0;Port=8080;")
    assert proof.origin == "127.0.0.1:8080"
    await proof.check(EVENT, {"ce-signature": signature(b"a+b=", "c-1")})
    for headers in ({}, {"ce-signature": ""}, {"ce-signature": signature(b"another", "c-1")}):
        with pytest.raises(Unauthenticated):
            await proof.check(EVENT, headers)


class Proof:
    origin = "signal.webpubsub.azure.com"

    async def check(self, event: HubEvent, headers: Mapping[str, str]) -> None:
        return None


class Closures:
    def __init__(self, closed: float | None, *, away: bool = False) -> None:
        self.closed = closed
        self.away = away

    async def closed_at(self, account_id: str) -> float | None:
        if self.away:
            raise CacheUnavailable("away", internal="refused")
        return self.closed


def service(closures: Closures, counted: list[str]) -> HubEventService:
    return HubEventService(proof=Proof(), closures=closures, count=counted.append)


@pytest.mark.parametrize(
    ("closed", "claims", "let_in"),
    [
        (None, {}, True),
        (1000.5, {"iat": ["1000"]}, False),
        (1000.5, {"iat": ["1001"]}, True),
        (1000.5, {}, False),
        (1000.5, {"iat": ["soon"]}, False),
        (1000.5, {"iat": []}, False),
    ],
)
async def test_a_token_older_than_the_closing_is_refused(
    closed: float | None, claims: dict[str, list[str]], let_in: bool
) -> None:
    counted: list[str] = []
    deciding = service(Closures(closed), counted).admit(EVENT, ConnectRequest(claims))
    if let_in:
        await deciding
    else:
        with pytest.raises(Unauthenticated, match="negotiate again"):
            await deciding
    assert counted == ([] if let_in else ["connections_refused"])


async def test_without_the_cache_clients_are_let_in() -> None:
    await service(Closures(1.0, away=True), []).admit(EVENT, ConnectRequest())


def test_only_our_own_hub_is_welcome() -> None:
    events = service(Closures(None), [])
    assert events.allowed_origin("Signal.webpubsub.azure.com") == "Signal.webpubsub.azure.com"
    for stranger in ("", "other.webpubsub.azure.com", "*"):
        with pytest.raises(ValidationFailed):
            events.allowed_origin(stranger)


def test_connections_are_counted() -> None:
    counted: list[str] = []
    events = service(Closures(None), counted)
    kinds: list[EventKind] = ["connect", "connected", "disconnected"]
    for kind in kinds:
        events.note(HubEvent(kind, "c-1", "k"))
    assert counted == ["connections_opened", "connections_closed"]
