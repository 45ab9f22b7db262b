"""Measures, in a process of its own, what Microsoft's worker library and the app spend on an invocation.

`python -m loadtests.bench.worker.process` reads a Plan (MessagePack) on standard input, loads the app with
an echo beside it into the library, and writes an Outcome on standard output. Each round measures its sides in
turn, in another order each round: the echo and a cached confidence, each through the library and as a direct
call of the function; and the confidence for bots that hold a session, and without the counts of misuse.
"""

import asyncio
import os
import sys
import time
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from types import SimpleNamespace

import azure.functions as func
import msgspec

from loadtests.bench.market import PATH
from loadtests.bench.processes import place
from loadtests.bench.worker.library import WorkerLibrary
from shared.container import container

APP = Path(__file__).with_name("echo_beside_app.py")
CONFIDENCE, ECHO, SESSION = "get_confidence", "echo", "post_session"
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

    `seconds` is the time of each side in a round, `warm_up_s` that of all before the first round. There
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
    """The sides of one round. `uncounted` is the confidence in an app that counts no misuse."""

    library_echo: Cost
    library_confidence: Cost
    library_session: Cost
    direct_echo: Cost
    direct_confidence: Cost
    direct_session: Cost
    direct_uncounted: Cost


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """All rounds, and the confidence of each body, asked after them."""

    rounds: list[Round]
    confidences: list[float]


class _Answer(msgspec.Struct):
    confidence: float


class _Session(msgspec.Struct):
    session_id: str


class _CountsNothing:
    """Stands for MisuseCounts, to show what that costs."""

    @staticmethod
    def is_unseen(_grant: object, _forwarded: str | None) -> bool:
        return False


def _headers(key: str, body: bytes, session_id: str = "") -> dict[str, str]:
    held = {"session-id": session_id} if session_id else {}
    return held | {
        "host": "localhost",
        "x-forwarded-for": "203.0.113.7:50123",
        "accept": "*/*",
        "authorization": f"Bearer {key}",
        "content-type": "application/json",
        "content-length": str(len(body)),
    }


def _invocations(
    library: WorkerLibrary, name: str, plan: Plan, sessions: Sequence[str] = ()
) -> list[SimpleNamespace]:
    """Returns one message a key, made before the measured time because gRPC makes it in Azure."""
    return [
        library.invocation(
            name,
            TRIGGER,
            {"method": "POST", "url": URL, "headers": headers, "body": {"bytes": body}},
        )
        for headers, body in _requests(plan, sessions)
    ]


def _requests(plan: Plan, sessions: Sequence[str]) -> list[tuple[dict[str, str], bytes]]:
    """Headers and body of one request a key."""
    bodies = [plan.bodies[number % len(plan.bodies)] for number in range(len(plan.keys))]
    held = sessions or [""] * len(plan.keys)
    asked = zip(plan.keys, bodies, held, strict=True)
    return [(_headers(key, body, session_id), body) for key, body, session_id in asked]


def _through_library(library: WorkerLibrary, name: str, plan: Plan, sessions: Sequence[str] = ()) -> Call:
    invocations = _invocations(library, name, plan, sessions)
    invoke, count = library.invoke, len(invocations)

    async def call(number: int) -> bool:
        response = await invoke(invocations[number % count])
        return CACHED in response.return_value.http.body.bytes

    return call


def _directly(library: WorkerLibrary, name: str, plan: Plan, sessions: Sequence[str] = ()) -> Call:
    requests = [
        func.HttpRequest(method="POST", url=URL, headers=headers, body=body)
        for headers, body in _requests(plan, sessions)
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


async def _sessions(library: WorkerLibrary, plan: Plan) -> list[str]:
    """Takes a session for each key, and returns their ids."""
    await library.load(SESSION)
    take, taken = library.function(SESSION), []
    for number, key in enumerate(plan.keys):
        body = msgspec.json.encode({"instance": f"bench-{number}"})
        url = "http://localhost/api/sessions"
        request = func.HttpRequest(method="POST", url=url, headers=_headers(key, body), body=body)
        response = await take(**{TRIGGER: request})
        taken.append(msgspec.json.decode(response.get_body(), type=_Session).session_id)
    return taken


async def _measure_side(name: str, call: Call, plan: Plan, seconds: float) -> Cost:
    """Measures one side, in an app that counts no misuse if the side is without."""
    services = vars(container())
    counts = services["misuse_counts"]
    if name == "direct_uncounted":
        services["misuse_counts"] = _CountsNothing()
    try:
        return await _measure(call, plan.concurrency, seconds)
    finally:
        services["misuse_counts"] = counts


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
    # The first request of each key reads its license from Table Storage.
    sessions = await _sessions(library, plan)
    sides = {
        "library_echo": _through_library(library, ECHO, plan),
        "library_confidence": _through_library(library, CONFIDENCE, plan),
        "library_session": _through_library(library, CONFIDENCE, plan, sessions),
        "direct_echo": _directly(library, ECHO, plan),
        "direct_confidence": _directly(library, CONFIDENCE, plan),
        "direct_session": _directly(library, CONFIDENCE, plan, sessions),
        "direct_uncounted": _directly(library, CONFIDENCE, plan),
    }
    for name, call in sides.items():
        await _measure_side(name, call, plan, plan.warm_up_s / len(sides))
    rounds = []
    for number in range(plan.rounds):
        first = number % len(sides)
        names = [*sides][first:] + [*sides][:first]
        costs = {name: await _measure_side(name, sides[name], plan, plan.seconds) for name in names}
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
