"""Runs two regions on this machine: an active stack, a passive one that follows it, and their licenses.

`LocalAzure.run` takes the place of az and pulumi for the failover command: each command that it knows does to
these stacks what Azure does to a deployment.
"""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import psycopg

from loadtests.bench.processes import server
from loadtests.failover.publisher import BAR_OPEN, PRICE, SYMBOL
from local.private import private_directory
from local.stack.ports import free_ports
from local.stack.services import azurite
from local.stack.state import StateDirectory
from local.supervisor import Command, Service
from operations.database import connect
from operations.failover.regions import Region
from operations.process import Answer, Call, run_process
from shared.adapters.postgres.database import Connection

CAUGHT_UP_WITHIN_S = 30.0
# A training run takes a processor for seconds and would disturb the figures.
VARIABLES = {"MARKET_CLOCK": "bars", "TRAINING_SCHEDULE": "0 0 4 1 1 *", "LOAD_KEYS": "0", "WORKERS": "1"}


@dataclass
class LocalRegion:
    """One stack; `document` is its stack.json."""

    name: str
    state: Path
    document: dict[str, Any]
    role: str
    is_lost: bool = False
    is_app_stopped: bool = False

    @property
    def url(self) -> str:
        return str(self.document["base_url"])

    @property
    def pids(self) -> dict[str, int]:
        return dict(json.loads((self.state / "stack.json").read_text())["processes"])

    def ask(self, query: str) -> Any:
        """The first value that the database answers to its administrator."""
        with psycopg.connect(self.document["database_url"], autocommit=True) as connection:
            cursor = connection.execute(query.encode())
            row = None if cursor.description is None else cursor.fetchone()
            return None if row is None else row[0]

    def lose(self) -> None:
        """Kills every process of the region at once, as a power failure does."""
        supervisor = psutil.Process(self.pids["supervisor"])
        every = [supervisor, *supervisor.children(recursive=True)]
        for process in every:  # otherwise the first to die would be replaced, or the others would be told
            with contextlib.suppress(psutil.NoSuchProcess):
                process.suspend()
        for process in reversed(every):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self.is_lost = True

    def cut_replication(self) -> None:
        """Stops the stream that this region's database follows."""
        self.ask("alter system set primary_conninfo = ''")
        self.ask("select pg_reload_conf()")
        deadline = time.monotonic() + CAUGHT_UP_WITHIN_S
        while self.ask("select count(*) from pg_stat_wal_receiver"):
            if time.monotonic() > deadline:
                raise RuntimeError("the replica still follows")
            time.sleep(0.02)

    def send(self, number: signal.Signals) -> None:
        os.kill(self.pids["supervisor"], number)


@contextlib.contextmanager
def two_regions(directory: Path) -> Iterator[tuple[LocalRegion, LocalRegion]]:
    """Starts the active and the passive stack, with an open market; stops what is left of them."""
    with _licenses(directory) as tables:
        variables = VARIABLES | {"TABLES_CONNECTION_STRING": tables}
        with _stack(directory, "prod", variables) as active:
            _open_market(active)
            following = variables | {"STANDBY_OF": str(active.state)}
            with _stack(directory, "standby", following) as passive:
                yield active, passive


@contextlib.contextmanager
def _licenses(directory: Path) -> Iterator[str]:
    """A table service that survives the loss of a region, as a geo-redundant account does."""
    state = StateDirectory(directory / "licenses", "up")
    for each in (state.root, state.data, state.logs):
        private_directory(each)
    (port,) = free_ports(1)
    service, connection = azurite(state, port)
    command = service.process
    assert isinstance(command, Command)
    process = subprocess.Popen(  # noqa: S603 - our own arguments
        command.argv, env=dict(command.env), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    try:
        asyncio.run(_until_ready(service, process))
        yield connection
    finally:
        process.kill()
        process.wait()


async def _until_ready(service: Service, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + CAUGHT_UP_WITHIN_S
    while service.ready is not None and not await service.ready():
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError("Azurite did not start")
        await asyncio.sleep(0.05)


@contextlib.contextmanager
def _stack(directory: Path, name: str, variables: dict[str, str]) -> Iterator[LocalRegion]:
    state = directory / name
    (port,) = free_ports(1)
    environment = variables | {"STATE": str(state), "PORT": str(port)}
    with server(["-m", "local", "up"], environment, directory / f"{name}.log", state / "stack.json"):
        document = json.loads((state / "stack.json").read_text())
        yield LocalRegion(name, state, document, "passive" if "STANDBY_OF" in variables else "active")


def _open_market(region: LocalRegion) -> None:
    prices = {"open": PRICE, "high": "6501", "low": "6499", "close": PRICE, "volume": 100}
    httpx.post(
        f"{region.url}/api/bars",
        json={"symbol": SYMBOL, "bars": [{"open_time": BAR_OPEN.isoformat(), **prices}]},
        headers={"Authorization": f"Bearer {region.document['keys']['feeder']}"},
        timeout=30,
    ).raise_for_status()


@asynccontextmanager
async def local_database(region: Region) -> AsyncIterator[Connection]:
    """The database whose URL stands in the place of a server's host."""
    async with await connect({"conninfo": region["postgres_host"]}) as connection:
        yield connection


@dataclass
class LocalAzure:
    """Answers the commands of a failover; `promoted_at` is the `time.time()` of the promotion."""

    old: LocalRegion
    new: LocalRegion
    front_door: str
    smoke_key: str
    timers_on: bool = False
    promoted_at: float = 0.0

    def run(self, call: Call) -> Answer:
        words = call.words
        if words[0] == "pulumi":
            return self._pulumi(words)
        if "operations.smoke" in words:
            return run_process(Call(words, timeout_s=60, environment={"SIGNAL_CLOUD_KEY": self.smoke_key}))
        if words[1] == "rest":
            return self._promote("Planned" in words[words.index("--body") + 1])
        if words[1] == "storage":
            return _json({"primaryLocation": "here", "statusOfPrimary": "available"})
        stack = words[words.index("--resource-group") + 1]
        region = self.old if stack == self.old.name else self.new
        if region.is_lost:
            return Answer(1, "", "the region does not answer")
        answer = {"functionapp": self._app, "postgres": self._server, "resource": self._cut_connections}
        return answer[words[1]](words, region)

    def _pulumi(self, words: tuple[str, ...]) -> Answer:
        region = self.old if words[-1] == self.old.name else self.new
        match words[1:5]:
            case ("stack", "output", "--json", *_):
                return _json(self._outputs(region))
            case ("stack", "output", "role", *_):
                return Answer(0, region.role)
            case ("config", "set", "role", role):
                region.role = role
        return Answer(0, "{}")

    def _outputs(self, region: LocalRegion) -> dict[str, str]:
        names = ("app_name", "data_storage_account", "location", "postgres_server", "postgres_server_id")
        return {
            **dict.fromkeys((*names, "resource_group", "webpubsub_endpoint"), region.name),
            "app_url": region.url,
            "database": "signal_cloud",
            "postgres_host": region.document["database_url"],
            "role": region.role,
            "url": self.front_door if region is self.old else region.url,
        }

    def _app(self, words: tuple[str, ...], region: LocalRegion) -> Answer:
        match words[2:5]:
            case ("show", *_):
                return _json({"state": "Stopped" if region.is_app_stopped else "Running"})
            case ("stop", *_):
                region.send(signal.SIGUSR2)
                self._await_stop(region)
                region.is_app_stopped = True
            case ("start", *_):
                region.is_app_stopped = False  # the rehearsal ends here: the old stack does not follow
            case ("config", "appsettings", "list"):
                return _json([{"name": "AzureWebJobs.timer_outbox_relay.Disabled", "value": self._off}])
            case ("config", "appsettings", "set"):
                region.send(signal.SIGUSR1)
                self.timers_on = True
        return Answer(0)

    @staticmethod
    def _cut_connections(words: tuple[str, ...], region: LocalRegion) -> Answer:
        os.kill(region.pids["webpubsub"], signal.SIGTERM)  # its supervisor starts another
        return Answer(0)

    @property
    def _off(self) -> str:
        return "0" if self.timers_on else "1"

    @staticmethod
    def _await_stop(region: LocalRegion) -> None:
        deadline = time.monotonic() + CAUGHT_UP_WITHIN_S
        while {"host", "timers"} & region.pids.keys():
            if time.monotonic() > deadline:
                raise RuntimeError("the app does not stop")
            time.sleep(0.02)

    def _server(self, words: tuple[str, ...], region: LocalRegion) -> Answer:
        match words[3:5]:
            case ("show", *_):
                role = "AsyncReplica" if region.ask("select pg_is_in_recovery()") else "Primary"
                return _json({"state": "Ready", "replica": {"role": role}})
            case ("parameter", "show"):
                return _json({"value": region.ask("show default_transaction_read_only")})
            case ("parameter", "set"):
                value = words[words.index("--value") + 1]
                region.ask(f"alter system set default_transaction_read_only = {value}")
                region.ask("select pg_reload_conf()")
        return Answer(0)

    def _promote(self, planned: bool) -> Answer:
        if planned:
            # As Azure does: the old primary server accepts nothing more, and then the replica catches up.
            self.old.ask("alter system set default_transaction_read_only = on")
            self.old.ask("select pg_reload_conf()")
            self.old.ask(
                "select count(pg_terminate_backend(pid, 5000)) from pg_stat_activity"
                " where backend_type = 'client backend' and pid <> pg_backend_pid()"
            )
            position = self.old.ask("select pg_current_wal_lsn()")
            deadline = time.monotonic() + CAUGHT_UP_WITHIN_S
            while not self.new.ask(f"select pg_last_wal_replay_lsn() >= '{position}'"):
                if time.monotonic() > deadline:
                    return Answer(1, "", "the replica does not catch up")
                time.sleep(0.02)
        self.new.ask("select pg_promote()")
        self.promoted_at = time.time()
        return Answer(0)


def _json(document: Any) -> Answer:
    return Answer(0, json.dumps(document))
