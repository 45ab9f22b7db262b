"""The Web PubSub stand-in as a child process, a proxy that cuts connections, and bare clients."""

import asyncio
import base64
import os
import secrets
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.error import URLError
from urllib.parse import quote, urlsplit
from urllib.request import urlopen

import aiohttp
import jwt
from azure.messaging.webpubsubservice import WebPubSubServiceClient

from tests.support.places import ROOT
from tests.support.ports import free_port

JSON_PROTOCOL = "json.webpubsub.azure.v1"
RELIABLE_PROTOCOL = "json.reliable.webpubsub.azure.v1"
ALL_ROLES = ["webpubsub.joinLeaveGroup", "webpubsub.sendToGroup"]
_START_DEADLINE_S = 20.0
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


CONTINUATION = 0x0
_MASK = b"\x01\x02\x03\x04"


def client_frame(opcode: int, payload: bytes, *, final: bool = True) -> bytes:
    """A masked frame, as clients must send it."""
    size = len(payload)
    if size < 126:
        head = bytes([size | 0x80])
    elif size < 1 << 16:
        head = struct.pack("!BH", 126 | 0x80, size)
    else:
        head = struct.pack("!BQ", 127 | 0x80, size)
    mask = (_MASK * (size // 4 + 1))[:size]
    body = (int.from_bytes(payload) ^ int.from_bytes(mask)).to_bytes(size)
    return bytes([opcode | (0x80 if final else 0)]) + head + _MASK + body


def until(condition: Callable[[], object], what: str, timeout_s: float = 10.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"waited {timeout_s} s in vain for {what}"
        time.sleep(0.01)


async def eventually(condition: Callable[[], object], what: str, timeout_s: float = 10.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"waited {timeout_s} s in vain for {what}"
        await asyncio.sleep(0.01)


class StandIn:
    """`python -m local.webpubsub` on a port that stays its own over restarts."""

    def __init__(self, log: Path, *arguments: str) -> None:
        self.port = free_port()
        self.key = secrets.token_urlsafe(32)
        self.log = log
        self._arguments = arguments
        self.start()

    @property
    def connection_string(self) -> str:
        return f"Endpoint=http://127.0.0.1:{self.port};AccessKey={self.key};Version=1.0;"

    @property
    def http(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def service(self, hub: str) -> WebPubSubServiceClient:
        return WebPubSubServiceClient.from_connection_string(self.connection_string, hub=hub)

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "local.webpubsub", "--port", str(self.port), *self._arguments],
                cwd=ROOT,
                env={**os.environ, "WEBPUBSUB_ACCESS_KEY": self.key, "PYTHONPATH": str(ROOT)},
                stdout=log,
                stderr=log,
            )
        until(self._ready, "the stand-in to start", _START_DEADLINE_S)

    def _ready(self) -> bool:
        assert self.process.poll() is None, f"the stand-in ended: {self.log.read_text()}"
        try:
            with urlopen(f"{self.http}/api/health", timeout=1) as response:
                return bool(response.status == 200)
        except (URLError, OSError):
            return False

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(10)

    def stop(self) -> int:
        """Ask it to end; its exit code."""
        self.process.send_signal(signal.SIGCONT)
        self.process.terminate()
        return self.process.wait(20)

    def token(self, hub: str, *, lifetime_s: float = 600, **claims: object) -> str:
        """A client token with any claims; `aud` and `exp` unless given."""
        content = {"aud": f"{self.http}/client/hubs/{hub}", "exp": int(time.time() + lifetime_s)} | claims
        return jwt.encode(content, self.key, algorithm="HS256")

    def url(self, hub: str, **claims: Any) -> str:
        return f"ws://127.0.0.1:{self.port}/client/hubs/{hub}?access_token={self.token(hub, **claims)}"


class CuttingProxy:
    """Passes TCP on to the stand-in, and breaks all connections on demand, as a failing network does."""

    def __init__(self, port: int) -> None:
        self.target = port
        self._server = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port: int = self._server.getsockname()[1]
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._lock = threading.Lock()
        self.accepted = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        self.cut()

    def through(self, url: str) -> str:
        """The same URL by way of the proxy."""
        return urlsplit(url)._replace(netloc=f"127.0.0.1:{self.port}").geturl()

    def cut(self) -> None:
        with self._lock:
            pairs, self._pairs = self._pairs, []
        for pair in pairs:
            for end in pair:
                with suppress(OSError):
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
                    end.shutdown(socket.SHUT_RDWR)
                end.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self.target))
            except OSError:
                client.close()
                continue
            with self._lock:
                self._pairs.append((client, server))
                self.accepted += 1
            for source, sink in ((client, server), (server, client)):
                threading.Thread(target=self._pump, args=(source, sink), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65_536):
                sink.sendall(data)
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


class RawClient:
    """A client that sends any bytes, so that it can break the rules of WebSocket frames."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(
        cls, port: int, url: str, protocol: str | None = JSON_PROTOCOL, *, behind: bytes = b""
    ) -> Self:
        """Upgrade, and send `behind` in one piece with the request."""
        parts = urlsplit(url)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        offer = f"Sec-WebSocket-Protocol: {protocol}\r\n" if protocol is not None else ""
        request = (
            f"GET {parts.path}?{parts.query} HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n{offer}"
            f"Sec-WebSocket-Key: {base64.b64encode(bytes(16)).decode()}\r\n\r\n"
        )
        writer.write(request.encode() + behind)
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
        assert b" 101 " in head.partition(b"\r\n")[0]
        return cls(reader, writer)

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def next(self) -> tuple[int, bytes]:
        """Opcode and payload of the next frame, which must be whole and unmasked."""
        async with asyncio.timeout(5):
            first, size = await self._reader.readexactly(2)
            if size >= 126:
                size = int.from_bytes(await self._reader.readexactly(2 if size == 126 else 8))
            assert first & 0x80
            return first & 0x0F, await self._reader.readexactly(size)

    async def ended(self) -> bool:
        """Whether the server closes the connection and sends nothing more."""
        try:
            return await asyncio.wait_for(self._reader.read(), 5) == b""
        except ConnectionError:
            return True

    def abort(self) -> None:
        self._writer.transport.abort()


class BareClient:
    """A client that shows every frame: the protocol itself, without an SDK."""

    def __init__(self, ws: aiohttp.ClientWebSocketResponse) -> None:
        self.ws = ws
        self.connected: dict[str, Any] = {}

    @property
    def connection_id(self) -> str:
        return str(self.connected["connectionId"])

    async def send(self, **message: object) -> None:
        await self.ws.send_json(message)

    async def next(self, timeout_s: float = 5.0) -> dict[str, Any]:
        content = await self.ws.receive_json(timeout=timeout_s)
        assert isinstance(content, dict)
        return content

    async def request(self, **message: object) -> dict[str, Any]:
        """Send and return the ack, which must be the next frame."""
        await self.send(**message)
        answer = await self.next()
        assert answer["type"] == "ack", answer
        assert answer["ackId"] == message["ackId"]
        return answer

    async def join(self, group: str, ack_id: int = 1_000_000) -> None:
        answer = await self.request(type="joinGroup", group=group, ackId=ack_id)
        assert answer["success"], answer

    async def closed(self, timeout_s: float = 5.0) -> int:
        """The code of the close frame, which must be what comes next."""
        message = await self.ws.receive(timeout=timeout_s)
        assert message.type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED), message
        return int(self.ws.close_code or 0)

    async def nothing_came(self) -> None:
        """A ping is answered at once, so that whatever was sent before would have come first."""
        await self.send(type="ping")
        assert await self.next() == {"type": "pong"}


class Dialer:
    """Opens bare clients and closes them with the test."""

    def __init__(self, stand_in: StandIn, hub: str, session: aiohttp.ClientSession) -> None:
        self._stand_in = stand_in
        self._hub = hub
        self._opened: list[aiohttp.ClientWebSocketResponse] = []
        self.session = session

    async def socket(
        self, url: str, *protocols: str, headers: dict[str, str] | None = None
    ) -> aiohttp.ClientWebSocketResponse:
        ws = await self.session.ws_connect(url, protocols=protocols, headers=headers, max_msg_size=0)
        self._opened.append(ws)
        return ws

    async def close(self) -> None:
        for ws in self._opened:
            await ws.close()

    async def json(self, protocol: str = JSON_PROTOCOL, /, **claims: Any) -> BareClient:
        client = BareClient(await self.socket(self._stand_in.url(self._hub, **claims), protocol))
        client.connected = await client.next()
        assert client.connected["event"] == "connected"
        return client

    async def reliable(self, **claims: Any) -> BareClient:
        return await self.json(RELIABLE_PROTOCOL, **claims)

    async def recover(self, lost: BareClient, *, token: str | None = None) -> BareClient:
        """A socket that asks for the connection of `lost`; what it is answered is still to be read."""
        token = quote(token or lost.connected["reconnectionToken"])
        query = f"awps_connection_id={lost.connection_id}&awps_reconnection_token={token}"
        url = f"ws://127.0.0.1:{self._stand_in.port}/client/hubs/{self._hub}?{query}"
        return BareClient(await self.socket(url, RELIABLE_PROTOCOL))


async def break_off(client: BareClient) -> None:
    """End the TCP connection without a close frame."""
    transport = client.ws.get_extra_info("socket")
    transport.shutdown(socket.SHUT_RDWR)
    await client.ws.receive()


@asynccontextmanager
async def dialing(stand_in: StandIn, hub: str) -> AsyncIterator[Dialer]:
    async with aiohttp.ClientSession() as session:
        dialer = Dialer(stand_in, hub, session)
        try:
            yield dialer
        finally:
            await dialer.close()
