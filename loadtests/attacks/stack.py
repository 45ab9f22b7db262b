"""Starts the stack that is attacked, and makes licenses with the license command, as an operator does."""

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

from loadtests.attacks.http_client import Connection, request
from loadtests.attacks.innocent import trade_body
from loadtests.bench.processes import ROOT, server
from loadtests.bench.servers import RunningStack
from local.stack.ports import free_ports

COMMAND_TIMEOUT_S = 60.0
# A plan without quotas that a measure could reach.
LOAD_PLAN = ("--plan", "load")
TRADES_A_REPORT = 500
REPORTS_AT_ONCE = 4
REPORT_EVERY = timedelta(hours=4)  # 150,000 trades reach 50 days back
# A training run takes a processor for seconds and would disturb the figures.
NO_TRAINING = {"TRAINING_SCHEDULE": "0 0 4 1 1 *"}


@dataclass(frozen=True)
class BotKey:
    """A key of a new license of a new account."""

    account: str
    license_id: str
    public_id: str
    key: str


@dataclass(frozen=True)
class Ran:
    """What a license command did: its exit status, its texts, and when it returned (monotonic clock)."""

    status: int
    output: str
    errors: str
    returned_at: float
    took_s: float


@contextlib.contextmanager
def attacked_stack(
    directory: Path, workers: int, environment: Mapping[str, str] | None = None
) -> Iterator[RunningStack]:
    """Runs `python -m local up` on a free port, without training."""
    state = directory / "state"
    (port,) = free_ports(1)
    own = {"STATE": str(state), "PORT": str(port), "WORKERS": str(workers), "LOAD_KEYS": "0"}
    variables = {**own, **NO_TRAINING, **(environment or {})}
    with server(["-m", "local", "up"], variables, directory / "stack.log", state / "stack.json"):
        yield RunningStack(state, json.loads((state / "stack.json").read_text()), [])


def license_command(stack: RunningStack, *arguments: str) -> Ran:
    """Runs `python -m operations.license` against the stack."""
    began = time.monotonic()
    run = subprocess.run(  # noqa: S603 - our own module
        [sys.executable, "-m", "operations.license", *arguments],
        cwd=ROOT,
        env={**os.environ, "STATE": str(stack.state)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=COMMAND_TIMEOUT_S,
        check=False,
    )
    returned_at = time.monotonic()
    return Ran(run.returncode, run.stdout, run.stderr, returned_at, returned_at - began)


def _made(stack: RunningStack, *arguments: str) -> dict[str, Any]:
    ran = license_command(stack, arguments[0], "--json", *arguments[1:])
    if ran.status != 0:
        raise RuntimeError(f"license {arguments[0]} ended with status {ran.status}: {ran.errors}")
    made: dict[str, Any] = json.loads(ran.output)
    return made


def new_bot(stack: RunningStack, name: str, per_minute: int, *arguments: str) -> BotKey:
    """Makes a license with a bot's key for a new account."""
    account = f"{name}-{uuid4().hex[:8]}"
    made = _made(stack, "create", "--account", account, "--requests-per-minute", str(per_minute), *arguments)
    return BotKey(account, made["license"]["license_id"], made["key"]["public_id"], made["plain_key"])


def another_key(stack: RunningStack, bot: BotKey, *arguments: str) -> BotKey:
    """Makes one more key of the bot's license."""
    made = _made(stack, "add-key", bot.license_id, *arguments)
    return BotKey(bot.account, bot.license_id, made["key"]["public_id"], made["plain_key"])


def store_trades(stack: RunningStack, bot: BotKey, count: int) -> None:
    """Reports `count` trades, a multiple of TRADES_A_REPORT, for the bot, dated back from now.

    Raises RuntimeError if the app does not count them afterwards: an attack on them would say nothing.
    """
    found = asyncio.run(_stored(stack.port, bot.key, count // TRADES_A_REPORT))
    if found != count:
        raise RuntimeError(f"GET performance counts {found} of {count:,} stored trades")


async def _stored(port: int, key: str, reports: int) -> object:
    """Returns the number of trades that the app counts after `reports` reports, or how it refused one."""
    numbers = iter(range(reports))
    connections = [Connection(port, timeout_s=30) for _ in range(REPORTS_AT_ONCE)]

    async def send(connection: Connection) -> None:
        for number in numbers:
            before = datetime.now(UTC) - number * REPORT_EVERY
            body = trade_body(f"stored-{number}", before, count=TRADES_A_REPORT)
            answer = await connection.ask(request("POST", "trades", key=key, body=body))
            if not answer.is_success:
                raise RuntimeError(f"trades were refused: {answer.label}")

    try:
        await asyncio.gather(*map(send, connections))
        answer = await connections[0].ask(request("GET", "performance", key=key))
        return json.loads(answer.body)["trades"] if answer.is_success else answer.label
    finally:
        for connection in connections:
            connection.close()
