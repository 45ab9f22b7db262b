"""`python -m local` as a process of its own, watched from outside: its files, its output, its children."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from tests.support.places import ROOT
from tests.support.ports import free_port

READY_TIMEOUT_S = 90.0
STOP_TIMEOUT_S = 40.0
RESTART_TIMEOUT_S = 20.0
# What a person may have set for stacks of their own.
_REPLAY = ("BARS", "STAMP", "ZONE", "SPEED", "FROM", "TO", "EXIT")
_VARIABLES = (*_REPLAY, "PORT", "WORKERS", "STATE", "LOAD_KEYS", "MARKET_CLOCK", "STANDBY_OF")


class LocalStack:
    """One `python -m local run` or `up`."""

    def __init__(self, mode: str, state: Path, port: int, variables: Mapping[str, str]) -> None:
        state.mkdir(parents=True, exist_ok=True)
        self.state = state
        self.output_path = state / "output.txt"
        environment = {name: value for name, value in os.environ.items() if name not in _VARIABLES}
        environment.update({"STATE": str(state), "PORT": str(port), **variables})
        with self.output_path.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "local", mode],
                cwd=ROOT,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.seen: set[psutil.Process] = set()

    @property
    def output(self) -> str:
        return self.output_path.read_text(encoding="utf-8", errors="replace")

    def await_ready(self) -> dict[str, Any]:
        deadline = time.monotonic() + READY_TIMEOUT_S
        while not (self.state / "stack.json").exists():
            assert self.process.poll() is None, f"it ended:\n{self.output}"
            assert time.monotonic() < deadline, f"it was not ready in time:\n{self.output}"
            time.sleep(0.05)
        return self.document()

    def document(self) -> dict[str, Any]:
        self.note_processes()
        found: dict[str, Any] = json.loads((self.state / "stack.json").read_text(encoding="utf-8"))
        return found

    def pid(self, name: str) -> int:
        """Of a service that is up, or will be in a moment."""
        deadline = time.monotonic() + RESTART_TIMEOUT_S
        while name not in (processes := self.document()["processes"]):
            assert time.monotonic() < deadline, f"{name} does not come back:\n{self.output}"
            time.sleep(0.05)
        return int(processes[name])

    def note_processes(self) -> None:
        """Remember every process that there is now, to look for it when all should be gone."""
        try:
            me = psutil.Process(self.process.pid)
            self.seen |= {me, *me.children(recursive=True)}
        except psutil.NoSuchProcess:
            pass

    def await_end(self, timeout_s: float = STOP_TIMEOUT_S) -> int:
        try:
            return self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it did not end within {timeout_s} s:\n{self.output}") from None

    def left_behind(self) -> list[str]:
        """Processes seen earlier that live on, given a moment to be reaped."""
        _, alive = psutil.wait_procs(list(self.seen), timeout=8)
        return [f"{process.pid} {process.name()}" for process in alive]

    def logs(self) -> str:
        return "\n".join(
            f"== {path.name}\n{path.read_text(encoding='utf-8', errors='replace')[-3000:]}"
            for path in sorted((self.state / "logs").glob("*.log"))
        )


@contextmanager
def local_stack(mode: str, state: Path, port: int | None = None, **variables: str) -> Iterator[LocalStack]:
    """A stack that is stopped, and whatever it left killed, when the block ends."""
    started = LocalStack(mode, state, port or free_port(), variables)
    try:
        yield started
    finally:
        started.note_processes()
        if started.process.poll() is None:
            started.process.send_signal(signal.SIGINT)
            try:
                started.process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                started.process.kill()
                started.process.wait()
        for process in started.seen:
            if process.is_running():
                process.kill()
