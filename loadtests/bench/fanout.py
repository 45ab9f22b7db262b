"""Measures how long a message to a group takes to reach its subscribers, over the reliable subprotocol.

    python -m loadtests.bench.fanout --subscribers 1000 --rate 10 --seconds 10

Starts a Web PubSub stand-in of its own and stops it again, or loads the service that --connection-string
names, such as the real one. The subscribers share one process with the sender, so that one clock measures the
time from just before the REST call to the arrival of the frame at each subscriber. They read frames
themselves, because a client library would use more processor time than the service that is measured.
"""

import argparse
import asyncio
import base64
import json
import resource
import secrets
import ssl
import sys
import time
from array import array
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from typing import cast
from urllib.parse import urlsplit

import psutil
import uvloop
from azure.messaging.webpubsubservice.aio import WebPubSubServiceClient

from loadtests.bench.processes import server, temporary_directory
from local.stack.ports import free_ports

GROUP = "fanout"
HUB = "loadtest"
RELIABLE_PROTOCOL = "json.reliable.webpubsub.azure.v1"

_CONNECT_AT_ONCE = 100
_ACK_INTERVAL_S = 1.0
_START_TIMEOUT_S = 20.0
_DRAIN_TIMEOUT_S = 30.0
_MASK = b"\0\0\0\0"  # a client must mask; a mask of zeros leaves the bytes as they are


@dataclass(slots=True)
class Result:
    """Latencies in seconds, and the counts of deliveries that are missing or came more than once."""

    latencies: array[float] = field(default_factory=lambda: array("d"))
    missing: int = 0
    repeated: int = 0
    sent: int = 0
    send_seconds: float = 0.0
    expected: int | None = None  # deliveries; known once everything is sent
    complete: asyncio.Event = field(default_factory=asyncio.Event)

    def arrived(self, latency_s: float) -> None:
        self.latencies.append(latency_s)
        if len(self.latencies) == self.expected:
            self.complete.set()


@dataclass(frozen=True, slots=True)
class Load:
    """`rate` messages a second of `size` bytes to `subscribers`, for `seconds`."""

    subscribers: int
    rate: float
    seconds: float
    size: int


class Subscriber(asyncio.Protocol):
    """One reliable client: reads frames, records the time of each message, acknowledges once a second."""

    def __init__(self, request: bytes, result: Result) -> None:
        self._request = request
        self._result = result
        self._buffer = b""
        self._upgraded = False
        self._acknowledged = 0
        self._transport: asyncio.Transport | None = None
        self.sequence_id = 0
        self.numbers: set[int] = set()
        self.connected: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(self._request)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.connected.done():
            self.connected.set_exception(exc or ConnectionError("The connection was closed."))

    def data_received(self, data: bytes) -> None:
        now = time.perf_counter()
        self._buffer += data
        if not self._upgraded:
            head, found, rest = self._buffer.partition(b"\r\n\r\n")
            if not found:
                return
            if b" 101 " not in head.partition(b"\r\n")[0]:
                self.connected.set_exception(ConnectionError(head.decode(errors="replace")))
                return
            self._upgraded, self._buffer = True, rest
        while (frame := self._frame()) is not None:
            self._take(frame, now)

    def _frame(self) -> bytes | None:
        buffer = self._buffer
        if len(buffer) < 2:
            return None
        size, start = buffer[1], 2
        if size >= 126:
            start = 4 if size == 126 else 10
            size = int.from_bytes(buffer[2:start])
        if len(buffer) < start + size:
            return None
        self._buffer = buffer[start + size :]
        if buffer[0] == 0x89:
            self._send(0x8A, buffer[start : start + size])
            return b""
        return buffer[start : start + size] if buffer[0] == 0x81 else b""

    def _take(self, frame: bytes, now: float) -> None:
        message = json.loads(frame) if frame else {}
        if message.get("type") == "message":
            self.sequence_id = message["sequenceId"]
            number, sent_at = message["data"]["n"], message["data"]["at"]
            if number in self.numbers:
                self._result.repeated += 1
            self.numbers.add(number)
            self._result.arrived(now - sent_at)
        elif message.get("event") == "connected":
            self.connected.set_result(None)

    def acknowledge(self) -> None:
        if self.sequence_id > self._acknowledged:
            self._acknowledged = self.sequence_id
            self._send(0x81, b'{"type":"sequenceAck","sequenceId":%d}' % self.sequence_id)

    def _send(self, first: int, payload: bytes) -> None:
        assert self._transport is not None
        self._transport.write(bytes([first, 0x80 | len(payload)]) + _MASK + payload)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()


async def _connect(url: str, result: Result) -> Subscriber:
    parts = urlsplit(url)
    secure = parts.scheme == "wss"
    assert parts.hostname is not None
    request = (
        f"GET {parts.path}?{parts.query} HTTP/1.1\r\nHost: {parts.netloc}\r\nUpgrade: websocket\r\n"
        f"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: {RELIABLE_PROTOCOL}\r\n"
        f"Sec-WebSocket-Key: {base64.b64encode(secrets.token_bytes(16)).decode()}\r\n\r\n"
    )
    _, subscriber = await asyncio.get_running_loop().create_connection(
        lambda: Subscriber(request.encode(), result),
        parts.hostname,
        parts.port or (443 if secure else 80),
        ssl=ssl.create_default_context() if secure else None,
    )
    async with asyncio.timeout(_START_TIMEOUT_S):
        await subscriber.connected
    return subscriber


async def _subscribe(service: WebPubSubServiceClient, count: int, result: Result) -> list[Subscriber]:
    subscribers: list[Subscriber] = []
    while len(subscribers) < count:
        token = await service.get_client_access_token(groups=[GROUP])
        batch = min(_CONNECT_AT_ONCE, count - len(subscribers))
        subscribers += await asyncio.gather(*(_connect(token["url"], result) for _ in range(batch)))
    return subscribers


async def _acknowledge(subscribers: list[Subscriber]) -> None:
    """Lets each subscriber acknowledge once in _ACK_INTERVAL_S, spread evenly as with real bots."""
    slices = 20
    while True:
        for part in range(slices):
            for subscriber in subscribers[part::slices]:
                subscriber.acknowledge()
            await asyncio.sleep(_ACK_INTERVAL_S / slices)


async def _send(service: WebPubSubServiceClient, load: Load, result: Result) -> None:
    began = time.perf_counter()
    for number in range(max(1, round(load.rate * load.seconds))):
        await asyncio.sleep(max(0.0, began + number / load.rate - time.perf_counter()))
        content = {"n": number, "at": time.perf_counter(), "pad": ""}
        content["pad"] = "x" * max(0, load.size - len(json.dumps(content)))
        await service.send_to_group(GROUP, content)
        result.sent += 1
    result.send_seconds = time.perf_counter() - began


async def measure(connection_string: str, load: Load, ready: Callable[[], None]) -> Result:
    """Subscribes, calls `ready`, sends, and waits until every message has arrived."""
    result = Result()
    async with AsyncExitStack() as stack:
        service = await stack.enter_async_context(
            WebPubSubServiceClient.from_connection_string(connection_string, hub=HUB)
        )
        listening = await _subscribe(service, load.subscribers, result)
        for subscriber in listening:
            stack.callback(subscriber.close)
        acknowledging = asyncio.create_task(_acknowledge(listening))
        stack.callback(acknowledging.cancel)
        ready()
        await _send(service, load, result)
        result.expected = result.sent * load.subscribers
        if len(result.latencies) < result.expected:
            with suppress(TimeoutError):
                async with asyncio.timeout(_DRAIN_TIMEOUT_S):
                    await result.complete.wait()
        result.missing = sum(result.sent - len(one.numbers) for one in listening)
    return result


@contextmanager
def _stand_in() -> Iterator[tuple[int, str]]:
    """Starts a stand-in on a free port; yields its process id and connection string."""
    (port,) = free_ports(1)
    key = secrets.token_urlsafe(32)
    arguments = ["-m", "local.webpubsub", "--port", str(port)]
    with (
        temporary_directory() as directory,
        server(arguments, {"WEBPUBSUB_ACCESS_KEY": key}, directory / "webpubsub.log", port) as pid,
    ):
        yield pid, f"Endpoint=http://127.0.0.1:{port};AccessKey={key};Version=1.0;"


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process has used: seconds of processor time, and the memory it holds in MB of 10^6 bytes."""

    cpu_s: float
    memory_mb: float


def _usage(pid: int) -> Usage:
    process = psutil.Process(pid)
    times = process.cpu_times()
    return Usage(times.user + times.system, process.memory_info().rss / 1e6)


def _report(load: Load, result: Result, before: Usage | None, after: Usage | None) -> str:
    ordered = sorted(result.latencies)
    lines = [
        f"{load.subscribers} reliable subscribers, {load.size} bytes, "
        f"{result.sent / result.send_seconds:.1f} messages/s, {len(ordered)} deliveries"
    ]
    if ordered:
        shares = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
        points = {
            name: ordered[min(len(ordered) - 1, int(len(ordered) * share))] for name, share in shares.items()
        }
        points["max"] = ordered[-1]
        lines.append(
            "latency ms: " + "  ".join(f"{name} {value * 1000:.1f}" for name, value in points.items())
        )
    lines.append(f"missing {result.missing}, repeated {result.repeated}")
    if before is not None and after is not None and ordered:
        cpu_us = (after.cpu_s - before.cpu_s) / len(ordered) * 1e6
        lines.append(f"the stand-in: {cpu_us:.1f} us of processor time a delivery, {after.memory_mb:.0f} MB")
    return "\n".join(lines)


def run(load: Load, connection_string: str | None) -> tuple[Result, Usage | None, Usage | None]:
    """Loads the named service, or a stand-in of its own, whose usage before and after it also returns."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if connection_string is not None:
        return uvloop.run(measure(connection_string, load, lambda: None)), None, None
    usages: list[Usage] = []
    with _stand_in() as (pid, own_connection_string):
        result = uvloop.run(measure(own_connection_string, load, lambda: usages.append(_usage(pid))))
        usages.append(_usage(pid))
    before, after = usages
    return result, before, after


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m loadtests.bench.fanout",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--subscribers", type=int, default=1_000, help="connections (default %(default)s)")
    parser.add_argument("--rate", type=float, default=10.0, help="messages a second (default %(default)s)")
    parser.add_argument("--seconds", type=float, default=10.0, help="how long to send (default %(default)s)")
    parser.add_argument("--size", type=int, default=300, help="bytes of a message (default %(default)s)")
    parser.add_argument("--connection-string", help="of a running service; default: a stand-in of its own")
    arguments = parser.parse_args()
    load = Load(arguments.subscribers, arguments.rate, arguments.seconds, arguments.size)
    if min(load.subscribers, load.rate, load.seconds, load.size) <= 0:
        parser.error("all numbers must be above 0")
    result, before, after = run(load, arguments.connection_string)
    print(_report(load, result, before, after))  # noqa: T201 - a terminal reads it
    return 1 if result.missing or result.repeated else 0


if __name__ == "__main__":
    sys.exit(main())
