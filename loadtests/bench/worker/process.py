"""Measures, in a process of its own, what Microsoft's worker library and the app spend on an invocation.

`python -m loadtests.bench.worker.process` reads a Plan (MessagePack) on standard input, loads the app with
an echo beside it into the library, and writes an Outcome on standard output. Each round measures four sides
in turn, in another order each round: the echo and a cached confidence, each through the library and as a
direct call of the function.
"""

import asyncio
import os
import sys
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from types import SimpleNamespace

import azure.functions as func
import msgspec

from loadtests.bench.market import PATH
from loadtests.bench.processes import place
from loadtests.bench.worker.library import WorkerLibrary

APP = Path(__file__).with_name("echo_beside_app.py")
CONFIDENCE, ECHO = "get_confidence", "echo"
TRIGGER = "req"
URL = f"http://localhost{PATH}"
# Part of every cached confidence and of the echo's answer.
CACHED = b'"cached":true'
# Cached values expire while the other sides are measured.
SETTLE_S = 0.1

# Makes one call; returns whether its answer was a cached one.
Call = Callable[[int], Coroutine[None, None, bool]]


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """One run. Call n uses `keys[n]` and `bodies[n]`, and starts again at the end of each list.

    `seconds` is the time of each side in a round, `warm_up_s` that of all four before the first round. There
    are at least as many keys as bodies. `cpus` pins the process.
    """

    keys: list[str]
    bodies: list[bytes]
    concurrency: int
    rounds: int
    seconds: float
    # Longer than two seconds, because the app loads OpenTelemetry so long after its first request.
    warm_up_s: float = 3.0
    cpus: list[int] = []


class Cost(msgspec.Struct, frozen=True, kw_only=True):
    """What one side did in one round. `uncached` counts answers that did not come from the cache."""

    calls: int
    uncached: int
    wall_s: float
    cpu_s: float

    @property
    def wall_us(self) -> float:
        """Time a call, in microseconds, including the waits for Redis."""
        return self.wall_s / self.calls * 1e6

    @property
    def cpu_us(self) -> float:
        """Processor time of this process a call, in microseconds."""
        return self.cpu_s / self.calls * 1e6


class Round(msgspec.Struct, frozen=True, kw_only=True):
    """The four sides of one round."""

    library_echo: Cost
    library_confidence: Cost
    direct_echo: Cost
    direct_confidence: Cost


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """All rounds, and the confidence of each body, asked after them."""

    rounds: list[Round]
    confidences: list[float]


class _Answer(msgspec.Struct):
    confidence: float


def _headers(key: str, body: bytes) -> dict[str, str]:
    return {
        "host": "localhost",
        "accept": "*/*",
        "authorization": f"Bearer {key}",
        "content-type": "application/json",
        "content-length": str(len(body)),
    }


def _invocations(library: WorkerLibrary, name: str, plan: Plan) -> list[SimpleNamespace]:
    """Returns one message a key, made before the measured time because gRPC makes it in Azure."""
    bodies = [plan.bodies[number % len(plan.bodies)] for number in range(len(plan.keys))]
    return [
        library.invocation(
            name,
            TRIGGER,
            {"method": "POST", "url": URL, "headers": _headers(key, body), "body": {"bytes": body}},
        )
        for key, body in zip(plan.keys, bodies, strict=True)
    ]


def _through_library(library: WorkerLibrary, name: str, plan: Plan) -> Call:
    invocations = _invocations(library, name, plan)
    invoke, count = library.invoke, len(invocations)

    async def call(number: int) -> bool:
        response = await invoke(invocations[number % count])
        return CACHED in response.return_value.http.body.bytes

    return call


def _directly(library: WorkerLibrary, name: str, plan: Plan) -> Call:
    bodies = [plan.bodies[number % len(plan.bodies)] for number in range(len(plan.keys))]
    requests = [
        func.HttpRequest(method="POST", url=URL, headers=_headers(key, body), body=body)
        for key, body in zip(plan.keys, bodies, strict=True)
    ]
    function, count = library.function(name), len(requests)

    async def call(number: int) -> bool:
        response = await function(**{TRIGGER: requests[number % count]})
        return CACHED in response.get_body()

    return call


async def _measure(call: Call, concurrency: int, seconds: float) -> Cost:
    """Keeps `concurrency` calls in flight, each in a task of its own, as the platform's worker does."""
    loop, clock = asyncio.get_running_loop(), time.perf_counter
    calls = uncached = 0

    async def caller(number: int, ends: float) -> None:
        nonlocal calls, uncached
        while clock() < ends:
            if not await loop.create_task(call(number)):
                uncached += 1
            calls += 1
            number += concurrency

    async def callers(ends: float) -> None:
        await asyncio.gather(*(caller(number, ends) for number in range(concurrency)))

    await callers(clock() + SETTLE_S)
    calls = uncached = 0
    cpu, began = time.process_time(), clock()
    await callers(began + seconds)
    return Cost(calls=calls, uncached=uncached, wall_s=clock() - began, cpu_s=time.process_time() - cpu)


async def _confidences(library: WorkerLibrary, plan: Plan) -> list[float]:
    found = []
    for invocation in _invocations(library, CONFIDENCE, plan)[: len(plan.bodies)]:
        response = await library.invoke(invocation)
        found.append(msgspec.json.decode(response.return_value.http.body.bytes, type=_Answer).confidence)
    return found


async def run(plan: Plan) -> Outcome:
    """Starts the library and measures every round."""
    os.environ["PYTHON_SCRIPT_FILE_NAME"] = APP.name
    library = WorkerLibrary()
    await library.start(APP.parent)
    for name in (CONFIDENCE, ECHO):
        await library.load(name)
    sides = {
        "library_echo": _through_library(library, ECHO, plan),
        "library_confidence": _through_library(library, CONFIDENCE, plan),
        "direct_echo": _directly(library, ECHO, plan),
        "direct_confidence": _directly(library, CONFIDENCE, plan),
    }
    # The first request of each key reads its license from Table Storage.
    for number in range(len(plan.keys)):
        await sides["library_confidence"](number)
    for call in sides.values():
        await _measure(call, plan.concurrency, plan.warm_up_s / len(sides))
    rounds = []
    for number in range(plan.rounds):
        first = number % len(sides)
        names = [*sides][first:] + [*sides][:first]
        costs = {name: await _measure(sides[name], plan.concurrency, plan.seconds) for name in names}
        rounds.append(Round(**costs))
    confidences = await _confidences(library, plan)
    library.stop()
    return Outcome(rounds=rounds, confidences=confidences)


def main() -> None:
    plan = msgspec.msgpack.decode(sys.stdin.buffer.read(), type=Plan)
    place(os.getpid(), plan.cpus)
    sys.stdout.buffer.write(msgspec.msgpack.encode(asyncio.run(run(plan))))


if __name__ == "__main__":
    main()
