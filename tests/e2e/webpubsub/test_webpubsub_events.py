"""Upstream events: a real event handler over HTTP, asked by the stand-in."""

import asyncio
import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web

from tests.support.ports import free_port
from tests.support.webpubsub import (
    ALL_ROLES,
    JSON_PROTOCOL,
    RELIABLE_PROTOCOL,
    BareClient,
    Dialer,
    StandIn,
    break_off,
    dialing,
    eventually,
)

HUB = "signals"


class Handler:
    """Keeps every event, and answers as the test says: a response for each event name, else 204."""

    def __init__(self) -> None:
        self.validations: list[str] = []
        self.events: list[tuple[dict[str, str], bytes]] = []
        self.answers: dict[str, web.Response] = {}
        self.allowed_origin = "*"
        self.hold: asyncio.Event | None = None

    async def validate(self, request: web.Request) -> web.Response:
        self.validations.append(request.headers["WebHook-Request-Origin"])
        return web.Response(headers={"WebHook-Allowed-Origin": self.allowed_origin})

    async def event(self, request: web.Request) -> web.Response:
        body = await request.read()
        self.events.append(({name.lower(): value for name, value in request.headers.items()}, body))
        if self.hold is not None:
            await self.hold.wait()
        name = request.headers["ce-eventName"]
        answer = self.answers.get(name)
        if answer is None:
            return web.Response(status=204)
        return web.Response(status=answer.status, body=answer.body, headers=answer.headers)

    def named(self, name: str) -> list[tuple[dict[str, str], bytes]]:
        return [event for event in self.events if event[0]["ce-eventname"] == name]


@pytest.fixture(scope="module")
def handler_port() -> int:
    return free_port()


@asynccontextmanager
async def handling(port: int) -> AsyncIterator[Handler]:
    handler = Handler()
    app = web.Application()
    app.router.add_route("OPTIONS", "/{path:.*}", handler.validate)
    app.router.add_route("POST", "/{path:.*}", handler.event)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        yield handler
    finally:
        await runner.cleanup()


@pytest.fixture
async def handler(handler_port: int) -> AsyncIterator[Handler]:
    async with handling(handler_port) as answering:
        yield answering


@pytest.fixture
def server(handler_port: int, start_stand_in: Callable[..., StandIn]) -> Iterator[StandIn]:
    started = start_stand_in("--upstream-url", f"http://127.0.0.1:{handler_port}/{{hub}}/{{event}}")
    yield started
    assert started.stop() == 0


@pytest.fixture
async def dial(server: StandIn) -> AsyncIterator[Dialer]:
    async with dialing(server, HUB) as dialer:
        yield dialer


async def test_connect_says_who_comes_and_is_signed(server: StandIn, handler: Handler, dial: Dialer) -> None:
    client = await dial.json(sub="zoë %", role=ALL_ROLES)
    await eventually(lambda: handler.named("connected"), "connected")
    assert handler.validations == [f"127.0.0.1:{server.port}"]
    headers, body = handler.named("connect")[0]
    assert headers["ce-type"] == "azure.webpubsub.sys.connect"
    assert headers["ce-specversion"] == "1.0"
    assert headers["ce-hub"] == HUB
    assert headers["ce-userid"] == "zo%C3%AB%20%25"
    assert headers["ce-connectionid"] == client.connection_id
    assert headers["ce-source"] == f"/hubs/{HUB}/client/{client.connection_id}"
    signature = hmac.new(server.key.encode(), client.connection_id.encode(), hashlib.sha256).hexdigest()
    assert headers["ce-signature"] == f"sha256={signature}"
    asked = json.loads(body)
    assert asked["claims"]["sub"] == ["zoë %"]
    assert asked["claims"]["role"] == ALL_ROLES
    assert asked["subprotocols"] == [JSON_PROTOCOL]
    assert asked["query"] == {}
    assert asked["clientCertificates"] == []
    assert asked["headers"]["Host"] == [f"127.0.0.1:{server.port}"]
    headers, body = handler.named("connected")[0]
    assert headers["ce-subprotocol"] == JSON_PROTOCOL
    assert body == b"{}"


async def test_connect_may_decide_user_groups_roles_and_subprotocol(
    server: StandIn, handler: Handler, dial: Dialer
) -> None:
    handler.answers["connect"] = web.json_response(
        {
            "userId": "given",
            "groups": ["greeted"],
            "roles": ["webpubsub.joinLeaveGroup"],
            "subprotocol": RELIABLE_PROTOCOL,
        },
        headers={"ce-connectionState": "c3RhdGU="},
    )
    ws = await dial.socket(server.url(HUB), JSON_PROTOCOL, RELIABLE_PROTOCOL)
    client = BareClient(ws)
    client.connected = await client.next()
    assert ws.protocol == RELIABLE_PROTOCOL
    assert client.connected["userId"] == "given"
    assert "reconnectionToken" in client.connected
    await client.join("g")
    with server.service(HUB) as service:
        members = await asyncio.to_thread(lambda: list(service.list_connections(group="greeted")))
    assert [member.connection_id for member in members] == [client.connection_id]
    await eventually(lambda: handler.named("connected"), "connected")
    assert handler.named("connected")[0][0]["ce-connectionstate"] == "c3RhdGU="


@pytest.mark.parametrize("status", [401, 403, 409])
async def test_connect_may_refuse(handler: Handler, dial: Dialer, server: StandIn, status: int) -> None:
    handler.answers["connect"] = web.Response(status=status, text="license revoked")
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await dial.json(sub="ann")
    assert refused.value.status == status
    upgrade = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "A" * 22 + "==",
    }
    address = server.url(HUB).replace("ws:", "http:")
    async with dial.session.get(address, headers=upgrade) as response:
        assert (response.status, await response.text()) == (status, "license revoked")
    assert not handler.named("connected")


@pytest.mark.parametrize(
    "answer",
    [
        web.Response(status=500),
        web.Response(text="not JSON"),
        web.json_response({"userId": 5}),
        web.json_response({"subprotocol": "never.offered"}),
        web.json_response({"userId": "x" * 129}),
    ],
    ids=["500", "not JSON", "wrong type", "subprotocol", "long user id"],
)
async def test_an_answer_that_makes_no_sense_lets_nobody_in(
    handler: Handler, dial: Dialer, answer: web.Response
) -> None:
    handler.answers["connect"] = answer
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await dial.json()
    assert refused.value.status == 500


async def test_without_the_handler_nobody_gets_in_and_with_it_again_they_do(
    server: StandIn, handler_port: int, dial: Dialer
) -> None:
    for _ in range(3):
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await dial.json()
        assert refused.value.status == 500
    assert server.log.read_text().count("the event handler fails") == 1
    async with handling(handler_port):
        await dial.json()


async def test_a_handler_that_does_not_allow_our_origin_gets_no_event(handler: Handler, dial: Dialer) -> None:
    handler.allowed_origin = "someone.else"
    with pytest.raises(aiohttp.WSServerHandshakeError):
        await dial.json()
    assert handler.events == []


async def test_user_events_carry_their_data_and_the_answer_comes_back(handler: Handler, dial: Dialer) -> None:
    client = await dial.json(sub="ann")
    handler.answers["ask"] = web.json_response({"answer": 42}, headers={"ce-connectionState": "asked"})
    await client.send(type="event", event="ask", dataType="json", data={"q": 1.5}, ackId=1)
    message, answered = await client.next(), await client.next()
    assert message == {"type": "message", "from": "server", "dataType": "json", "data": {"answer": 42}}
    assert answered["success"]
    headers, body = handler.named("ask")[0]
    assert headers["ce-type"] == "azure.webpubsub.user.ask"
    assert headers["content-type"] == "application/json; charset=utf-8"
    assert body == b'{"q": 1.5}'
    for kind, data, expected, content_type in (
        ("text", "hi", b"hi", "text/plain; charset=utf-8"),
        ("binary", "AAE=", b"\x00\x01", "application/octet-stream"),
    ):
        assert (
            await client.request(type="event", event="more", dataType=kind, data=data, ackId=ord(kind[0]))
        )["success"]
        headers, body = handler.named("more")[-1]
        assert (headers["content-type"], body) == (content_type, expected)
    assert headers["ce-connectionstate"] == "asked"


async def test_events_go_out_one_after_another_and_once(handler: Handler, dial: Dialer) -> None:
    client = await dial.json()
    await eventually(lambda: handler.named("connected"), "connected")
    handler.hold = asyncio.Event()
    for number in (1, 2, 2, 3):
        await client.send(type="event", event="n", dataType="json", data=number, ackId=number)
    duplicate = await client.next()
    assert duplicate["error"]["name"] == "Duplicate"
    assert len(handler.named("n")) == 1
    handler.hold.set()
    assert [(await client.next())["ackId"] for _ in range(3)] == [1, 2, 3]
    assert [body for _, body in handler.named("n")] == [b"1", b"2", b"3"]


async def test_a_failed_event_is_told_and_may_be_tried_again(handler: Handler, dial: Dialer) -> None:
    client = await dial.json()
    handler.answers["ask"] = web.Response(status=500)
    failed = await client.request(type="event", event="ask", dataType="json", data=1, ackId=1)
    assert failed["error"]["name"] == "InternalServerError"
    del handler.answers["ask"]
    assert (await client.request(type="event", event="ask", dataType="json", data=1, ackId=1))["success"]


async def test_what_a_simple_client_sends_is_a_message_event(
    server: StandIn, handler: Handler, dial: Dialer
) -> None:
    ws = await dial.socket(server.url(HUB))
    handler.answers["message"] = web.Response(text="echo", content_type="text/plain")
    await ws.send_str("hello")
    assert await ws.receive_str(timeout=5) == "echo"
    headers, body = handler.named("message")[0]
    assert (headers["ce-type"], body) == ("azure.webpubsub.user.message", b"hello")
    await ws.send_bytes(b"\x00")
    await eventually(lambda: len(handler.named("message")) == 2, "the second message")
    assert handler.named("message")[1][1] == b"\x00"


async def test_disconnected_comes_when_the_connection_ends_not_when_its_socket_does(
    server: StandIn, handler: Handler, dial: Dialer
) -> None:
    client = await dial.reliable(sub="ann")
    await break_off(client)
    again = await dial.recover(client)
    await again.next()
    assert not handler.named("disconnected")
    with server.service(HUB) as service:
        await asyncio.to_thread(service.close_connection, client.connection_id, reason="enough")
    await eventually(lambda: handler.named("disconnected"), "disconnected")
    _, body = handler.named("disconnected")[0]
    assert body == b'{"reason":"enough"}'
    assert len(handler.named("connected")) == 1
    plain = await dial.json()
    await plain.ws.close()
    await eventually(lambda: len(handler.named("disconnected")) == 2, "the other disconnected")


async def test_only_the_events_asked_for_are_sent(
    handler: Handler, handler_port: int, start_stand_in: Callable[..., StandIn]
) -> None:
    server = start_stand_in(
        "--upstream-url",
        f"http://127.0.0.1:{handler_port}/",
        "--upstream-events",
        "disconnected",
    )
    async with dialing(server, HUB) as dial:
        client = await dial.json()
        assert (await client.request(type="event", event="connect", dataType="json", data=1, ackId=1))[
            "success"
        ]
        await client.ws.close()
        await eventually(lambda: handler.events, "disconnected")
    assert server.stop() == 0
    assert [headers["ce-eventname"] for headers, _ in handler.events] == ["disconnected"]
