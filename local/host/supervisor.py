"""Runs worker processes, starts another for each that ends, and leaves none behind.

A worker's standard input is a pipe whose other end only the supervisor holds. When the supervisor
goes, however it went, the pipe closes and the worker stops by itself.
"""

import asyncio
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from local.supervisor import Command, Service, Supervisor

logger = logging.getLogger("local.host")

# A worker that finds the app faulty: starting another would find the same.
EXIT_FAULTY_APP = 2
# How long a worker may take to finish what is in flight, and how much longer until it is killed.
STOP_GRACE_S = 10.0
_KILL_AFTER_S = STOP_GRACE_S + 2


def ignore_interrupts() -> None:
    """In a worker, first of all: Ctrl-C reaches every process of the terminal, and the supervisor decides.

    A handler that does nothing, because a child of the worker would inherit an ignored signal.
    """
    signal.signal(signal.SIGINT, lambda *_: None)


def on_stop_request(loop: asyncio.AbstractEventLoop, stop: Callable[[], None]) -> None:
    """In a worker: calls `stop` at SIGTERM or when the supervisor is gone.

    A worker that has not left STOP_GRACE_S later is ended, whatever holds it up.
    """

    def begin() -> None:
        last_resort = threading.Timer(STOP_GRACE_S, os._exit, (1,))
        last_resort.daemon = True
        last_resort.start()
        stop()

    def readable() -> None:
        if not os.read(descriptor, 1_024):
            loop.remove_reader(descriptor)
            begin()

    loop.add_signal_handler(signal.SIGTERM, begin)
    descriptor = sys.stdin.fileno()
    loop.add_reader(descriptor, readable)


def reserve_port(host: str, port: int) -> socket.socket:
    """A bound socket that keeps the port ours while workers come and go; port 0 takes a free one.

    Workers share the port (SO_REUSEPORT), so a second host could join them unnoticed. Therefore this asks
    for the port alone first. Raises OSError if it is taken.
    """
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    with socket.socket(family, kind, protocol) as alone:
        alone.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        alone.bind(address)
        host, port = alone.getsockname()[:2]
    # Bound without SO_REUSEADDR, it refuses the port to other hosts even before a worker listens.
    return _sharing(host, port)


def shared_socket(host: str, port: int) -> socket.socket:
    """A bound socket for a worker, which shares its port with the host's other processes."""
    shared = _sharing(host, port)
    # Connections inherit it: without it, those that a killed worker leaves in TIME_WAIT would keep the next
    # supervisor from asking for the port alone.
    shared.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    return shared


def _sharing(host: str, port: int) -> socket.socket:
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    shared = socket.socket(family, kind, protocol)
    shared.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    shared.bind(address)
    return shared


async def supervise(commands: Sequence[Sequence[str]]) -> int:
    """Keeps one process of each command alive until SIGTERM or SIGINT; the exit code for our own.

    That is 0, or EXIT_FAULTY_APP as soon as a worker ends with it.
    """
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    workers = [
        Service(
            f"worker {number}",
            Command(command, os.environ, None, Path.cwd(), is_tethered=True),
            stop_timeout_s=_KILL_AFTER_S,
            final_status=EXIT_FAULTY_APP,
        )
        for number, command in enumerate(commands, start=1)
    ]

    def is_faulty() -> bool:
        return any(worker.state == "stopped" for worker in workers)

    def stop_if_faulty() -> None:
        if is_faulty():
            stopping.set()

    supervisor = Supervisor(None, logger.warning, stop_if_faulty)
    await supervisor.start(*workers)
    await stopping.wait()
    code = EXIT_FAULTY_APP if is_faulty() else 0
    await supervisor.stop(asyncio.Event())
    return code
