"""Gives an attack its target, its clock and its tally, and runs requests at a rate or as fast as allowed."""

import asyncio
import contextlib
import itertools
import time
from collections import Counter
from collections.abc import Callable

import msgspec

from loadtests.attacks.http_client import Connection, Refused, request

# After a refusal an attacker does not wait longer than this, whatever Retry-After says.
LONGEST_PAUSE_S = 2.0
# A refusal costs the attacker at least this, so that its own client does not take the machine.
SHORTEST_PAUSE_S = 0.25


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """One attack, between two times of the monotonic clock; `key` is empty if it has no license."""

    name: str
    port: int
    key: str
    starts_at: float
    ends_at: float


class Outcome(msgspec.Struct, kw_only=True):
    """What the attacker was answered, by status and code, what else it noted, and its processor time."""

    answers: dict[str, int]
    notes: dict[str, float]
    cpu_s: float


class Field:
    """What one running attack knows and counts."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.answers: Counter[str] = Counter()
        self.notes: dict[str, float] = {}

    @property
    def is_on(self) -> bool:
        return time.monotonic() < self.plan.ends_at

    @property
    def left_s(self) -> float:
        return max(0.0, self.plan.ends_at - time.monotonic())

    def note_most(self, name: str, value: float) -> None:
        self.notes[name] = max(value, self.notes.get(name, value))

    async def begin(self) -> None:
        """Waits for the start; an attack makes its bodies before."""
        await asyncio.sleep(max(0.0, self.plan.starts_at - time.monotonic()))

    def post(self, path: str, body: bytes, *, key: str | None = None) -> bytes:
        return request("POST", path, key=(self.plan.key if key is None else key) or None, body=body)

    def get(self, path: str) -> bytes:
        return request("GET", path, key=self.plan.key)

    async def at_rate(self, rate: float, connections: int, make: Callable[[int], bytes]) -> None:
        """Sends `rate` requests a second, fewer if none of the connections is free."""
        numbers = itertools.count()
        await self.begin()

        async def send() -> None:
            connection = Connection(self.plan.port, asks_again=False)
            for number in numbers:
                due_at = self.plan.starts_at + number / rate
                if due_at >= self.plan.ends_at or not self.is_on:
                    break
                await asyncio.sleep(max(0.0, due_at - time.monotonic()))
                await self.ask(connection, make(number))
            connection.close()

        await asyncio.gather(*(send() for _ in range(connections)))

    async def as_allowed(self, connections: int, make: Callable[[int], bytes]) -> None:
        """Keeps one request under way on each connection; pauses after a refusal."""
        numbers = itertools.count()
        await self.begin()

        async def send() -> None:
            connection = Connection(self.plan.port, asks_again=False)
            while self.is_on:
                pause_s = await self.ask(connection, make(next(numbers)))
                await asyncio.sleep(min(pause_s, self.left_s))
            connection.close()

        await asyncio.gather(*(send() for _ in range(connections)))

    async def ask(self, connection: Connection, whole_request: bytes) -> float:
        """Counts the answer; returns the seconds to pause before the next request, 0 after a success."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.left_s + 1.0):
                try:
                    answer = await connection.ask(whole_request)
                except Refused as error:
                    self.answers[str(error)] += 1
                    return SHORTEST_PAUSE_S
                self.answers[answer.label] += 1
                if answer.is_success:
                    return 0.0
                return max(SHORTEST_PAUSE_S, min(answer.retry_after_s, LONGEST_PAUSE_S))
        self.answers["unanswered at the end"] += 1
        connection.close()
        return 0.0
