"""The local PostgreSQL: keeps its data, asks for its password, ends with whoever started it."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from local.stack.embedded_postgres import EmbeddedPostgres, PostgresFailed
from tests.support.places import ROOT
from tests.support.ports import free_port

START_AND_WAIT = """
import sys, time
from pathlib import Path
from local.stack.embedded_postgres import EmbeddedPostgres
from tests.support.places import ROOT
from local.stack.embedded_postgres import EmbeddedPostgres
server = EmbeddedPostgres(Path(sys.argv[1]), int(sys.argv[2]))
server.start()
print(server.pid, flush=True)
time.sleep(60)
"""


@pytest.fixture
def directory(server_directory: Path) -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="with a space ", dir=server_directory))
    made.chmod(0o711)
    yield made
    made.chmod(0o700)
    shutil.rmtree(made)


@pytest.fixture
def server(directory: Path) -> Iterator[EmbeddedPostgres]:
    server = EmbeddedPostgres(directory / "postgres", free_port())
    yield server
    server.stop()


def is_alive(pid: int) -> bool:
    """Whether the process runs; one that ended and that nobody has waited for does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_data_outlives_a_restart_and_is_durable(server: EmbeddedPostgres) -> None:
    url = server.start()
    with psycopg.connect(url) as connection:
        connection.execute("create table kept as select 42 as answer")
        settings = {"fsync": "on", "synchronous_commit": "on", "unix_socket_directories": ""}
        for name, value in settings.items():
            shown = connection.execute(f"show {name}").fetchone()
            assert shown == (value,)
    server.stop()
    assert server.pid is None
    assert server.start() == url
    with psycopg.connect(url) as connection:
        assert connection.execute("select answer from kept").fetchone() == (42,)


def test_nobody_gets_in_without_the_password(server: EmbeddedPostgres) -> None:
    url = server.start()
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(make_conninfo(url, password="guessed"))
    assert (server.data_dir / "password").stat().st_mode & 0o777 == 0o600


def test_a_stop_leaves_no_process(server: EmbeddedPostgres) -> None:
    server.start()
    pid = server.pid
    assert pid is not None
    server.stop()
    assert not Path(f"/proc/{pid}").exists()
    server.stop()


def test_a_port_that_is_taken_is_told_with_the_log(server: EmbeddedPostgres, directory: Path) -> None:
    server.start()
    second = EmbeddedPostgres(directory / "second", server.port)
    with pytest.raises(PostgresFailed, match="Address already in use"):
        second.start()
    assert second.pid is None


def test_a_setup_that_was_interrupted_is_done_again(server: EmbeddedPostgres) -> None:
    server.start()
    server.stop()
    (server.data_dir / "password").unlink()
    with psycopg.connect(server.start()) as connection:
        assert connection.execute("select 1").fetchone() == (1,)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root starts the server as another user")
def test_as_root_the_data_may_lie_where_only_root_can_go(directory: Path) -> None:
    directory.chmod(0o700)
    server = EmbeddedPostgres(directory / "hidden", free_port())
    elsewhere = server._home()  # the place is an internal matter; the test only cleans it up
    try:
        with psycopg.connect(server.start()) as connection:
            assert connection.execute("select 1").fetchone() == (1,)
        assert Path(f"/proc/{server.pid}").stat().st_uid != 0
        assert not elsewhere.is_relative_to(directory)
        assert elsewhere.stat().st_uid == 0
        assert (elsewhere / "cluster").stat().st_mode & 0o077 == 0
    finally:
        server.stop()
        shutil.rmtree(elsewhere)


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's parent-death signal is Linux's")
def test_the_server_ends_when_its_starter_is_killed(directory: Path) -> None:
    starter = subprocess.Popen(
        [sys.executable, "-c", START_AND_WAIT, str(directory / "orphan"), str(free_port())],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert starter.stdout is not None
    pid = int(starter.stdout.readline())
    assert is_alive(pid)
    starter.send_signal(signal.SIGKILL)
    starter.wait(10)
    starter.stdout.close()
    deadline = time.monotonic() + 10
    while is_alive(pid):
        assert time.monotonic() < deadline, "the server outlived its starter"
        time.sleep(0.02)
