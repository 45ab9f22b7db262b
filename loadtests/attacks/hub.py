"""Attacks on the hub: many sockets from one client access URL, and one socket for each of many URLs."""

import asyncio
import base64
import json
import secrets
from collections.abc import AsyncIterator
from typing import cast
from urllib.parse import urlsplit

from loadtests.attacks.field import SHORTEST_PAUSE_S, Field
from loadtests.attacks.http_client import Connection, Refused

SOCKETS = 1_500
AT_ONCE = 50
OPENING_TIMEOUT_S = 10.0
GROUP = "symbol.ES"


class RawSocket(asyncio.Protocol):
    """One WebSocket that joins the symbol's group and throws away what it hears."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        key = base64.b64encode(secrets.token_bytes(16)).decode()
        self._request = (
            f"GET {parts.path}?{parts.query} HTTP/1.1\r\nHost: {parts.netloc}\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Protocol: json.webpubsub.azure.v1\r\nSec-WebSocket-Key: {key}\r\n\r\n"
        ).encode()
        self._transport: asyncio.Transport | None = None
        self._buffer = b""
        self.is_open = False
        self.was_open = False
        self.answered: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        if self.answered.done():
            return
        self._buffer += data
        if b"\r\n\r\n" not in self._buffer:
            return
        status = self._buffer[9:12].decode("latin-1")
        if status == "101":
            self.is_open = self.was_open = True
            self._join()
        self.answered.set_result(status)

    def _join(self) -> None:
        assert self._transport is not None
        payload = json.dumps({"type": "joinGroup", "group": GROUP}).encode()
        # A client must mask; a mask of zeros leaves the bytes as they are.
        self._transport.write(bytes([0x81, 0x80 | len(payload)]) + b"\0\0\0\0" + payload)

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_open = False
        if not self.answered.done():
            self.answered.set_result("closed")

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()


async def open_socket(url: str) -> tuple[RawSocket, str]:
    """Returns a socket and the status of its handshake, `closed` or `timeout` if there was none."""
    parts = urlsplit(url)
    assert parts.hostname is not None
    assert parts.port is not None
    loop = asyncio.get_running_loop()
    _, socket = await loop.create_connection(lambda: RawSocket(url), parts.hostname, parts.port)
    try:
        async with asyncio.timeout(OPENING_TIMEOUT_S):
            return socket, await asyncio.shield(socket.answered)
    except TimeoutError:
        return socket, "timeout"


async def _negotiated(field: Field, connection: Connection) -> str | None:
    try:
        answer = await connection.ask(field.post("ws/negotiate", b'{"symbols":["ES"]}'))
    except Refused as error:
        field.answers[f"negotiate: {error}"] += 1
        return None
    field.answers[f"negotiate: {answer.label}"] += 1
    return str(json.loads(answer.body)["url"]) if answer.is_success else None


async def _hold(field: Field, urls: AsyncIterator[str], at_once: int) -> None:
    """Opens a socket for each URL, `at_once` at a time, and holds all to the end."""
    sockets: list[RawSocket] = []

    async def keep_opening() -> None:
        while field.is_on and len(sockets) < SOCKETS:
            url = await anext(urls, None)
            if url is None:
                return
            try:
                socket, status = await open_socket(url)
            except OSError:
                field.answers["handshake: no connection"] += 1
                continue
            field.answers[f"handshake: {status}"] += 1
            sockets.append(socket)
            field.note_most("most open at once", sum(each.is_open for each in sockets))

    await asyncio.gather(*(keep_opening() for _ in range(at_once)))
    await asyncio.sleep(field.left_s)
    field.notes["open at the end"] = sum(each.is_open for each in sockets)
    for socket in sockets:
        socket.close()


async def one_url(field: Field) -> None:
    """Opens SOCKETS sockets with one client access URL."""
    await field.begin()
    connection = Connection(field.plan.port)
    url = await _negotiated(field, connection)
    connection.close()

    async def same() -> AsyncIterator[str]:
        for _ in range(SOCKETS):
            assert url is not None
            yield url

    if url is not None:
        await _hold(field, same(), AT_ONCE)


async def many_urls(field: Field) -> None:
    """Negotiates as fast as allowed, and opens one socket for each URL."""
    await field.begin()

    async def fresh() -> AsyncIterator[str]:
        connection = Connection(field.plan.port)
        while field.is_on:
            url = await _negotiated(field, connection)
            if url is None:
                await asyncio.sleep(min(SHORTEST_PAUSE_S, field.left_s))
            else:
                yield url

    await _hold(field, fresh(), 1)
