"""What ends, ends everywhere: on every host process, on every socket, for every URL, whatever Redis does.

`python -m loadtests.attacks` measures the whole matrix; each test here takes one mechanism through the stack.
"""

import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self
from uuid import uuid4

import aiohttp
import httpx
import pytest

from operations.license import INCOMPLETE
from shared.adapters.tables import LicenseTables
from shared.domain.access.endings import Ending
from shared.domain.access.license_changes import revoked
from tests.support.places import ROOT
from tests.support.running import RunningStack
from tests.support.stacks import LocalStack, local_stack

PROTOCOL = "json.reliable.webpubsub.azure.v1"
HTTP_S = 5.0
SIGNAL_S = 10.0
# What a loaded machine may add to a measured time.
SLACK_S = 1.0


@pytest.fixture(scope="module")
def local() -> Iterator[LocalStack]:
    """A stack of two host processes; its directory is one that PostgreSQL can enter, see conftest.py."""
    with tempfile.TemporaryDirectory(prefix="signal-cloud-e2e-", ignore_cleanup_errors=True) as made:
        Path(made).chmod(0o711)
        with local_stack("up", Path(made) / "state", WORKERS="2") as started:
            started.await_ready()
            yield started


@pytest.fixture
def two(local: LocalStack) -> RunningStack:
    """What its clients know of the stack."""
    return RunningStack(local.state)


def command(stack: RunningStack, *arguments: str) -> tuple[int, str, str]:
    """Status, output and errors of the license command."""
    run = subprocess.run(
        [sys.executable, "-m", "operations.license", *arguments],
        cwd=ROOT,
        env=os.environ | {"STATE": str(stack.state)},
        capture_output=True,
        text=True,
        check=False,
    )
    return run.returncode, run.stdout, run.stderr


@contextmanager
def hanging(stack: RunningStack, name: str) -> Iterator[None]:
    pid = int(stack.document["processes"][name])
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


class Bot:
    """A key's socket, and the time of each message on it."""

    def __init__(self, stack: RunningStack, key: str) -> None:
        self.stack = stack
        self.headers = {"Authorization": f"Bearer {key}"}
        self.session = aiohttp.ClientSession()
        self.socket: aiohttp.ClientWebSocketResponse | None = None
        self.signals: list[float] = []
        self.frames: list[dict[str, Any]] = []
        self.connected: dict[str, Any] = {}
        self.closed_at: float | None = None
        self._sockets: list[aiohttp.ClientWebSocketResponse] = []
        self._listening: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for listening in self._listening:
            listening.cancel()
        await asyncio.gather(*self._listening, return_exceptions=True)
        await asyncio.gather(*(socket.close() for socket in self._sockets))
        await self.session.close()

    async def negotiate(self) -> dict[str, Any]:
        async with self.session.post(
            f"{self.stack.base_url}/api/ws/negotiate", json={"symbols": ["ES"]}, headers=self.headers
        ) as answer:
            assert answer.status == 200, await answer.text()
            return dict(await answer.json())

    async def open(self, access: dict[str, Any] | None = None, query: str = "") -> int:
        """The status of the handshake, 101 if it succeeds; then the socket listens."""
        access = access or await self.negotiate()
        try:
            socket = await self.session.ws_connect(
                access["url"] + query, protocols=[PROTOCOL], timeout=aiohttp.ClientWSTimeout(ws_close=0.5)
            )
        except aiohttp.WSServerHandshakeError as refused:
            return refused.status
        self.socket = socket
        self._sockets.append(socket)
        self.connected = await socket.receive_json()
        await socket.send_json({"type": "joinGroup", "group": "symbol.ES", "ackId": 1})
        self._listening.append(asyncio.create_task(self._listen(socket)))
        return 101

    async def _listen(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        async for message in socket:
            frame = json.loads(message.data)
            self.frames.append(frame)
            if frame.get("data", {}).get("type") == "signal":
                self.signals.append(time.monotonic())
        self.closed_at = time.monotonic()


@asynccontextmanager
async def publishing(stack: RunningStack) -> AsyncIterator[None]:
    """Publishes five signals a second during the block: exits, which are accepted at every hour."""

    async def publish() -> None:
        headers = {"Authorization": f"Bearer {stack.key('publisher')}"}
        body = {"symbol": "ES", "side": "LONG", "kind": "exit", "price": "6543.25"}
        async with httpx.AsyncClient(base_url=stack.base_url, headers=headers, timeout=10) as client:
            while True:
                await client.post("/api/signals", json=body, headers={"Idempotency-Key": uuid4().hex})
                await asyncio.sleep(0.2)

    task = asyncio.create_task(publish())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def last_admitted(stack: RunningStack, keys: list[str], seconds: float) -> dict[str, float]:
    """When each key was last answered 200, over connections that reach both host processes."""
    last = dict.fromkeys(keys, 0.0)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for key in keys:
            # A connection of its own each time, because the kernel chooses its process.
            async with httpx.AsyncClient(base_url=stack.base_url, timeout=10) as client:
                answer = await client.get("/api/license", headers={"Authorization": f"Bearer {key}"})
            if answer.status_code == 200:
                last[key] = time.monotonic()
        await asyncio.sleep(0.05)
    return last


async def await_closed(bot: Bot, timeout_s: float) -> float:
    end = time.monotonic() + timeout_s
    while bot.closed_at is None:
        assert time.monotonic() < end, f"still open after {timeout_s} s"
        await asyncio.sleep(0.05)
    return bot.closed_at


async def test_a_revocation_while_redis_hangs_holds_everywhere_and_closes_one_key_alone(
    two: RunningStack,
) -> None:
    made = two.new_key("--requests-per-minute", "100000")
    other = two.license("add-key", made["license_id"])["plain_key"]
    keys = [made["key"], other]
    async with Bot(two, keys[0]) as ended, Bot(two, keys[1]) as stays, publishing(two):
        assert [await ended.open(), await stays.open()] == [101, 101]
        urls = [await ended.negotiate(), await stays.negotiate()]
        await last_admitted(two, keys, 1)
        with hanging(two, "valkey"):
            status, _, errors = await asyncio.to_thread(command, two, "revoke", made["public_id"])
            returned = time.monotonic()
            assert status == INCOMPLETE
            assert "Redis was not told" in errors
            last = await last_admitted(two, keys, 8)
        # Redis is back with the record from before, for the rest of its minute.
        later = await last_admitted(two, keys, 3)
        assert last[keys[0]] < returned + HTTP_S + SLACK_S
        assert later[keys[0]] == 0
        assert later[keys[1]] > returned + 8
        assert await await_closed(ended, 1) < returned + SIGNAL_S
        assert ended.signals[-1] < returned + SIGNAL_S
        assert any(frame.get("data", {}).get("type") == "revoked" for frame in ended.frames)
        assert stays.closed_at is None
        assert stays.signals[-1] > returned + 8
        assert await ended.open(urls[0]) == 401
        assert await Bot.open(stays, urls[1]) == 101


async def test_a_url_from_before_is_refused_after_redis_came_back_empty(
    two: RunningStack, local: LocalStack
) -> None:
    made = two.new_key()
    async with Bot(two, made["key"]) as bot:
        access = await bot.negotiate()
        status, _, errors = await asyncio.to_thread(command, two, "suspend", made["license_id"])
        assert (status, errors) == (0, "")
        before = local.pid("valkey")
        os.kill(before, signal.SIGKILL)
        async with asyncio.timeout(20):
            while local.document()["processes"].get("valkey") in (None, before):  # noqa: ASYNC110 - a file
                await asyncio.sleep(0.1)
        assert await bot.open(access) == 403


async def test_what_a_command_that_died_has_begun_is_completed_by_the_timer(two: RunningStack) -> None:
    made = two.new_key("--requests-per-minute", "100000")
    async with Bot(two, made["key"]) as bot:
        assert await bot.open() == 101
        tables = LicenseTables(two.document["tables_connection_string"])
        try:
            await tables.add_endings([Ending(datetime.now(UTC), made["license_id"])])
            await tables.update_license(made["license_id"], revoked)
        finally:
            await tables.close()
        died = time.monotonic()
        assert await await_closed(bot, SIGNAL_S) < died + SIGNAL_S
        # The other process may learn the end later than the one whose timer has closed the connection.
        last = await last_admitted(two, [made["key"]], max(1.0, died + HTTP_S + 1 - time.monotonic()))
        assert last[made["key"]] < died + HTTP_S


@pytest.mark.parametrize("kind", ["expiry of the key", "expiry of the license", "rotate"])
async def test_a_key_that_ends_by_itself_ends_everything(two: RunningStack, kind: str) -> None:
    life = ("--expires", "6s") if kind == "expiry of the license" else ()
    made = two.new_key("--requests-per-minute", "100000", *life)
    began = time.monotonic()
    key = made["key"]
    if kind == "expiry of the key":
        key = two.license("add-key", made["license_id"], "--expires", "6s")["plain_key"]
        began = time.monotonic()
    async with Bot(two, key) as bot, publishing(two):
        assert await bot.open() == 101
        access = await bot.negotiate()
        if kind == "rotate":
            status, _, _ = await asyncio.to_thread(
                command, two, "rotate", made["public_id"], "--overlap", "0s"
            )
            assert status == 0
            end = time.monotonic()
        else:
            end = began + 6
        await await_closed(bot, end - time.monotonic() + SIGNAL_S)
        assert bot.signals[-1] < end + SIGNAL_S
        last = await last_admitted(two, [key], 1)
        assert last[key] < end + HTTP_S
        assert await bot.open(access) in (401, 403)


async def test_a_license_has_ten_sockets_and_each_url_connects_once(two: RunningStack) -> None:
    made = two.new_key("--requests-per-minute", "100000")
    async with Bot(two, made["key"]) as first:
        access = await first.negotiate()
        found = await asyncio.gather(*(Bot.open(first, access) for _ in range(30)))
        assert sorted(found) == [101] + [401] * 29
        urls = [await first.negotiate() for _ in range(30)]
        found = await asyncio.gather(*(Bot.open(first, each) for each in urls))
        assert sorted(found) == [101] * 9 + [429] * 21
        license_ = await asyncio.to_thread(two.license, "show", made["license_id"])
        assert license_["license"]["plan"] == "standard"
        async with first.session.get(f"{two.base_url}/api/license", headers=first.headers) as answer:
            assert (await answer.json())["terms"]["connections"] == 10


async def test_connections_that_nobody_reported_as_ended_make_room(
    two: RunningStack, local: LocalStack
) -> None:
    made = two.new_key("--requests-per-minute", "100000")
    async with Bot(two, made["key"]) as bot:
        for _ in range(10):
            assert await bot.open() == 101
        assert await bot.open() == 429
        before = local.pid("webpubsub")
        os.kill(before, signal.SIGKILL)
        async with asyncio.timeout(30):
            while local.document()["processes"].get("webpubsub") in (None, before):  # noqa: ASYNC110 - a file
                await asyncio.sleep(0.1)
            found: list[int] = []
            while found.count(101) < 10:
                found.append(await bot.open())
                await asyncio.sleep(0.2)
        assert await bot.open() == 429


async def test_a_bot_cannot_touch_its_own_groups_and_recovers_without_a_connect_event(
    two: RunningStack,
) -> None:
    made = two.new_key("--requests-per-minute", "100000")
    async with Bot(two, made["key"]) as bot:
        access = await bot.negotiate()
        assert await bot.open(access) == 101
        assert bot.socket is not None
        groups = [f"license.{made['license_id']}", f"key.{made['public_id']}", "symbol.NQ"]
        number = 1
        for group in groups:
            for kind in ("leaveGroup", "joinGroup", "sendToGroup"):
                number += 1
                frame: dict[str, Any] = {"type": kind, "group": group, "ackId": number}
                if kind == "sendToGroup":
                    frame |= {"dataType": "json", "data": {"type": "revoked"}}
                await bot.socket.send_json(frame)
        async with asyncio.timeout(5):
            while sum(frame["type"] == "ack" for frame in bot.frames) < number:  # noqa: ASYNC110 - a list
                await asyncio.sleep(0.05)
        acks = {frame["ackId"]: frame for frame in bot.frames if frame["type"] == "ack"}
        assert acks[1]["success"]
        assert {acks[n]["error"]["name"] for n in range(2, number + 1)} == {"Forbidden"}
        # Cut without a close frame, as a bad network does, and recover with a URL that was used.
        told = bot.connected
        transport = bot.socket._writer.transport
        assert transport is not None
        transport.abort()
        query = (
            f"&awps_connection_id={told['connectionId']}&awps_reconnection_token={told['reconnectionToken']}"
        )
        assert await bot.open(access, query) == 101
        assert bot.connected["connectionId"] == told["connectionId"]
        assert (await asyncio.to_thread(command, two, "revoke", made["public_id"]))[0] == 0
        await await_closed(bot, 3)
