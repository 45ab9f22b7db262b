"""Access to the hub, and the hub's own events, through their routes."""

import hashlib
import hmac
from typing import Any

import pytest

from shared.services.key_making import CreatedKey
from tests.support.api import HUB_KEY, Answered, Api


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
        "expires_at": "2026-03-02T14:35:00Z",
        "session": None,
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
        ({"symbols": []}, ["symbols"]),
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


def event(
    kind: str,
    *,
    key: str = HUB_KEY,
    hub: str = "signals",
    user: str = "acct-1",
    connection: str = "c-1",
) -> dict[str, str]:
    signed = hmac.new(key.encode(), connection.encode(), hashlib.sha256).hexdigest()
    return {
        "ce-type": f"azure.webpubsub.sys.{kind}",
        "ce-hub": hub,
        "ce-connectionid": connection,
        "ce-userid": user,
        "ce-signature": f"sha256={signed}",
        "content-type": "application/json",
    }


async def send(api: Api, headers: dict[str, str], body: object = None, **options: Any) -> Answered:
    return await api.call("POST", "ws/events", headers=headers, body=body or {"claims": {}}, **options)


async def claims(api: Api, key: CreatedKey) -> dict[str, Any]:
    """The connect request of a client that has just negotiated."""
    await api.call("POST", "ws/negotiate", key=key)
    return {"claims": {"webpubsub.group": api.hub.memberships[-1]}}


async def test_a_client_is_let_in_without_content_and_once(api: Api) -> None:
    request = await claims(api, await api.key("bot"))
    answered = await send(api, event("connect"), request)
    assert (answered.status, answered.body) == (204, b"")
    assert api.counts == {"negotiated": 1}
    again = await send(api, event("connect", connection="c-2"), request)
    assert (again.status, again.code) == (401, "access_url_used")


async def test_one_connection_too_many_is_refused_with_its_reason(api: Api) -> None:
    key = await api.key("bot")
    for n in range(10):
        request = await claims(api, key)
        assert (await send(api, event("connect", connection=f"c-{n}"), request)).status == 204
    answered = await send(api, event("connect", connection="c-10"), await claims(api, key))
    assert (answered.status, answered.code) == (429, "connections_exceeded")
    assert "10 open connections" in answered.json["detail"]
    assert answered.headers["retry-after"] == "10"
    assert api.counts["refused.connections_exceeded"] == api.counts["connections_exceeded"] == 1
    assert (await send(api, event("disconnected", connection="c-3"))).status == 204
    assert (await send(api, event("connect", connection="c-10"), await claims(api, key))).status == 204


async def test_connections_are_counted(api: Api) -> None:
    for kind in ("connected", "connected", "disconnected"):
        assert (await send(api, event(kind))).status == 204
    assert api.counts == {"connections_opened": 2, "connections_closed": 1}


async def test_a_url_from_before_a_revocation_is_refused(api: Api) -> None:
    key, other = await api.key("bot"), await api.key("bot", account="acct-2")
    request = await claims(api, key)
    api.redis.away = True
    await api.services.license_service("tester").revoke_key(key.key.public_id)
    answered = await send(api, event("connect"), request)
    assert (answered.status, answered.code) == (401, "key_revoked")
    assert api.counts["connections_refused"] == api.counts["refused.key_revoked"] == 1
    assert (await send(api, event("connect", user="acct-2"), await claims(api, other))).status == 204


async def test_while_the_key_store_is_away_clients_are_told_to_come_again(api: Api) -> None:
    request = await claims(api, await api.key("bot"))
    api.key_store.away = True
    answered = await send(api, event("connect"), request)
    assert (answered.status, answered.code) == (503, "key_store_unavailable")


@pytest.mark.parametrize("kind", ["connect", "connected", "disconnected"])
async def test_nobody_else_may_send_events(api: Api, kind: str) -> None:
    answered = await send(api, event(kind, key="another"))
    assert (answered.status, answered.code) == (401, "key_unknown")
    assert api.counts == {"refused.key_unknown": 1}


async def test_every_bad_header_is_named(api: Api) -> None:
    answered = await send(api, {"ce-type": "azure.webpubsub.user.buy"})
    assert (answered.status, answered.fields) == (422, ["ce-type", "ce-hub", "ce-connectionid"])
    assert (await send(api, event("connected", hub="Signals"))).status == 204


async def test_a_connect_request_that_is_none_is_refused(api: Api) -> None:
    assert (await send(api, event("connect"), content=b"{")).code == "malformed_json"
    assert (await send(api, event("connect"), {"claims": 7})).fields == ["claims"]
    assert (await send(api, event("connected"), content=b"{")).status == 204, "nothing of it is read"


async def test_without_the_cache_or_postgres_clients_are_let_in(api: Api) -> None:
    request = await claims(api, await api.key("bot"))
    api.redis.away = api.stores.server.away = True
    assert (await send(api, event("connect"), request)).status == 204
    assert api.counts["connections_uncounted"] == 1


async def test_only_our_own_hub_is_welcome(api: Api) -> None:
    headers = {"webhook-request-origin": "127.0.0.1:8080"}
    answered = await api.call("OPTIONS", "ws/events", headers=headers)
    assert (answered.status, answered.body) == (200, b"")
    assert answered.headers["webhook-allowed-origin"] == "127.0.0.1:8080"
    for origin in ({}, {"webhook-request-origin": "elsewhere"}):
        answered = await api.call("OPTIONS", "ws/events", headers=origin)
        assert (answered.status, answered.fields) == (422, ["webhook-request-origin"])
