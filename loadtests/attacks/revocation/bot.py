"""Plays a bot whose license or key ends: it asks two processes, holds sockets, and tries its old URLs.

All times are on the monotonic clock.
"""

import asyncio
import json
import time
from collections import Counter
from dataclasses import dataclass, field

import aiohttp

from loadtests.attacks.http_client import Connection, Refused, request
from loadtests.attacks.stack import BotKey
from loadtests.bench import market

POLL_EVERY_S = 0.25
NEGOTIATE_EVERY = 4  # polls
CONTROL_HELD_S = 0.3
OLD_URLS = 12
# With the two sockets from before, fewer than the standard plan allows.
MOST_SLIPPED = 6
SLIPPED = "just granted"
TIMEOUT_S = 5.0
SYMBOL = "ES"
_NEGOTIATE = b'{"symbols":["ES"]}'
_CONFIDENCE = market.body(50)


@dataclass
class Held:
    """One socket: how it came to be, when it was opened, and when and why it was closed."""

    kind: str
    opened_at: float
    closed_at: float | None = None
    reason: str = ""


@dataclass
class Try:
    """One attempt to connect with a URL; `answer` is `in`, or the status of the refusal."""

    kind: str
    at: float
    answer: str


@dataclass
class Bot:
    """`ended_at` is when the command returned, or the instant of expiry; None before.

    From `ending_from` on, just before that, the bot also connects with each URL that it is granted: these
    sockets may slip in between a judgement and the closing of connections.
    """

    key: BotKey
    ports: tuple[int, int]
    session: aiohttp.ClientSession
    ending_from: float | None = None
    ended_at: float | None = None
    answered_200: list[float] = field(default_factory=list)
    granted: list[float] = field(default_factory=list)
    answers_after: Counter[str] = field(default_factory=Counter)
    answers: Counter[str] = field(default_factory=Counter)
    signals: list[float] = field(default_factory=list)
    held: list[Held] = field(default_factory=list)
    tries: list[Try] = field(default_factory=list)
    old_urls: list[str] = field(default_factory=list)
    _slipped: int = 0
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def begin(self) -> None:
        """Gets URLs, opens a socket through each process, proves that an unused URL lets in, and polls."""
        connections = [Connection(port, TIMEOUT_S) for port in self.ports]
        for number in range(OLD_URLS + 1):
            answer = await connections[number % 2].ask(self._negotiation())
            if not answer.is_success:
                raise RuntimeError(f"the bot could not negotiate: {answer.label}")
            self.old_urls.append(json.loads(answer.body)["url"])
        for connection in connections:
            answer = await connection.ask(self._negotiation())
            if await self._enter(json.loads(answer.body)["url"], "held") != "in":
                raise RuntimeError("the bot's first socket was refused")
            connection.close()
        if await self.try_old_url("control") != "in":
            raise RuntimeError("an unused URL did not let in before the ending")
        for port in self.ports:
            self._start(self._poll(port))

    def _start(self, work: "asyncio._CoroutineLike[None]") -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def stop(self) -> None:
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _negotiation(self) -> bytes:
        return request("POST", "ws/negotiate", key=self.key.key, body=_NEGOTIATE)

    def _has_ended(self, now: float) -> bool:
        return self.ended_at is not None and now >= self.ended_at

    async def _poll(self, port: int) -> None:
        """Asks one process for confidences and, less often, for a URL."""
        connection = Connection(port, TIMEOUT_S)
        confidence = request("POST", "ml/get_confidence", key=self.key.key, body=_CONFIDENCE)
        number = 0
        while True:
            number += 1
            negotiates = number % NEGOTIATE_EVERY == 0
            body = b""
            try:
                answer = await connection.ask(self._negotiation() if negotiates else confidence)
                label, body, is_success = answer.label, answer.body, answer.is_success
            except Refused as error:
                label, is_success = str(error), False
            now = time.monotonic()
            (self.answers_after if self._has_ended(now) else self.answers)[label] += 1
            if is_success:
                self.answered_200.append(now)
                if negotiates:
                    self.granted.append(now)
                    if self.ending_from is not None and now >= self.ending_from:
                        self._slip_in(json.loads(body)["url"])
            await asyncio.sleep(POLL_EVERY_S)

    @property
    def granted_after(self) -> list[float]:
        return [at for at in self.granted if self._has_ended(at)]

    def _slip_in(self, url: str) -> None:
        if self._slipped < MOST_SLIPPED:
            self._slipped += 1
            self._start(self._enter_beside(url))

    async def _enter_beside(self, url: str) -> None:
        await self._enter(url, SLIPPED)

    async def try_old_url(self, kind: str = "old") -> str:
        """Connects with the next unused URL; returns `in`, or the status of the refusal."""
        if not self.old_urls:
            return "no URL left"
        return await self._enter(self.old_urls.pop(), kind)

    async def _enter(self, url: str, kind: str) -> str:
        at = time.monotonic()
        entered: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._start(self._hear(url, kind, entered))
        try:
            async with asyncio.timeout(TIMEOUT_S):
                answer = await asyncio.shield(entered)
        except TimeoutError:
            answer = "timeout"
        self.tries.append(Try(kind, at, answer))
        return answer

    async def _hear(self, url: str, kind: str, entered: asyncio.Future[str]) -> None:
        """Keeps one socket until the hub closes it; a `control` closes itself soon."""
        held: Held | None = None
        try:
            async with self.session.ws_connect(url, protocols=["json.reliable.webpubsub.azure.v1"]) as socket:
                async for frame in socket:
                    now = time.monotonic()
                    message = json.loads(frame.data)
                    if message.get("event") == "connected":
                        held = Held(kind, now)
                        entered.set_result("in")
                        if kind == "control":
                            await asyncio.sleep(CONTROL_HELD_S)
                            return
                        self.held.append(held)
                        await socket.send_json({"type": "joinGroup", "group": f"symbol.{SYMBOL}", "ackId": 1})
                    if (sequence_id := message.get("sequenceId")) is not None:
                        await socket.send_json({"type": "sequenceAck", "sequenceId": sequence_id})
                    data = message.get("data")
                    if isinstance(data, dict) and data.get("type") == "signal":
                        self.signals.append(now)
                    elif isinstance(data, dict) and data.get("type") == "revoked" and held is not None:
                        held.reason = str(data.get("reason"))
                    elif message.get("event") == "disconnected" and held is not None:
                        held.reason = str(message.get("message") or held.reason)
            answer = "closed"
        except aiohttp.WSServerHandshakeError as error:
            answer = str(error.status)
        except aiohttp.ClientError as error:
            answer = type(error).__name__
        if held is not None:
            held.closed_at = time.monotonic()
        if not entered.done():
            entered.set_result(answer)
