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

import psycopg

from loadtests.attacks.http_client import Connection, request
from loadtests.bench.processes import ROOT, server
from loadtests.bench.servers import RunningStack
from local.stack.ports import free_ports
from shared.container import Container
from shared.settings import read_settings

COMMAND_TIMEOUT_S = 60.0
# A training run takes a processor for seconds and would disturb the figures.
NO_TRAINING = {"TRAINING_SCHEDULE": "0 0 4 1 1 *"}
STORED_DAYS = 50
MONTHS_AHEAD = 3  # from the first stored trade to today
STORED = """
    with made as (
        select
            'stored-' || n as trade_id,
            (array['ES', 'NQ', 'CL', 'YM', 'RTY'])[n %% 5 + 1] as symbol,
            %(last)s::timestamptz - n * %(every)s::interval as exit_at
        from generate_series(1, %(count)s) as n
    ), named as (
        insert into trade_ids (account_id, trade_id, exit_at)
        select %(account)s, trade_id, exit_at from made
    )
    insert into trades (
        account_id, trade_id, key_public_id, symbol, side, strategy, quantity, entry_price, exit_price,
        entry_at, exit_at, pnl, fees, confidence
    )
    select
        %(account)s, trade_id, %(key)s, symbol, 'LONG', 'vwap_bounce', 1, 6500.25, 6501.50,
        exit_at - interval '5 minutes', exit_at, 62.50, 4.04, 0.61
    from made
"""


@dataclass(frozen=True)
class BotKey:
    """A key of a new license of a new account."""

    account: str
    license_id: str
    public_id: str
    key: str


@dataclass(frozen=True)
class Ran:
    """What a license command did: its exit status, its text, and when it returned (monotonic clock)."""

    status: int
    text: str
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
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=COMMAND_TIMEOUT_S,
        check=False,
    )
    returned_at = time.monotonic()
    return Ran(run.returncode, run.stdout.strip(), returned_at, returned_at - began)


def _made(stack: RunningStack, *arguments: str) -> dict[str, Any]:
    ran = license_command(stack, arguments[0], "--json", *arguments[1:])
    if ran.status != 0:
        raise RuntimeError(f"license {arguments[0]} ended with status {ran.status}: {ran.text}")
    made: dict[str, Any] = json.loads(ran.text)
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
    """Loads `count` trades of the last STORED_DAYS into the bot's account, directly into Postgres.

    Raises RuntimeError if the app does not count them afterwards: an attack on them would say nothing.
    """
    last = datetime.now(UTC) - timedelta(hours=1)
    asyncio.run(_ensure_partitions(stack, last - timedelta(days=STORED_DAYS)))
    with psycopg.connect(stack.settings["DATABASE_URL"], autocommit=True) as connection:
        connection.execute(
            STORED,
            {
                "account": bot.account,
                "key": bot.public_id,
                "last": last,
                "every": timedelta(days=STORED_DAYS) / count,
                "count": count,
            },
        )
        connection.execute("analyze trades, trade_ids")
    found = asyncio.run(_counted(stack.port, bot.key))
    if found != count:
        raise RuntimeError(f"GET performance counts {found} of {count:,} stored trades")


async def _ensure_partitions(stack: RunningStack, earliest: datetime) -> None:
    container = Container(read_settings(stack.settings))
    try:
        await container.stores.upkeep.ensure_partitions(earliest, MONTHS_AHEAD)
    finally:
        await container.database.close()


async def _counted(port: int, key: str) -> object:
    connection = Connection(port, timeout_s=30)
    try:
        answer = await connection.ask(request("GET", "performance", key=key))
    finally:
        connection.close()
    return json.loads(answer.body)["trades"] if answer.is_success else answer.label
