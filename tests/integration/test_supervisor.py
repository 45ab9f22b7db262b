"""Child processes under supervision: real ones, killed and stopped for real."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from local.supervisor import Command, Guardian, Service, ServiceFailed, Supervisor
from tests.support.places import ROOT

DEADLINE_S = 15.0

# Writes its pid, then sleeps; with "deaf" it ignores SIGTERM; a grandchild shares its process group.
_CHILD = """
import os, pathlib, signal, subprocess, sys, time
if "deaf" in sys.argv:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
if "parent" in sys.argv:
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
def say_goodbye(*_):
    with open(sys.argv[2], "a") as order:
        order.write(pathlib.Path(sys.argv[1]).name + "\\n")
    sys.exit(0)
if "deaf" not in sys.argv:
    signal.signal(signal.SIGTERM, say_goodbye)
pathlib.Path(sys.argv[1]).write_text(str(os.getpid()))
time.sleep(600)
"""


class Stage:
    """A supervisor with children that tell on which order they ended."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.said: list[str] = []
        self.changes = 0
        self.order = directory / "order"
        self.supervisor = Supervisor(Guardian([]), self.said.append, self._changed)

    def _changed(self) -> None:
        self.changes += 1

    def service(self, name: str, *options: str, stop_timeout_s: float = 5.0, restart: bool = True) -> Service:
        ready_file = self.directory / name
        argv = (sys.executable, "-c", _CHILD, str(ready_file), str(self.order), *options)
        command = Command(argv, os.environ, self.directory / f"{name}.log", self.directory)

        async def ready() -> bool:
            return ready_file.exists() and ready_file.read_text() == str(command.pid)

        return Service(name, command, ready, stop_timeout_s=stop_timeout_s, restart=restart)


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


async def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, "it did not come about in time"
        await asyncio.sleep(0.02)


def pid_of(service: Service) -> int:
    assert service.pid is not None
    return service.pid


async def test_killed_child_is_started_again_and_its_orphans_are_not_left(stage: Stage) -> None:
    service = stage.service("one", "parent")
    await stage.supervisor.start(service)
    first = pid_of(service)
    orphans = psutil.Process(first).children()
    assert len(orphans) == 1
    changes = stage.changes
    os.kill(first, signal.SIGKILL)
    await until(lambda: service.state == "up" and service.pid != first)
    assert service.restarts == 1
    assert stage.changes > changes
    await until(lambda: not orphans[0].is_running() or orphans[0].status() == psutil.STATUS_ZOMBIE)
    await stage.supervisor.stop(asyncio.Event())
    assert not psutil.pid_exists(first)


async def test_tiers_stop_in_reverse_order(stage: Stage) -> None:
    await stage.supervisor.start(stage.service("data"))
    await stage.supervisor.start(stage.service("functions"))
    await stage.supervisor.start(stage.service("bots"))
    await stage.supervisor.stop(asyncio.Event())
    assert stage.order.read_text().split() == ["bots", "functions", "data"]


async def test_child_that_does_not_listen_is_killed_within_its_bound(stage: Stage) -> None:
    service = stage.service("deaf", "deaf", stop_timeout_s=0.3)
    await stage.supervisor.start(service)
    pid = pid_of(service)
    started = time.monotonic()
    await stage.supervisor.stop(asyncio.Event())
    assert time.monotonic() - started < 3
    assert not psutil.pid_exists(pid)
    assert any("does not stop" in line for line in stage.said)


async def test_second_interrupt_does_not_wait(stage: Stage) -> None:
    service = stage.service("deaf", "deaf", stop_timeout_s=60)
    await stage.supervisor.start(service)
    hurry = asyncio.Event()
    stopping = asyncio.create_task(stage.supervisor.stop(hurry))
    await asyncio.sleep(0.1)
    assert not stopping.done()
    hurry.set()
    await asyncio.wait_for(stopping, 3)


async def test_stopped_process_is_continued_so_that_it_can_end(stage: Stage) -> None:
    service = stage.service("frozen")
    await stage.supervisor.start(service)
    os.kill(pid_of(service), signal.SIGSTOP)
    await asyncio.wait_for(stage.supervisor.stop(asyncio.Event()), 4)
    assert stage.order.read_text().split() == ["frozen"]


async def test_child_that_ends_while_starting_says_why(stage: Stage, tmp_path: Path) -> None:
    command = Command(
        (sys.executable, "-c", "raise SystemExit('no such thing')"), os.environ, tmp_path / "log", tmp_path
    )

    async def never() -> bool:
        return False

    with pytest.raises(ExceptionGroup) as caught:
        await stage.supervisor.start(Service("broken", command, never))
    (failure,) = caught.value.exceptions
    assert isinstance(failure, ServiceFailed)
    assert "no such thing" in str(failure)
    await stage.supervisor.stop(asyncio.Event())


async def test_child_that_is_not_to_come_back_does_not(stage: Stage) -> None:
    service = stage.service("bot", restart=False)
    await stage.supervisor.start(service)
    os.kill(pid_of(service), signal.SIGKILL)
    await until(lambda: service.state == "stopped")
    assert service.restarts == 0
    await stage.supervisor.stop(asyncio.Event())


async def test_a_child_that_ends_with_its_final_status_is_not_started_again(
    stage: Stage, tmp_path: Path
) -> None:
    argv = (sys.executable, "-c", "raise SystemExit(2)")
    command = Command(argv, os.environ, tmp_path / "log", tmp_path)
    service = Service("faulty", command, final_status=2)
    await stage.supervisor.start(service)
    await until(lambda: service.state == "stopped")
    assert service.restarts == 0
    assert stage.said == ["faulty ended with status 2"]
    await stage.supervisor.stop(asyncio.Event())


@pytest.mark.parametrize(
    ("ending", "said"),
    [
        ("raise SystemExit(3)", "one ended with status 3; starting another in 0.1 s"),
        ("raise SystemExit(75)", "one asked for a restart; starting another in 0.1 s"),
        ("import os; os.kill(os.getpid(), 9)", "one was ended by SIGKILL; starting another in 0.1 s"),
    ],
)
async def test_every_other_ending_is_named_and_mended(
    stage: Stage, tmp_path: Path, ending: str, said: str
) -> None:
    command = Command((sys.executable, "-c", ending), os.environ, tmp_path / "log", tmp_path)
    service = Service("one", command, final_status=2)
    await stage.supervisor.start(service)
    await until(lambda: service.restarts > 1)
    assert stage.said[0] == said
    await stage.supervisor.stop(asyncio.Event())


async def test_a_tethered_child_shares_our_session_and_its_input_closes_with_us(tmp_path: Path) -> None:
    # Ends when its standard input does.
    argv = (sys.executable, "-c", "import sys; sys.stdin.read()")
    command = Command(argv, os.environ, None, tmp_path, is_tethered=True)
    await command.start()
    assert command.pid is not None
    assert os.getsid(command.pid) == os.getsid(0)
    assert command.process is not None
    assert command.process.stdin is not None
    command.process.stdin.close()
    assert await asyncio.wait_for(command.wait(), DEADLINE_S) == 0


_SUPERVISOR = """
import asyncio, os, sys
from pathlib import Path
from local.supervisor import Command, Guardian, Service, Supervisor
from tests.support.places import ROOT
from local.supervisor import Command, Guardian, Service, Supervisor

async def always(): return True

async def main():
    directory = Path(sys.argv[1])
    (directory / "stack.json").touch()
    supervisor = Supervisor(Guardian([directory / "stack.json"]), print, lambda: None)
    deaf = "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(600)"
    sleeper = [sys.executable, "-c", deaf]
    polite = [sys.executable, "-c", "import time; time.sleep(600)"]
    services = [
        Service(name, Command(argv, os.environ, directory / "log", directory), always)
        for name, argv in (("deaf", sleeper), ("polite", polite))
    ]
    await supervisor.start(*services)
    (directory / "pids").write_text(" ".join(str(service.pid) for service in services))
    await asyncio.sleep(600)

asyncio.run(main())
"""


def test_nothing_outlives_a_killed_supervisor(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", _SUPERVISOR, str(tmp_path)], cwd=ROOT)
    try:
        deadline = time.monotonic() + DEADLINE_S
        pids_file = tmp_path / "pids"
        while not (pids_file.exists() and pids_file.read_text()):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        children = [psutil.Process(int(pid)) for pid in pids_file.read_text().split()]
        process.kill()
        process.wait()
        # The deaf one goes last, when the guardian's patience of 5 s is over.
        _, alive = psutil.wait_procs(children, timeout=DEADLINE_S)
        assert not alive
        # The guardian sees to its files after that.
        deadline = time.monotonic() + DEADLINE_S
        while (tmp_path / "stack.json").exists():
            assert time.monotonic() < deadline
            time.sleep(0.02)
    finally:
        process.kill()
        process.wait()
