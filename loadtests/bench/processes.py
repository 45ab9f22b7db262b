"""Starts and stops the bench's server processes, places them on processors and reads their processor time."""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import psutil

from local.stack.ports import is_port_free

ROOT = Path(__file__).resolve().parents[2]
START_TIMEOUT_S = 90.0
STOP_TIMEOUT_S = 30.0


class StartFailed(Exception):
    """A server did not become ready; the text ends with the last lines of its log."""


def processors() -> tuple[list[int], list[int]]:
    """Returns the processors for the server under test and those for everything else.

    A server of one process gets a processor of its own, so that all sides are compared on equal terms and the
    load generator takes no time from them. Both lists are empty if the system cannot place processes or has
    one processor.
    """
    if not hasattr(os, "sched_getaffinity"):
        return [], []
    usable = sorted(os.sched_getaffinity(0))
    return (usable[:1], usable[1:]) if len(usable) > 1 else ([], [])


def place(pid: int, cpus: Sequence[int]) -> None:
    """Keeps every thread of a process and of its descendants on `cpus`; an empty list changes nothing."""
    if not cpus:
        return
    for process in tree(pid):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            for thread in Path(f"/proc/{process.pid}/task").iterdir():
                with contextlib.suppress(ProcessLookupError):
                    os.sched_setaffinity(int(thread.name), cpus)


def tree(pid: int) -> list[psutil.Process]:
    """Returns a process and all its descendants; an empty list if it has ended."""
    try:
        top = psutil.Process(pid)
        return [top, *top.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def cpu_seconds(pids: Sequence[int]) -> float:
    """Returns the processor time that the processes and their descendants have used so far."""
    total = 0.0
    for pid in pids:
        for process in tree(pid):
            with contextlib.suppress(psutil.NoSuchProcess):
                times = process.cpu_times()
                total += times.user + times.system
    return total


@contextlib.contextmanager
def temporary_directory() -> Iterator[Path]:
    """Yields a directory that is removed with all it holds when the block ends."""
    with tempfile.TemporaryDirectory(prefix="signal-cloud-load-") as name:
        directory = Path(name)
        # If we are root, PostgreSQL runs under another account, which must be able to enter.
        directory.chmod(0o711)
        yield directory


@contextlib.contextmanager
def server(
    arguments: Sequence[str], environment: Mapping[str, str], log: Path, ready: Path | int
) -> Iterator[int]:
    """Runs `python ARGUMENTS` until the block ends; yields its process id once it is ready.

    The process is ready when the file `ready` exists, or when it listens on the port `ready`. Raises
    StartFailed.
    """
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603 - our own modules
            [sys.executable, *arguments],
            cwd=ROOT,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + START_TIMEOUT_S
        while not (ready.exists() if isinstance(ready, Path) else _listens(process.pid, ready)):
            if process.poll() is not None or time.monotonic() > deadline:
                tail = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
                raise StartFailed(f"python {' '.join(arguments)} did not start:\n{tail}")
            time.sleep(0.1)
        yield process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            for each in reversed(tree(process.pid)):
                with contextlib.suppress(psutil.NoSuchProcess):
                    each.kill()
            process.wait()


def _listens(pid: int, port: int) -> bool:
    """Returns whether the process or one of its descendants listens on `port`."""
    if is_port_free(port):
        return False
    for process in tree(pid):
        with contextlib.suppress(psutil.Error):
            for connection in process.net_connections("tcp"):
                if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port:
                    return True
    return False
