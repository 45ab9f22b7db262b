"""Starting, surviving and stopping: what `make up` promises about its processes and files."""

import os
import signal
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import psutil
import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from tests.support.ports import free_port
from tests.support.running import RunningStack
from tests.support.stacks import LocalStack, local_stack

RECOVERY_S = 30.0


def until(condition: Callable[[], bool], running: LocalStack, timeout_s: float = RECOVERY_S) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, (
            f"it did not come about in time:\n{running.output}\n{running.logs()}"
        )
        time.sleep(0.1)


def status_of(document: dict[str, Any], path: str, key: str = "bot") -> int:
    headers = {"Authorization": f"Bearer {document['keys'][key]}"}
    try:
        return httpx.get(document["base_url"] + path, headers=headers, timeout=5).status_code
    except httpx.TransportError:
        return 0


def check_logins(document: dict[str, Any]) -> None:
    """Each process has the address of its own login: no superuser's, and functions not that of the timers."""
    processes = document["processes"]
    http, timers = (psutil.Process(processes[name]).environ() for name in ("host", "timers"))
    assert http["DATABASE_URL"] == timers["DATABASE_URL"] == document["functions_database_url"]
    assert conninfo_to_dict(http["DATABASE_URL"])["user"] == "signal_http"
    assert not http.get("JOBS_DATABASE_URL")
    assert conninfo_to_dict(timers["JOBS_DATABASE_URL"])["user"] == "signal_timers"
    admin_password = str(conninfo_to_dict(document["database_url"])["password"])
    for environment in (http, timers):
        assert admin_password not in str(environment)
    with psycopg.connect(document["functions_database_url"], autocommit=True) as connection:
        connection.execute("set role signal_functions")
        for other in ("signal_jobs", "signal_timers", "signal_cloud"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(f"set role {other}".encode())


def test_up_is_ready_private_and_leaves_nothing(directory: Path) -> None:
    with local_stack("up", directory / "a b", LOAD_KEYS="120") as running:
        document = running.await_ready()
        assert {
            "base_url",
            "hub",
            "webpubsub_connection_string",
            "database_url",
            "redis_url",
            "tables_connection_string",
            "keys",
            "processes",
        } <= document.keys()
        assert set(document["keys"]) == {"bot", "bot2", "publisher", "feeder", "ops"}
        for name in ("stack.json", "secrets.json", "load_keys.txt"):
            assert stat.S_IMODE((running.state / name).stat().st_mode) == 0o600
        load_keys = (running.state / "load_keys.txt").read_text().split()
        assert len(set(load_keys)) == 120
        assert status_of(document, "/api/health/ready") == 200
        # output.txt is this test's own.
        made = [path for path in running.state.iterdir() if path.name != "output.txt"]
        assert not [path for path in made if path.stat().st_mode & 0o077]
        assert not [path for path in (running.state / "logs").iterdir() if path.stat().st_mode & 0o077]
        assert running.state.stat().st_mode & 0o777 == 0o700
        check_logins(document)
        mine = httpx.get(
            document["base_url"] + "/api/license", headers={"Authorization": f"Bearer {load_keys[-1]}"}
        ).json()
        assert mine["requests_per_minute"] == 10_000
        running.process.send_signal(signal.SIGINT)
        assert running.await_end() == 0
        assert not (running.state / "stack.json").exists()
        assert not (running.state / "load_keys.txt").exists()
        assert running.left_behind() == []


def test_up_keeps_its_keys_and_data_and_starts_fast_the_second_time(directory: Path) -> None:
    with local_stack("up", directory) as first:
        document = first.await_ready()
        # An exit, because it is accepted at every hour.
        signal_body = {"symbol": "ES", "side": "LONG", "kind": "exit", "price": "6500.25"}
        headers = {"Authorization": f"Bearer {document['keys']['publisher']}"}
        assert httpx.post(document["base_url"] + "/api/signals", json=signal_body, headers=headers).is_success
    started = time.monotonic()
    with local_stack("up", directory) as second:
        again = second.await_ready()
        assert time.monotonic() - started < 15
        assert again["keys"] == document["keys"]
        headers = {"Authorization": f"Bearer {again['keys']['bot']}"}
        page = httpx.get(again["base_url"] + "/api/signals?symbol=ES", headers=headers).json()
        assert page["last_sequence"] == 1


def test_killed_services_come_back_with_their_data(directory: Path) -> None:
    with local_stack("up", directory) as running:
        before = running.await_ready()
        names = [name for name in before["processes"] if name != "supervisor"]
        assert set(names) == {"postgres", "valkey", "azurite", "webpubsub", "host", "timers", "vendors"}
        for name in names:
            os.kill(before["processes"][name], signal.SIGKILL)
        until(
            lambda: (
                all(running.document()["processes"].get(n, -1) != before["processes"][n] for n in names)
                and set(names) <= running.document()["processes"].keys()
            ),
            running,
        )
        until(lambda: status_of(before, "/api/health/ready") == 200, running)
        assert status_of(before, "/api/license") == 200
        after = running.document()
        changing = {"processes"}
        assert {k: v for k, v in after.items() if k not in changing} == {
            k: v for k, v in before.items() if k not in changing
        }
        running.process.send_signal(signal.SIGTERM)
        assert running.await_end() == 0
        assert running.left_behind() == []


@pytest.mark.parametrize("how", [signal.SIGHUP, signal.SIGKILL])
def test_nothing_is_left_however_it_ends(directory: Path, how: signal.Signals) -> None:
    with local_stack("up", directory, LOAD_KEYS="2") as running:
        running.await_ready()
        running.process.send_signal(how)
        assert running.await_end() == (-how if how is signal.SIGKILL else 0)
        assert running.left_behind() == []
        assert not (running.state / "stack.json").exists()
        assert not (running.state / "load_keys.txt").exists()


def test_interrupt_in_the_middle_of_a_start(directory: Path) -> None:
    with local_stack("up", directory) as running:
        until(lambda: "up after" in running.output, running)
        running.note_processes()
        os.killpg(running.process.pid, signal.SIGINT)  # as the terminal does, children included
        assert running.await_end() == 0
        assert "Traceback" not in running.output
        assert running.left_behind() == []


def test_two_stacks_side_by_side_and_none_on_the_same_state_or_port(
    stack: RunningStack, directory: Path
) -> None:
    first = stack.document
    with local_stack("up", directory / "second") as second:
        document = second.await_ready()
        assert status_of(document, "/api/license") == 200
        assert status_of(first, "/api/license") == 200
        assert status_of({**first, "keys": document["keys"]}, "/api/license") == 401

        with local_stack(
            "up", second.state.parent / "other", port=int(first["base_url"].rsplit(":", 1)[1])
        ) as taken:
            assert taken.await_end() == 2
            assert "PORT=" in taken.output
        environment = {"STATE": str(second.state)}
        with local_stack("up", directory / "third", port=free_port(), **environment) as same:
            assert same.await_end() == 2
            assert "already runs" in same.output
        assert status_of(document, "/api/license") == 200
