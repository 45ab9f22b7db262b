"""Access to the hub, and the hub's own events, through their routes."""

import hashlib
import hmac
from typing import Any

import pytest

from tests.support.api import HUB_KEY, Answered, Api

CONNECT = {"claims": {"iat": ["1"]}}


async def negotiate(api: Api, body: object = None, **options: Any) -> Answered:
    return await api.call("POST", "ws/negotiate", key=await api.key("bot"), body=body, **options)


@pytest.mark.parametrize(
    ("body", "symbols"),
    [
        (None, ["ES", "NQ"]),
        ({}, ["ES", "NQ"]),
        ({"symbols": None}, ["ES", "NQ"]),
        ({"symbols": ["NQ"]}, ["NQ"]),
        ({"symbols": ["NQ", "ES", "NQ"]}, ["NQ", "ES"]),
        ({"symbols": []}, []),
    ],
)
async def test_client_access_covers_what_is_asked_for(api: Api, body: object, symbols: list[str]) -> None:
    answered = await negotiate(api, body)
    groups = [f"symbol.{symbol}" for symbol in symbols]
    assert answered.json == {
        "url": f"wss://hub/acct-1/{','.join(groups)}",
        "hub": "signals",
        "groups": groups,
        "protocol": "json.reliable.webpubsub.azure.v1",
        "expires_at": "2026-03-02T15:30:00Z",
    }
    assert api.counts == {"negotiated": 1}


async def test_symbols_outside_of_the_license_are_refused(api: Api) -> None:
    answered = await negotiate(api, {"symbols": ["ES", "CL"]})
    assert (answered.status, answered.code, answered.fields) == (403, "symbol_not_licensed", ["symbols[1]"])
    assert api.counts == {"refused.symbol_not_licensed": 1}


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({"symbols": ["es"]}, ["symbols[0]"]),
        ({"symbols": "ES"}, ["symbols"]),
        ({"symbols": ["ES"] * 101}, ["symbols"]),
        ({"symbol": ["ES"]}, ["symbol"]),
        (7, [""]),
    ],
)
async def test_a_bad_request_is_named(api: Api, body: object, fields: list[str]) -> None:
    answered = await negotiate(api, body)
    assert (answered.status, answered.fields) == (422, fields)


async def test_a_body_that_is_no_json_is_refused(api: Api) -> None:
    assert (await negotiate(api, content=b"{")).code == "malformed_json"
    assert (await negotiate(api, content=b" ")).code == "malformed_json"
    answered = await negotiate(api, content=b"{}", headers={"content-type": "application/xml"})
    assert answered.code == "unsupported_media_type"


async def test_up_to_100_symbols_may_be_named(api: Api) -> None:
    assert (await negotiate(api, {"symbols": ["ES"] * 100})).json["groups"] == ["symbol.ES"]


def event(kind: str, *, key: str = HUB_KEY, hub: str = "signals", user: str = "acct-1") -> dict[str, str]:
    signed = hmac.new(key.encode(), b"c-1", hashlib.sha256).hexdigest()
    return {
        "ce-type": f"azure.webpubsub.sys.{kind}",
        "ce-hub": hub,
        "ce-connectionid": "c-1",
        "ce-userid": user,
        "ce-signature": f"sha256={signed}",
        "content-type": "application/json",
    }


async def send(api: Api, headers: dict[str, str], body: object = None, **options: Any) -> Answered:
    return await api.call("POST", "ws/events", headers=headers, body=body or CONNECT, **options)


async def test_a_client_is_let_in_without_content(api: Api) -> None:
    answered = await send(api, event("connect"))
    assert (answered.status, answered.body) == (204, b"")
    assert api.counts == {}


async def test_connections_are_counted(api: Api) -> None:
    for kind in ("connected", "connected", "disconnected"):
        assert (await send(api, event(kind))).status == 204
    assert api.counts == {"connections_opened": 2, "connections_closed": 1}


async def test_a_url_from_before_the_closing_is_refused(api: Api) -> None:
    key = await api.key("bot")
    await api.services.license_service("tester").revoke_key(key.key.public_id)
    answered = await send(api, event("connect"))
    assert (answered.status, answered.code) == (401, "key_revoked")
    assert api.counts == {"connections_refused": 1, "refused.key_revoked": 1}
    later = {"claims": {"iat": [str(int(api.clock.timestamp()) + 1)]}}
    assert (await send(api, event("connect"), later)).status == 204
    assert (await send(api, event("connect", user="acct-2"))).status == 204


@pytest.mark.parametrize("kind", ["connect", "connected", "disconnected"])
async def test_nobody_else_may_send_events(api: Api, kind: str) -> None:
    answered = await send(api, event(kind, key="another"))
    assert (answered.status, answered.code) == (401, "key_unknown")
    assert api.counts == {"refused.key_unknown": 1}


async def test_every_bad_header_is_named(api: Api) -> None:
    answered = await send(api, {"ce-type": "azure.webpubsub.user.buy"})
    assert (answered.status, answered.fields) == (422, ["ce-type", "ce-hub", "ce-connectionid"])
    assert (await send(api, event("connect", hub="Signals"))).status == 204


async def test_a_connect_request_that_is_none_is_refused(api: Api) -> None:
    assert (await send(api, event("connect"), content=b"{")).code == "malformed_json"
    assert (await send(api, event("connect"), {"claims": 7})).fields == ["claims"]
    assert (await send(api, event("connected"), content=b"{")).status == 204, "nothing of it is read"


async def test_without_the_cache_clients_are_let_in(api: Api) -> None:
    api.redis.away = True
    assert (await send(api, event("connect"))).status == 204


async def test_only_our_own_hub_is_welcome(api: Api) -> None:
    headers = {"webhook-request-origin": "127.0.0.1:8080"}
    answered = await api.call("OPTIONS", "ws/events", headers=headers)
    assert (answered.status, answered.body) == (200, b"")
    assert answered.headers["webhook-allowed-origin"] == "127.0.0.1:8080"
    for origin in ({}, {"webhook-request-origin": "elsewhere"}):
        answered = await api.call("OPTIONS", "ws/events", headers=origin)
        assert (answered.status, answered.fields) == (422, ["webhook-request-origin"])
