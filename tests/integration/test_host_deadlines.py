"""Clients that send slowly, in part or nothing cost the local host little, and only for a stated time."""

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from local.host.deadlines import MAX_HEAD_BYTES, Deadlines
from local.host.http import _Server
from local.host.single_write import SingleWriteProtocol
from tests.support.host_app import APP
from tests.support.hosting import RunningHost, running_host, wait_for, write_app

HEAD = b"POST /api/echo HTTP/1.1\r\nHost: h\r\n"
GET = b"GET /api/echo HTTP/1.1\r\nHost: h\r\n\r\n"


class HurriedProtocol(SingleWriteProtocol):
    """The host's protocol, with deadlines that a test can wait for."""

    deadlines = Deadlines(head_s=0.4, body_s=0.6)


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Answers with the size of the body; a body that begins with `slow` takes longer than any deadline."""
    body, more = b"", True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        body, more = body + message["body"], message["more_body"]
    if body.startswith(b"slow"):
        await asyncio.sleep(1.2)
    text = b"%d" % len(body)
    headers = [(b"content-length", b"%d" % len(text))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": text})


@pytest.fixture
async def port() -> AsyncIterator[int]:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        config = uvicorn.Config(
            echo,
            interface="asgi3",
            lifespan="off",
            http=HurriedProtocol,
            ws="none",
            log_config=None,
            timeout_keep_alive=60,
        )
        server = _Server(config)
        serving = asyncio.create_task(server.serve([listening]))
        while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
            await asyncio.sleep(0.01)
        yield listening.getsockname()[1]
        server.stop()
        await serving


async def all_that_comes(reader: asyncio.StreamReader) -> tuple[bytes, float]:
    """What the server sends until it closes the connection, and after how many seconds it does."""
    began = time.monotonic()
    async with asyncio.timeout(10):
        return await reader.read(), time.monotonic() - began


@contextlib.asynccontextmanager
async def connected(port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def drip(writer: asyncio.StreamWriter, text: bytes) -> None:
    """Sends a byte every 50 ms, until the connection ends."""
    with contextlib.suppress(ConnectionError):
        for byte in text:
            writer.write(bytes((byte,)))
            await writer.drain()
            await asyncio.sleep(0.05)


async def test_a_head_that_drips_ends_at_its_deadline(port: int) -> None:
    async with connected(port) as (reader, writer):
        dripping = asyncio.create_task(drip(writer, HEAD + b"X-A: " + b"a" * 1_000))
        answer, took_s = await all_that_comes(reader)
        dripping.cancel()
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"connection: close" in answer
    assert 0.3 < took_s < 2


async def test_a_body_that_drips_ends_at_its_deadline(port: int) -> None:
    async with connected(port) as (reader, writer):
        writer.write(HEAD + b"Content-Length: 1000\r\n\r\n")
        dripping = asyncio.create_task(drip(writer, b"a" * 1_000))
        answer, took_s = await all_that_comes(reader)
        dripping.cancel()
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert 0.5 < took_s < 2


@pytest.mark.parametrize("sent", [b"", b"G", b"\r\n"])
async def test_a_connection_without_a_request_ends_at_the_deadline_of_a_head(port: int, sent: bytes) -> None:
    async with connected(port) as (reader, writer):
        writer.write(sent)
        answer, took_s = await all_that_comes(reader)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert 0.3 < took_s < 2


@pytest.mark.parametrize("sent", [b"\r\n", b"G"])
async def test_a_connection_that_begins_no_other_request_ends_too(port: int, sent: bytes) -> None:
    async with connected(port) as (reader, writer):
        writer.write(GET)
        assert (await reader.readuntil(b"\r\n\r\n0")).startswith(b"HTTP/1.1 200 ")
        writer.write(sent)
        answer, took_s = await all_that_comes(reader)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert 0.3 < took_s < 2


async def test_a_request_that_is_answered_slowly_is_not_cut_off(port: int) -> None:
    async with connected(port) as (reader, writer):
        writer.write(HEAD + b"Content-Length: 4\r\n\r\nslow")
        assert (await reader.readuntil(b"\r\n\r\n4")).startswith(b"HTTP/1.1 200 ")
        # Idle since then, within uvicorn's own limit.
        await asyncio.sleep(0.8)
        writer.write(GET)
        assert (await reader.readuntil(b"\r\n\r\n0")).startswith(b"HTTP/1.1 200 ")


async def test_a_request_that_waits_behind_a_slow_one_is_not_cut_off(port: int) -> None:
    async with connected(port) as (reader, writer):
        # The host does not read on before it has answered, so the second body cannot arrive in time.
        writer.write(HEAD + b"Content-Length: 4\r\n\r\nslow" + HEAD + b"Content-Length: 200000\r\n\r\n")
        await writer.drain()
        await asyncio.sleep(0.1)
        writer.write(b"a" * 200_000)
        await reader.readuntil(b"\r\n\r\n4")
        await reader.readuntil(b"\r\n\r\n200000")


async def test_a_head_without_an_end_is_refused_by_its_size(port: int) -> None:
    async with connected(port) as (reader, writer):
        reading = asyncio.create_task(all_that_comes(reader))
        with contextlib.suppress(ConnectionError):
            writer.write(b"GET / HTTP/1.1\r\n")
            for _ in range(8 * MAX_HEAD_BYTES // 65_536):
                writer.write(b"X-A: " + b"a" * 65_536 + b"\r\n")
                await writer.drain()
        with contextlib.suppress(ConnectionError):
            answer, took_s = await reading
            assert b"HTTP/1.1 431 " in answer
            assert took_s < 2


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHost]:
    """The host as its users start it, with the limit of Signal Cloud."""
    directory: Path = write_app(tmp_path_factory.mktemp("app"), APP)
    environment = {"FUNCTIONS_REQUEST_BODY_SIZE_LIMIT": "1048576"}
    with running_host(directory, "http", "--port", "0", environment=environment) as running:
        with running.client() as client:
            client.post("/api/echo", content=bytes(1_000_000)).raise_for_status()
        yield running


def address(host: RunningHost) -> tuple[str, int]:
    name, _, port = host.base_url.removeprefix("http://").rpartition(":")
    return name, int(port)


def memory_mb(host: RunningHost) -> float:
    return sum(worker.memory_info().rss for worker in host.workers()) / 1e6


def open_files(host: RunningHost) -> int:
    return sum(worker.num_fds() for worker in host.workers())


def pour(caller: socket.socket, piece: bytes, times: int) -> int:
    """Sends the piece until the host closes the connection; returns how many bytes it took."""
    sent = 0
    with contextlib.suppress(OSError):
        for _ in range(times):
            caller.sendall(piece)
            sent += len(piece)
    return sent


@pytest.mark.parametrize("framing", ["declared", "chunked"])
def test_unfinished_bodies_of_98_megabytes_take_no_memory(host: RunningHost, framing: str) -> None:
    before_mb, most_mb = memory_mb(host), 0.0
    callers = []
    for _ in range(12):
        caller = socket.create_connection(address(host), timeout=5)
        callers.append(caller)
        if framing == "declared":
            caller.sendall(HEAD + b"Content-Length: 98000000\r\n\r\n")
            piece = bytes(1 << 20)
        else:
            caller.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
            piece = b"%x\r\n%s\r\n" % (1 << 20, bytes(1 << 20))
        # Buffers of the system take some megabytes more than the host reads.
        assert pour(caller, piece, 97) < 20_000_000
        most_mb = max(most_mb, memory_mb(host))
    with host.client() as client:
        assert client.post("/api/echo", content=b"good").content == b"good"
    assert most_mb - before_mb < 40, f"from {before_mb:.0f} to {most_mb:.0f} MB"
    assert memory_mb(host) - before_mb < 40
    for caller in callers:
        caller.close()


def test_slow_heads_and_idle_connections_end_after_ten_seconds(host: RunningHost) -> None:
    before = open_files(host)
    callers = [socket.create_connection(address(host), timeout=20) for _ in range(250)]
    began = time.monotonic()
    for caller in callers[200:]:
        caller.sendall(b"GET /api/text HTTP/1.1\r\nHost:")
    with host.client() as client:
        assert client.get("/api/text").status_code == 200
    for caller in callers:
        answer = b""
        while part := caller.recv(1_024):
            answer += part
        assert answer.startswith(b"HTTP/1.1 408 ")
        caller.close()
    assert 9 < time.monotonic() - began < 15
    wait_for(lambda: open_files(host) < before + 20, "the host to let go of the connections")
