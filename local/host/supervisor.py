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
import time
from collections.abc import Callable, Sequence

logger = logging.getLogger("local.host")

# A worker that finds the app faulty: starting another would find the same.
EXIT_FAULTY_APP = 2
# A worker that asks for a fresh process, as the platform restarts one after a function's timeout.
EXIT_RESTART = 75
# How long a worker may take to finish what is in flight, and how much longer until it is killed.
STOP_GRACE_S = 10.0
_KILL_AFTER_S = STOP_GRACE_S + 2
# A worker that lived this long failed by accident; one that did not is restarted ever more slowly.
_HEALTHY_S = 5.0
_FIRST_DELAY_S = 0.2
_LONGEST_DELAY_S = 5.0


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
    return shared_socket(host, port)


def shared_socket(host: str, port: int) -> socket.socket:
    """A bound socket that shares its port with the host's other processes."""
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
    codes = await asyncio.gather(*(_keep_alive(command, stopping) for command in commands))
    return max(codes)


async def _keep_alive(command: Sequence[str], stopping: asyncio.Event) -> int:
    delay_s = _FIRST_DELAY_S
    while not stopping.is_set():
        started = time.monotonic()
        process = await asyncio.create_subprocess_exec(*command, stdin=asyncio.subprocess.PIPE)
        code = await _wait(process, stopping)
        if code is None:
            return 0
        if code == EXIT_FAULTY_APP:
            stopping.set()
            return EXIT_FAULTY_APP
        delay_s = _FIRST_DELAY_S if time.monotonic() - started > _HEALTHY_S else delay_s * 2
        delay_s = min(delay_s, _LONGEST_DELAY_S)
        logger.warning("Worker %d %s; starting another in %.1f s", process.pid, _reason(code), delay_s)
        try:
            await asyncio.wait_for(stopping.wait(), delay_s)
        except TimeoutError:
            continue
    return 0


async def _wait(process: asyncio.subprocess.Process, stopping: asyncio.Event) -> int | None:
    """The worker's exit code, or None when it was stopped because we are stopping."""
    ended = asyncio.create_task(process.wait())
    stop = asyncio.create_task(stopping.wait())
    await asyncio.wait((ended, stop), return_when=asyncio.FIRST_COMPLETED)
    stop.cancel()
    if ended.done():
        return ended.result()
    process.terminate()
    try:
        await asyncio.wait_for(asyncio.shield(ended), _KILL_AFTER_S)
    except TimeoutError:
        logger.warning("Worker %d did not stop within %.0f s; killing it", process.pid, _KILL_AFTER_S)
        process.kill()
        await ended
    return None


def _reason(code: int) -> str:
    if code == EXIT_RESTART:
        return "asked for a restart"
    if code < 0:
        return f"was ended by {signal.Signals(-code).name}"
    return f"ended with code {code}"
