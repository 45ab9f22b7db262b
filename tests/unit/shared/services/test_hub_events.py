"""Events of the hub: proven first, old tokens refused, connections counted."""

from collections.abc import Mapping

import msgspec
import pytest

from shared.domain.access.hub_events import ConnectRequest, EventKind, HubEvent
from shared.errors import (
    CacheUnavailable,
    KeyRevoked,
    KeyUnknown,
    MalformedJson,
    Unauthenticated,
    ValidationFailed,
)
from shared.services.hub_events import HubEventService
from tests.support.counting import Counted

EVENT = HubEvent("connect", "c-1", "zo\u00eb")
HEADERS = {"ce-signature": "ours"}


class Proof:
    origin = "signal.webpubsub.azure.com"

    async def check(self, event: HubEvent, headers: Mapping[str, str]) -> None:
        if headers.get("ce-signature") != "ours":
            raise KeyUnknown("Only this deployment's Web PubSub may send events.")


class Closures:
    def __init__(self, closed: dict[str, float] | None = None, *, away: bool = False) -> None:
        self.closed = closed or {}
        self.away = away

    async def closed_at(self, account_id: str) -> float | None:
        if self.away:
            raise CacheUnavailable("away", internal="refused")
        return self.closed.get(account_id)


def service(closures: Closures, counted: Counted) -> HubEventService:
    return HubEventService(proof=Proof(), closures=closures, count=counted)


async def connect(events: HubEventService, claims: dict[str, list[str]] | None = None) -> None:
    body = msgspec.json.encode(ConnectRequest(claims or {}))
    await events.take(EVENT, HEADERS, lambda: body)


@pytest.mark.parametrize(
    ("closed", "claims", "let_in"),
    [
        (None, {}, True),
        (1000.5, {"iat": ["1000"]}, False),
        (1000.5, {"iat": ["1001"]}, True),
        (1000.0, {"iat": ["1000"]}, False),
        (1000.5, {}, False),
        (1000.5, {"iat": ["soon"]}, False),
        (1000.5, {"iat": []}, False),
        (1000.5, {"iat": ["9" * 12]}, True),
        (1000.5, {"iat": ["9" * 13]}, False),
    ],
)
async def test_a_token_older_than_the_closing_is_refused(
    closed: float | None, claims: dict[str, list[str]], let_in: bool
) -> None:
    counted = Counted()
    closures = Closures({} if closed is None else {EVENT.user_id: closed})
    deciding = connect(service(closures, counted), claims)
    if let_in:
        await deciding
    else:
        with pytest.raises(KeyRevoked, match="negotiate again"):
            await deciding
    assert counted == ({} if let_in else {"connections_refused": 1})


async def test_without_the_cache_clients_are_let_in(caplog: pytest.LogCaptureFixture) -> None:
    counted = Counted()
    await connect(service(Closures({EVENT.user_id: 1.0}, away=True), counted))
    assert counted == {}
    assert "connects without the check for closed accounts: refused" in caplog.text


@pytest.mark.parametrize("kind", ["connect", "connected", "disconnected"])
async def test_what_is_not_proven_is_neither_read_nor_counted(kind: EventKind) -> None:
    def never() -> bytes:
        raise AssertionError("nothing of a stranger's event may be read")

    counted = Counted()
    with pytest.raises(Unauthenticated):
        await service(Closures(), counted).take(HubEvent(kind, "c-1", "k"), {}, never)
    assert counted == {}


async def test_a_connect_request_that_is_none_is_refused() -> None:
    events = service(Closures(), Counted())
    with pytest.raises(MalformedJson):
        await events.take(EVENT, HEADERS, lambda: b"{")
    with pytest.raises(ValidationFailed):
        await events.take(EVENT, HEADERS, lambda: b'{"claims": 7}')


def test_only_our_own_hub_is_welcome() -> None:
    events = service(Closures(), Counted())
    assert events.allowed_origin("Signal.webpubsub.azure.com") == "Signal.webpubsub.azure.com"
    for stranger in ("", "other.webpubsub.azure.com", "*"):
        with pytest.raises(ValidationFailed) as refused:
            events.allowed_origin(stranger)
        assert [error.field for error in refused.value.errors] == ["webhook-request-origin"]


async def test_connections_are_counted() -> None:
    counted = Counted()
    events = service(Closures(), counted)
    kinds: list[EventKind] = ["connect", "connected", "disconnected", "connected"]
    for kind in kinds:
        await events.take(HubEvent(kind, "c-1", "k"), HEADERS, lambda: b"{}")
    assert counted == {"connections_opened": 2, "connections_closed": 1}
