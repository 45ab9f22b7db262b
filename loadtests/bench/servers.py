"""Starts the servers that the bench measures: our stack with a trained model, the baseline, the bare echo."""

import asyncio
import contextlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx

from loadtests.bench import market
from loadtests.bench.market import PATH
from loadtests.bench.past_signals import AlwaysOpen, outcome_of, publish
from loadtests.bench.processes import place, processors, server
from loadtests.bench.side import Side
from local.stack.ports import free_ports
from local.stack.running_stack import settings_of_running
from local.stack.stack import SCHEDULES
from shared.adapters.inference import OnnxInference
from shared.adapters.strategies import shipped_strategies
from shared.container import Container
from shared.domain.confidence.market_state import StateReader
from shared.domain.confidence.models import ServedModel, StoredModel, served
from shared.domain.trading.trades import Trade
from shared.services.settlement import SettlementService
from shared.settings import read_settings

STRATEGY = "vwap_bounce"
LOAD_KEYS = 500
TRADES = 1_200
# How long a process may still serve the former model after a promotion.
ADOPTED_WITHIN_S = 15.0


@dataclass(frozen=True)
class RunningStack:
    """A stack that the bench started; `addresses` is the content of its stack.json."""

    state: Path
    addresses: Mapping[str, Any]
    load_keys: list[str]

    @property
    def settings(self) -> Mapping[str, str]:
        return settings_of_running(self.state)

    @property
    def app_settings(self) -> Mapping[str, str]:
        """The settings of another process that serves the app from the services of this stack."""
        database_url = str(self.addresses["functions_database_url"])
        return {**SCHEDULES, **self.settings, "DATABASE_URL": database_url, "MARKET_CLOCK": "wall"}

    @property
    def port(self) -> int:
        return int(self.addresses["base_url"].rpartition(":")[2])

    def pid(self, name: str) -> int:
        return int(self.addresses["processes"][name])


@contextlib.contextmanager
def running_stack(directory: Path) -> Iterator[RunningStack]:
    """Runs `python -m local up` in its own directory, on a free port."""
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
    """Starts a second function host on the services of `stack`; yields its process id and port."""
    (port,) = free_ports(1)
    arguments = ["-m", "local.host", "http", "--port", str(port), "--workers", str(workers)]
    with server(arguments, stack.app_settings, log, port) as pid:
        _await_answer(port, workers)
        yield pid, port


def _await_answer(port: int, workers: int) -> None:
    """Waits until the workers answer. The system chooses the worker of each connection, so it asks often."""
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
    """Starts the bare echo on the local host, in one process placed like ours; yields process id and port."""
    (port,) = free_ports(1)
    arguments = ["-m", "local.host", "http", "--app", "loadtests.baseline.echo:app", "--port", str(port)]
    with server([*arguments, "--workers", "1"], {}, directory / "echo.log", port) as pid:
        place(pid, processors()[0])
        yield pid, port


@contextlib.contextmanager
def baseline(directory: Path, stack: RunningStack, model: Path, url: str) -> Iterator[tuple[int, int]]:
    """Starts the baseline on uvicorn in one process; yields process id and port.

    It uses a database of its own in the PostgreSQL and the Valkey of `stack`.
    """
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


async def _teach(stack: RunningStack, trades: Sequence[Trade]) -> StoredModel:
    """Publishes the signals that `trades` followed, and trains on them; returns the new champion."""
    container = Container(read_settings(stack.settings))
    try:
        await publish(container.stores.signals, container.stores.bars, [*map(outcome_of, trades)])
        now = datetime.now(UTC)
        settlement = SettlementService(container.stores.training, container.strategies, AlwaysOpen())
        await settlement.run(now)
        report = await container.training.run(container.strategies[STRATEGY], now)
        if report.outcome != "model":
            raise RuntimeError(f"training on {len(trades)} signals gave no model: {report}")
        champion = await container.stores.models.champion(STRATEGY)
        assert champion is not None
        return champion
    finally:
        await container.pools.close()


def serve_model(stack: RunningStack, trades: Sequence[Trade]) -> StoredModel:
    """Trains on `trades` and returns the model once the stack serves it."""
    champion = asyncio.run(_teach(stack, trades))
    _await_model(stack.port, stack.load_keys[0], champion.version)
    return champion


def past_trades() -> list[Trade]:
    """Returns the trades that both sides learn from; the last one ended an hour ago."""
    return list(market.trades(TRADES, seed=20251017, before=datetime.now(UTC) - timedelta(hours=1)))


def our_expected(stored: StoredModel) -> list[float]:
    """Returns the right confidence of every state, evaluated in this process by the stored model."""

    async def evaluate(model: ServedModel) -> list[float]:
        inference = OnnxInference()
        await inference.load(model)
        reader, values = StateReader(shipped_strategies()), list[float]()
        for first in range(0, market.STATES, 5_000):
            last = min(first + 5_000, market.STATES)
            states = [reader.read(market.body(number)) for number in range(first, last)]
            values += [round(value, 4) for value in inference.probabilities(model, states)]
        return values

    return asyncio.run(evaluate(served(stored, shipped_strategies()[STRATEGY])))


def _await_model(port: int, key: str, version: str) -> None:
    """Waits until the server answers with the model `version`; raises TimeoutError."""
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


def our_side(stack: RunningStack, expected: Sequence[float]) -> Side:
    helpers = [stack.pid(name) for name in ("valkey", "postgres", "azurite")]
    return Side("ours", stack.pid("host"), stack.port, stack.load_keys, expected, helpers)
