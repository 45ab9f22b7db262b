"""Starts the local function host as its users do: a process in the app's directory."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil

from tests.support.places import ROOT


def wait_for[T](probe: Callable[[], T | None], what: str, within_s: float = 15.0) -> T:
    """What `probe` gives once it gives something; fails when that takes longer than `within_s`."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        found = probe()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError(f"waited {within_s} s in vain for {what}")


@dataclass(frozen=True)
class RunningHost:
    process: subprocess.Popen[bytes]
    log: Path

    def output(self) -> str:
        return self.log.read_text(errors="replace")

    def workers(self) -> list[psutil.Process]:
        try:
            children: list[psutil.Process] = psutil.Process(self.process.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []
        return children

    @property
    def base_url(self) -> str:
        def probe() -> str | None:
            if self.process.poll() is not None:
                raise AssertionError(f"the host ended with {self.process.returncode}:\n{self.output()}")
            found = re.search(r"Serving on (http://\S+)", self.output())
            return found[1] if found else None

        return wait_for(probe, "the host's address")

    def client(self) -> httpx.Client:
        """A client of the host, once it answers; retries nothing by itself."""
        base_url = self.base_url

        def answers() -> bool:
            try:
                return httpx.get(f"{base_url}/", timeout=5).status_code == 404
            except httpx.TransportError:
                return False

        wait_for(answers, "the host's first answer")
        return httpx.Client(base_url=base_url, timeout=15)


def write_app(directory: Path, source: str, files: Mapping[str, str] | None = None) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "function_app.py").write_text(source)
    for name, text in (files or {}).items():
        (directory / name).write_text(text)
    return directory


def host_command(arguments: Sequence[str]) -> list[str]:
    return [sys.executable, "-m", "local.host", *arguments]


def host_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in {"WORKERS", "LOG_LEVEL"}}
    return {**kept, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1", **(extra or {})}


@contextmanager
def running_host(
    directory: Path, *arguments: str, environment: Mapping[str, str] | None = None
) -> Iterator[RunningHost]:
    """A host in `directory`; gone, with every worker, when the block ends."""
    log = directory / "host.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            host_command(arguments),
            cwd=directory,
            env=host_environment(environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    host = RunningHost(process, log)
    started: list[psutil.Process] = []
    try:
        yield host
        started = host.workers()
    finally:
        started = started or host.workers()
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        _, alive = psutil.wait_procs(started, timeout=5)
        for worker in alive:
            worker.kill()


def run_host(
    directory: Path, *arguments: str, environment: Mapping[str, str] | None = None
) -> tuple[int, str]:
    """Exit code and output of a host that is expected to end by itself."""
    done = subprocess.run(
        host_command(arguments),
        cwd=directory,
        env=host_environment(environment),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=30,
        check=False,
    )
    return done.returncode, (done.stdout + done.stderr).decode()
