"""Measures the memory of the app's processes: at rest, after load, and while a model is trained.

    python -m loadtests.bench.memory

Starts a stack of its own and stops it again. It shows the resident set size (RSS), and the proportional one
(PSS), which divides pages among the processes that share them. In Azure each host has a container of its
own and shares little, so RSS counts there. The local host stands for Azure's Python worker. Azure's own host
process runs beside that worker and is not here. infra/cost/load.toml holds the figures.
"""

# ruff: noqa: T201 - a terminal reads it

import argparse
import asyncio
import os
import sys
import time
from contextlib import suppress
from datetime import UTC, datetime
from threading import Event, Thread
from typing import NamedTuple

import httpx
import psutil

from loadtests.bench import market, servers
from loadtests.bench.market import PATH
from loadtests.bench.processes import temporary_directory, tree
from loadtests.bench.servers import RunningStack

REQUESTS = 5_000
AT_ONCE = 32
# Long enough for the process to load OpenTelemetry, and for each frequent timer to run a few times.
REST_S = 30.0
WATCH_S = 0.1
_MB = 1_000_000


class Memory(NamedTuple):
    """Megabytes of one process or several."""

    rss: float = 0.0
    pss: float = 0.0

    def __str__(self) -> str:
        return f"RSS {self.rss:,.0f} MB, PSS {self.pss:,.0f} MB"


def memory_of(pid: int) -> Memory:
    """The memory of a process and its descendants."""
    rss = pss = 0.0
    for process in tree(pid):
        with suppress(psutil.Error):
            found = process.memory_full_info()
            rss, pss = rss + found.rss / _MB, pss + found.pss / _MB
    return Memory(rss, pss)


class TrainingPeak:
    """Watches the memory of the process that trains, on a thread of its own."""

    def __init__(self) -> None:
        self.largest = Memory()
        self._stop = Event()
        self._thread = Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        while not self._stop.wait(WATCH_S):
            for process in tree(os.getpid()):
                with suppress(psutil.Error):
                    if "shared.training" in process.cmdline():
                        self.largest = max(self.largest, memory_of(process.pid))

    def end(self) -> Memory:
        self._stop.set()
        self._thread.join()
        return self.largest


async def _load(stack: RunningStack) -> None:
    """Asks for REQUESTS confidences of many states under many keys."""
    turn = asyncio.Semaphore(AT_ONCE)
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{stack.port}", timeout=30) as client:

        async def ask(number: int) -> None:
            key = stack.load_keys[number % len(stack.load_keys)]
            headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
            async with turn:
                answer = await client.post(PATH, content=market.body(number), headers=headers)
                answer.raise_for_status()

        await asyncio.gather(*(ask(number) for number in range(REQUESTS)))


def measure(stack: RunningStack) -> dict[str, Memory]:
    """The memory by what was measured; the supervisors of the local processes are left out."""
    http, timers = (_worker(stack.pid(name)) for name in ("host", "timers"))
    asyncio.run(_first(stack))
    time.sleep(REST_S)
    found = {"HTTP worker at rest": memory_of(http), "timer worker at rest": memory_of(timers)}
    asyncio.run(_load(stack))
    time.sleep(REST_S)
    found["HTTP worker after load"] = memory_of(http)
    found["timer worker after load"] = memory_of(timers)
    return found


async def _first(stack: RunningStack) -> None:
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{stack.port}", timeout=30) as client:
        headers = {"Authorization": f"Bearer {stack.load_keys[0]}"}
        (await client.post(PATH, content=market.body(0), headers=headers)).raise_for_status()


def _worker(supervisor: int) -> int:
    """The only child of a local supervisor, or the process itself if it has none."""
    children = psutil.Process(supervisor).children()
    return children[0].pid if children else supervisor


def training_peak(stack: RunningStack) -> Memory:
    """The memory of the training process at its largest, for a model of past trades."""
    peak = TrainingPeak()
    servers.serve_model(stack, servers.past_trades())
    return peak.end()


def main() -> int:
    argparse.ArgumentParser(
        prog="python -m loadtests.bench.memory",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    ).parse_args()
    with temporary_directory() as directory, servers.running_stack(directory) as stack:
        found = measure(stack)
        found["training process at its peak"] = training_peak(stack)
    print(f"{datetime.now(UTC).date()}, {os.cpu_count()} processors, {REQUESTS} confidences:")
    for name, value in found.items():
        print(f"  {name}: {value}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
