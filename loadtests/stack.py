"""The sides of the bench on one machine: our stack with a trained model, the baseline, the bare echo."""

import asyncio
import contextlib
import json
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx

from loadtests import market
from loadtests.measure import PATH, Side
from loadtests.processes import place, processors, server
from local.services import free_ports
from local.stack import SCHEDULES, settings_of_running
from shared.adapters.inference import OnnxInference
from shared.adapters.strategies import shipped_strategies
from shared.container import Container
from shared.domain.confidence.market_state import StateReader
from shared.domain.confidence.models import ServedModel, StoredModel, served
from shared.domain.trading.trades import Trade
from shared.settings import read_settings

STRATEGY = "vwap_bounce"
LOAD_KEYS = 500
ACCOUNTS = 4
TRADES = 1_200
BATCH = 500
# How long every process may go on with the former model after a promotion.
ADOPTED_WITHIN_S = 15.0


@dataclass(frozen=True)
class RunningStack:
    """A stack of our own; `addresses` is what it wrote to stack.json."""

    state: Path
    addresses: Mapping[str, Any]
    load_keys: list[str]

    @property
    def settings(self) -> Mapping[str, str]:
        return settings_of_running(self.state)

    @property
    def port(self) -> int:
        return int(self.addresses["base_url"].rpartition(":")[2])

    def pid(self, name: str) -> int:
        return int(self.addresses["processes"][name])


@contextlib.contextmanager
def running_stack(directory: Path) -> Iterator[RunningStack]:
    """`python -m local up` on a directory and a port of its own."""
    state = directory / "state"
    (port,) = free_ports(1)
    environment = {"STATE": str(state), "PORT": str(port), "LOAD_KEYS": str(LOAD_KEYS), "WORKERS": "1"}
    with server(["-m", "local", "up"], environment, directory / "stack.log", state / "stack.json"):
        addresses = json.loads((state / "stack.json").read_text())
        stack = RunningStack(state, addresses, (state / "load_keys.txt").read_text().split())
        mine, others = processors()
        for name, pid in addresses["processes"].items():
            if name != "supervisor":
                place(pid, mine if name == "host" else others)
        yield stack


@contextlib.contextmanager
def more_workers(stack: RunningStack, workers: int, log: Path) -> Iterator[tuple[int, int]]:
    """A second function host on the same services; its process id and port."""
    (port,) = free_ports(1)
    environment = {**SCHEDULES, **stack.settings, "MARKET_CLOCK": "wall"}
    arguments = ["-m", "local.host", "http", "--port", str(port), "--workers", str(workers)]
    with server(arguments, environment, log, port) as pid:
        _await_answer(port, workers)
        yield pid, port


def _await_answer(port: int, workers: int) -> None:
    """Until workers answer, each connection asking whichever the system chose for it."""
    deadline = time.monotonic() + ADOPTED_WITHIN_S
    answered = 0
    while answered < 8 * workers and time.monotonic() < deadline:
        try:
            httpx.get(f"http://127.0.0.1:{port}/api/health", timeout=5).raise_for_status()
            answered += 1
        except httpx.TransportError:
            time.sleep(0.1)


@contextlib.contextmanager
def echo(directory: Path) -> Iterator[tuple[int, int]]:
    """The bare echo under our host, one process, placed as the others; process id and port."""
    (port,) = free_ports(1)
    arguments = ["-m", "local.host", "http", "--app", "loadtests.baseline.echo:app", "--port", str(port)]
    with server([*arguments, "--workers", "1"], {}, directory / "echo.log", port) as pid:
        place(pid, processors()[0])
        yield pid, port


@contextlib.contextmanager
def baseline(directory: Path, stack: RunningStack, model: Path, url: str) -> Iterator[tuple[int, int]]:
    """The baseline under uvicorn, one process, in its own database of the stack's Postgres and Valkey."""
    (port,) = free_ports(1)
    environment = {
        "BASELINE_DATABASE_URL": url,
        "BASELINE_REDIS_URL": stack.addresses["redis_url"].rpartition("/")[0] + "/1",
        "BASELINE_MODEL": str(model),
    }
    arguments = ["-m", "uvicorn", "loadtests.baseline.app:app", "--port", str(port)]
    with server(arguments, environment, directory / "baseline.log", port) as pid:
        place(pid, processors()[0])
        yield pid, port


async def teach(stack: RunningStack, trades: list[Trade]) -> StoredModel:
    """Records `trades` for several accounts and trains on them; the model that is served from now on."""
    container = Container(read_settings(stack.settings))
    try:
        earliest = min(trade.entry_at for trade in trades)
        await container.stores.upkeep.ensure_partitions(earliest.astimezone(UTC))
        for account in range(ACCOUNTS):
            share = trades[account::ACCOUNTS]
            for first in range(0, len(share), BATCH):
                batch = share[first : first + BATCH]
                await container.stores.trades.record(f"load-{account}", "load00", batch)
        report = await container.training.run(container.strategies[STRATEGY], datetime.now(UTC))
        if report.outcome != "model":
            raise RuntimeError(f"training on {len(trades)} trades gave no model: {report}")
        champion = await container.stores.models.champion(STRATEGY)
        assert champion is not None
        return champion
    finally:
        await container.database.close()


def past_trades() -> list[Trade]:
    return list(market.trades(TRADES, seed=20251017, before=datetime.now(UTC) - timedelta(hours=1)))


def our_expected(stored: StoredModel) -> list[float]:
    """The right confidence of every state: the stored model evaluated here, apart from any server."""

    async def evaluate(model: ServedModel) -> list[float]:
        inference, reader = OnnxInference(), StateReader(strategies)
        await inference.load(model)
        values: list[float] = []
        for first in range(0, market.STATES, 5_000):
            last = min(first + 5_000, market.STATES)
            states = [reader.read(market.body(number)) for number in range(first, last)]
            values += [round(value, 4) for value in inference.probabilities(model, states)]
        return values

    strategies = shipped_strategies()
    return asyncio.run(evaluate(served(stored, strategies[STRATEGY])))


def await_model(port: int, key: str, version: str) -> None:
    """Until the server answers with `version`; raises TimeoutError."""
    deadline = time.monotonic() + ADOPTED_WITHIN_S
    number = market.STATES - 1
    while time.monotonic() < deadline:
        answer = httpx.post(
            f"http://127.0.0.1:{port}{PATH}",
            content=market.body(number),
            headers={"Authorization": f"Bearer {key}", "Content-Type": "application/json"},
        )
        if answer.status_code == httpx.codes.OK and answer.json()["model_version"] == version:
            return
        time.sleep(0.2)
    raise TimeoutError(f"{version} is not served after {ADOPTED_WITHIN_S:.0f} s")


def our_side(stack: RunningStack, expected: list[float]) -> Side:
    helpers = [stack.pid(name) for name in ("valkey", "postgres", "azurite")]
    return Side("ours", stack.pid("host"), stack.port, stack.load_keys, expected, helpers)


def machine() -> str:
    """Processor, count and memory, as the report names them."""
    model = "unknown processor"
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    return f"{os.cpu_count()} processors, {model}"
