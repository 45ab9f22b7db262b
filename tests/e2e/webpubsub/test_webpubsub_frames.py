"""WebSocket frames over a real socket: masks, fragments, sizes, pings, closing, and broken rules."""

import asyncio
import json
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from aiohttp import WSMsgType

from local.webpubsub.limits import MAX_MESSAGE_BYTES, PING_INTERVAL_S, PONG_TIMEOUT_S
from local.webpubsub.sockets import Socket
from tests.support.webpubsub import ALL_ROLES, CONTINUATION, JSON_PROTOCOL, RawClient, StandIn, client_frame

TEXT, BINARY, CLOSE, PING, PONG = (
    WSMsgType.TEXT,
    WSMsgType.BINARY,
    WSMsgType.CLOSE,
    WSMsgType.PING,
    WSMsgType.PONG,
)
APP_PING = b'{"type":"ping"}'
Opener = Callable[..., Awaitable[RawClient]]


@pytest.fixture
async def raw(stand_in: StandIn, hub: str) -> AsyncIterator[Opener]:
    """Opens raw clients, which have read their connected message unless they are simple."""
    opened: list[RawClient] = []

    async def open_raw(protocol: str | None = JSON_PROTOCOL, *, behind: bytes = b"") -> RawClient:
        url = stand_in.url(hub, role=ALL_ROLES, **{"webpubsub.group": "g"})
        client = await RawClient.open(stand_in.port, url, protocol, behind=behind)
        opened.append(client)
        if protocol is not None:
            assert json.loads((await client.next())[1])["event"] == "connected"
        return client

    yield open_raw
    for client in opened:
        client.abort()


def _send(data: str) -> bytes:
    return json.dumps({"type": "sendToGroup", "group": "g", "dataType": "text", "data": data}).encode()


async def test_a_message_in_fragments_with_a_ping_between(raw: Opener) -> None:
    client = await raw()
    await client.send(
        client_frame(TEXT, APP_PING[:4], final=False)
        + client_frame(PING, b"are you there")
        + client_frame(CONTINUATION, b"", final=False) * 20_000
        + client_frame(CONTINUATION, APP_PING[4:])
    )
    assert await client.next() == (PONG, b"are you there")
    assert await client.next() == (TEXT, b'{"type":"pong"}')


async def test_a_frame_that_arrives_byte_by_byte(raw: Opener) -> None:
    client = await raw()
    for byte in client_frame(TEXT, APP_PING):
        await client.send(bytes([byte]))
    assert await client.next() == (TEXT, b'{"type":"pong"}')


@pytest.mark.parametrize("size", [0, 125, 126, 65_535, 65_536, MAX_MESSAGE_BYTES - 100])
async def test_every_length_comes_back(raw: Opener, size: int) -> None:
    client = await raw()
    await client.send(client_frame(TEXT, _send("x" * size)))
    opcode, payload = await client.next()
    assert opcode == TEXT
    assert json.loads(payload)["data"] == "x" * size


async def test_what_comes_in_one_piece_with_the_upgrade_request_counts(raw: Opener) -> None:
    client = await raw(behind=client_frame(TEXT, APP_PING))
    assert await client.next() == (TEXT, b'{"type":"pong"}')


@pytest.mark.parametrize(
    ("stream", "code"),
    [
        (b"\x81\x02{}", 1002),
        (client_frame(CONTINUATION, b"nothing to go on"), 1002),
        (client_frame(TEXT, b"a", final=False) + client_frame(TEXT, b"b"), 1002),
        (client_frame(PING, b"x", final=False), 1002),
        (client_frame(PING, b"x" * 126), 1002),
        (client_frame(0x3, b""), 1002),
        (client_frame(TEXT | 0x40, b""), 1002),
        (client_frame(CLOSE, b"\x03"), 1002),
        (client_frame(TEXT, b"x" * (MAX_MESSAGE_BYTES + 1)), 1009),
        (client_frame(TEXT, b"x" * 600_000, final=False) + client_frame(CONTINUATION, b"x" * 600_000), 1009),
        (struct.pack("!BBQ", 0x81, 127 | 0x80, 2**62), 1009),
        (struct.pack("!BBQ", 0x81, 127 | 0x80, 2**64 - 1), 1009),
    ],
    ids=[
        "not masked",
        "continuation of nothing",
        "two messages at once",
        "fragmented ping",
        "long ping",
        "unknown opcode",
        "reserved bit",
        "half a close code",
        "too big",
        "too big in fragments",
        "declares too much",
        "declares the most there is",
    ],
)
async def test_a_frame_that_breaks_the_rules_closes_with_its_code(
    raw: Opener, stream: bytes, code: int
) -> None:
    client = await raw()
    await client.send(stream)
    opcode, payload = await client.next()
    assert (opcode, int.from_bytes(payload[:2])) == (CLOSE, code)
    assert payload[2:].decode()


async def test_after_a_broken_frame_the_connection_is_cut_though_the_client_stays(raw: Opener) -> None:
    client = await raw()
    await client.send(client_frame(0x3, b""))
    assert (await client.next())[0] == CLOSE
    await client.send(client_frame(TEXT, APP_PING))
    assert await client.ended()


async def test_a_silent_client_is_pinged_and_cut_and_one_that_answers_stays() -> None:
    loop = asyncio.get_running_loop()
    ours, theirs = socket.socketpair()
    transport, _ = await loop.create_connection(asyncio.Protocol, sock=ours)
    served = Socket(transport, loop)
    transport.set_protocol(served)
    client = RawClient(*await asyncio.open_connection(sock=theirs))
    await client.send(client_frame(PING, b"first"))
    assert await client.next() == (PONG, b"first")
    for _ in range(2):
        served.check_alive(loop.time() + PING_INTERVAL_S + 1)
        assert await client.next() == (PING, b"")
        await client.send(client_frame(PONG, b"") + client_frame(PING, b"again"))
        assert await client.next() == (PONG, b"again")
        served.forgive_silence(loop.time())
    served.check_alive(loop.time() + PING_INTERVAL_S + 1)
    assert await client.next() == (PING, b"")
    served.check_alive(loop.time() + PING_INTERVAL_S + PONG_TIMEOUT_S + 3)
    assert await client.ended()
    client.abort()


@pytest.mark.parametrize(
    ("protocol", "message"), [(JSON_PROTOCOL, b'{"type":"\xff"}'), (None, b"\xff")], ids=["json", "simple"]
)
async def test_text_that_is_not_utf_8_closes_with_1008(
    raw: Opener, protocol: str | None, message: bytes
) -> None:
    client = await raw(protocol)
    await client.send(client_frame(TEXT, message))
    opcode, payload = await client.next()
    if protocol is not None:
        assert json.loads(payload)["event"] == "disconnected"
        opcode, payload = await client.next()
    assert (opcode, int.from_bytes(payload[:2])) == (CLOSE, 1008)


@pytest.mark.parametrize(
    ("payload", "answer"),
    [(b"", 1000), (b"\x03\xe8", 1000), (b"\x03\xe9going away", 1000), (b"\x0f\xa0", 4000)],
    ids=["no code", "1000", "1001", "4000"],
)
async def test_a_close_is_answered_and_ends_the_connection(raw: Opener, payload: bytes, answer: int) -> None:
    client = await raw()
    await client.send(client_frame(CLOSE, payload))
    opcode, code = await client.next()
    assert (opcode, int.from_bytes(code)) == (CLOSE, answer)
    assert await client.ended()


async def test_a_pong_that_nobody_asked_for_is_fine(raw: Opener) -> None:
    client = await raw()
    await client.send(client_frame(PONG, b"still here") + client_frame(TEXT, APP_PING))
    assert await client.next() == (TEXT, b'{"type":"pong"}')
