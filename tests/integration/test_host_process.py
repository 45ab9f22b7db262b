"""The host's processes: workers share a port, come back when killed, and leave with the host."""

import json
import os
import re
import resource
import signal
import socket
import subprocess
import threading
from pathlib import Path

import httpx
import psutil
import pytest

from tests.support.hosting import (
    RunningHost,
    host_command,
    host_environment,
    run_host,
    running_host,
    wait_for,
    write_app,
)

APP = """
import asyncio, os
import azure.functions as func

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)

@app.route(route="pid")
async def pid(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse(str(os.getpid()))

@app.route(route="slow")
async def slow(req: func.HttpRequest) -> func.HttpResponse:
    await asyncio.sleep(1.5)
    return func.HttpResponse("finished")

@app.route(route="settings")
async def settings(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse(f"{os.environ['FROM_FILE']} {os.environ['FROM_BOTH']}")
"""


def serving_pids(base_url: str) -> set[int]:
    """The workers that answer now; each try is a new connection, which is what picks a worker."""
    pids = set()
    for _ in range(40):
        try:
            pids.add(int(httpx.get(f"{base_url}/api/pid", timeout=5).text))
        except httpx.TransportError:
            continue  # the connection had been given to a worker that is gone
    return pids


def all_gone(processes: list[psutil.Process]) -> bool:
    return not psutil.wait_procs(processes, timeout=0)[1]


def test_workers_share_the_port_and_a_killed_one_is_replaced(tmp_path: Path) -> None:
    directory = write_app(tmp_path / "an app", APP)
    with running_host(directory, "http", "--port", "0", "--workers", "2") as host:
        before = wait_for(
            lambda: pids if len(pids := serving_pids(host.base_url)) == 2 else None, "two workers"
        )
        assert before == {worker.pid for worker in host.workers()}
        victim = min(before)
        os.kill(victim, signal.SIGKILL)
        after = wait_for(
            lambda: pids if len(pids := serving_pids(host.base_url) - {victim}) == 2 else None,
            "a replacement",
        )
        assert before - {victim} < after
        assert "was ended by SIGKILL; starting another" in host.output()


def test_killing_the_only_worker_again_and_again_does_not_end_the_host(tmp_path: Path) -> None:
    directory = write_app(tmp_path, APP)
    with running_host(directory, "http", "--port", "0") as host:
        for _ in range(3):
            (pid,) = wait_for(lambda: serving_pids(host.base_url), "the worker")
            os.kill(pid, signal.SIGKILL)
            wait_for(lambda pid=pid: serving_pids(host.base_url) - {pid}, "its replacement")  # type: ignore[misc]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_finishes_what_is_in_flight_and_leaves_no_process(
    tmp_path: Path, number: signal.Signals
) -> None:
    directory = write_app(tmp_path, APP)
    answers: list[str] = []
    with running_host(directory, "http", "--port", "0", "--workers", "2") as host, host.client() as client:
        idle = httpx.Client(base_url=host.base_url)
        assert idle.get("/api/pid").status_code == 200  # an open connection must not hold up the stop
        caller = threading.Thread(target=lambda: answers.append(client.get("/api/slow").text))
        caller.start()
        wait_for(lambda: len(established(host)) >= 2, "the slow request")
        workers = host.workers()
        host.process.send_signal(number)
        assert host.process.wait(timeout=8) == 0
        caller.join(timeout=5)
        idle.close()
    assert answers == ["finished"]
    assert all_gone(workers)


def test_ctrl_c_in_a_terminal_reaches_all_processes_and_still_ends_in_order(tmp_path: Path) -> None:
    directory = write_app(tmp_path, APP)
    answers: list[str] = []
    with running_host(directory, "http", "--port", "0") as host, host.client() as client:
        caller = threading.Thread(target=lambda: answers.append(client.get("/api/slow").text))
        caller.start()
        wait_for(lambda: established(host), "the slow request")
        for process in (*host.workers(), psutil.Process(host.process.pid)):
            process.send_signal(signal.SIGINT)
        assert host.process.wait(timeout=8) == 0
        caller.join(timeout=5)
    assert answers == ["finished"]
    assert "Traceback" not in host.output()


def test_thousands_of_idle_connections_keep_nobody_out(tmp_path: Path) -> None:
    count = 2_100  # a bot each, and more than the usual limit on open files
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    directory = write_app(tmp_path, APP)
    idle: list[socket.socket] = []
    with running_host(directory, "http", "--port", "0") as host, host.client() as client:
        resource.setrlimit(resource.RLIMIT_NOFILE, (limits[1], limits[1]))
        try:
            address = (client.base_url.host, client.base_url.port or 0)
            idle.extend(socket.create_connection(address, timeout=10) for _ in range(count))
            assert client.get("/api/pid").status_code == 200
            idle[-1].sendall(b"GET /api/pid HTTP/1.1\r\nhost: x\r\n\r\n")
            assert idle[-1].recv(64).startswith(b"HTTP/1.1 200")
        finally:
            for connection in idle:
                connection.close()
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def established(host: RunningHost) -> list[object]:
    return [
        connection
        for worker in host.workers()
        for connection in worker.net_connections("tcp")
        if connection.status == psutil.CONN_ESTABLISHED
    ]


def test_workers_leave_when_the_host_itself_is_killed(tmp_path: Path) -> None:
    directory = write_app(tmp_path, APP)
    with running_host(directory, "http", "--port", "0", "--workers", "2") as host:
        host.client().close()
        workers = wait_for(lambda: w if len(w := host.workers()) == 2 else None, "two workers")
        host.process.kill()
        host.process.wait()
        wait_for(lambda: all_gone(workers), "the workers' end")


def test_a_port_in_use_is_refused_even_from_another_host(tmp_path: Path) -> None:
    directory = write_app(tmp_path, APP)
    with running_host(directory, "http", "--port", "0") as host:
        port = host.base_url.rsplit(":", 1)[1]
        code, output = run_host(directory, "http", "--port", port)
        assert (code, f"port {port}: Address already in use" in output) == (2, True)


def test_a_stranger_that_shares_ports_cannot_be_joined(tmp_path: Path) -> None:
    with socket.socket() as stranger:
        stranger.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        stranger.bind(("127.0.0.1", 0))
        stranger.listen()
        code, _ = run_host(write_app(tmp_path, APP), "http", "--port", str(stranger.getsockname()[1]))
        assert code == 2


def test_settings_come_from_the_environment_then_from_the_file_and_the_prefix_from_host_json(
    tmp_path: Path,
) -> None:
    files = {
        "local.settings.json": json.dumps(
            {"IsEncrypted": False, "Values": {"FROM_FILE": "file", "FROM_BOTH": "file"}}
        ),
        "host.json": json.dumps({"version": "2.0", "extensions": {"http": {"routePrefix": "v1"}}}),
    }
    directory = write_app(tmp_path, APP, files)
    environment = {"FROM_BOTH": "environment", "WORKERS": "2"}
    with (
        running_host(directory, "http", "--port", "0", environment=environment) as host,
        host.client() as client,
    ):
        assert client.get("/v1/settings").text == "file environment"
        assert client.get("/api/settings").status_code == 404
        assert len(host.workers()) == 2


_HEAD = "import azure.functions as func\napp = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)\n"
_BODY = "async def f(req: func.HttpRequest) -> func.HttpResponse: ...\n"


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("import nowhere_to_be_found\n", r"function_app cannot be imported: ModuleNotFoundError: No module"),
        ("def broken(:\n", r"function_app cannot be imported: SyntaxError"),
        ("app = 3\n", r"function_app:app is not a FunctionApp"),
        (_HEAD + "@app.route(route='admin/keys')\n" + _BODY, r"function f: route 'admin/keys' conflicts"),
        (
            _HEAD + "@app.route(route='x', trigger_arg_name='my_req')\nasync def f(my_req): ...\n",
            r"binding name 'my_req'",
        ),
        (
            _HEAD + "@app.route(route='x')\nasync def f(request: func.HttpRequest): ...\n",
            r"do not match its bindings",
        ),
        (_HEAD + "@app.route(route='x/{a:nosuch}')\n" + _BODY, r"constraint 'nosuch'"),
        (
            _HEAD + "@app.route(route='x', auth_level=func.AuthLevel.FUNCTION)\n" + _BODY,
            r"function f: auth level function needs the platform's function keys",
        ),
        (
            _HEAD
            + "@app.queue_trigger(arg_name='msg', queue_name='q', connection='C')\ndef f(msg: str): ...\n",
            r"trigger queueTrigger is not supported",
        ),
        (
            _HEAD + "@app.timer_trigger(arg_name='timer', schedule='%NO_SUCH_SETTING%')\ndef f(timer): ...\n",
            r"function f: %NO_SUCH_SETTING% does not resolve to a value",
        ),
        (
            _HEAD + "@app.timer_trigger(arg_name='timer', schedule='* * * * *')\ndef f(timer): ...\n",
            r"function f: '\* \* \* \* \*' has 5 fields",
        ),
    ],
)
def test_an_app_that_cannot_be_hosted_ends_with_2_and_says_why(
    tmp_path: Path, source: str, said: str
) -> None:
    code, output = run_host(write_app(tmp_path, source), "http", "--port", "0", "--workers", "2")
    assert code == 2
    assert re.search(said, output), output


def test_the_timers_of_an_app_that_cannot_be_hosted_end_with_2_too(tmp_path: Path) -> None:
    code, output = run_host(write_app(tmp_path, "import nowhere_to_be_found\n"), "timers")
    assert (code, "No module named 'nowhere_to_be_found'" in output) == (2, True)


def test_no_app_in_the_directory_ends_with_2(tmp_path: Path) -> None:
    code, output = run_host(tmp_path, "http", "--port", "0", "--app", "absent_app:app")
    assert (code, "there is no absent_app.py here" in output) == (2, True)


@pytest.mark.parametrize("name", ["host.json", "local.settings.json"])
def test_a_broken_settings_file_ends_with_2(tmp_path: Path, name: str) -> None:
    code, output = run_host(write_app(tmp_path, APP, {name: "{"}), "http", "--port", "0")
    assert (code, f"{name} cannot be read" in output) == (2, True)


def test_help_names_every_option() -> None:
    shown = subprocess.run(
        host_command(["http", "--help"]), env=host_environment(), capture_output=True, text=True, check=True
    ).stdout
    for option in ("--host", "--port", "--workers", "--access-log", "--no-access-log", "--app"):
        assert option in shown
