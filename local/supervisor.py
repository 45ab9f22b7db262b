"""Keeps child processes alive: starts them, restarts those that die, and stops them within a time limit.

A child leads a session of its own, so that Ctrl-C reaches only the supervisor, which then stops the children
in order. If the supervisor dies without doing so, local/guardian.py ends them. A tethered child needs no
guardian: its standard input is a pipe that closes when the supervisor ends, and then it ends by itself.
"""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from local.private import PRIVATE_UMASK, private_file

READY_TIMEOUT_S = 30.0
READY_POLL_S = 0.02
GUARDIAN_TIMEOUT_S = 10.0
FIRST_BACKOFF_S = 0.1
LAST_BACKOFF_S = 3.0
# A service that ran this long has recovered: after its next death the delays begin again with the first.
STABLE_S = 20.0
# A child ends with this status to ask for a fresh process in its place.
EXIT_RESTART = 75

State = Literal["waiting", "starting", "up", "restarting", "stopped"]


class ServiceFailed(Exception):
    """A service did not start; the text ends with the last lines of its log."""


class Process(Protocol):
    """The process of a service; `start` may be called again after it has ended.

    `wait` returns the exit status as `subprocess` does, or None if it is not known.
    """

    @property
    def pid(self) -> int | None: ...
    @property
    def log_path(self) -> Path | None: ...
    async def start(self) -> None: ...
    async def wait(self) -> int | None: ...
    def signal(self, number: int) -> None: ...
    async def close(self) -> None: ...


@dataclass
class Command:
    """A process from an argument list; its output goes to the end of `log_path`, or to ours without one."""

    argv: Sequence[str]
    env: Mapping[str, str]
    log_path: Path | None
    cwd: Path
    is_tethered: bool = False
    process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int | None:
        return self.process.pid if self.process and self.process.returncode is None else None

    async def start(self) -> None:
        with contextlib.ExitStack() as stack:
            log = self.log_path
            output = stack.enter_context(private_file(log).open("ab")) if log is not None else None
            self.process = await asyncio.create_subprocess_exec(
                *self.argv,
                env=dict(self.env),
                cwd=self.cwd,
                stdin=asyncio.subprocess.PIPE if self.is_tethered else asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=not self.is_tethered,
                umask=PRIVATE_UMASK,
            )

    async def wait(self) -> int:
        assert self.process is not None
        return await self.process.wait()

    def signal(self, number: int) -> None:
        if self.pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    async def close(self) -> None:
        """Does nothing: a command holds nothing beside its process."""


@dataclass
class Service:
    """A supervised process; `port` is for display.

    `ready` says whether it serves; without one, it counts as up as soon as it is started. A process that ends
    with `final_status` is not restarted, and without `restart` none is.
    """

    name: str
    process: Process
    ready: Callable[[], Awaitable[bool]] | None = None
    port: int | None = None
    stop_signal: int = signal.SIGTERM
    stop_timeout_s: float = 8.0
    restart: bool = True
    final_status: int | None = None
    state: State = "waiting"
    started_ms: int = 0
    restarts: int = 0
    pid: int | None = None
    beginning: asyncio.Task[None] | None = None
    keeper: asyncio.Task[None] | None = None


class Guardian:
    """Keeps local/guardian.py informed through a pipe, and starts another guardian if one has ended.

    Writing does not block the caller: the lines are short, and a pipe holds thousands of them.
    """

    def __init__(self, files: Sequence[Path]) -> None:
        self._files = [str(file) for file in files]
        self._groups: dict[int, int] = {}
        self._process: subprocess.Popen[bytes] | None = None

    def add(self, group: int, stop_signal: int) -> None:
        self._groups[group] = stop_signal
        self._write(f"+{group} {stop_signal}\n")

    def remove(self, group: int) -> None:
        if self._groups.pop(group, None) is not None:
            self._write(f"-{group}\n")

    def close(self) -> None:
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
            self._process.wait(GUARDIAN_TIMEOUT_S)

    def _write(self, line: str) -> None:
        if self._process is None or self._process.poll() is not None:
            if self._process is not None and self._process.stdin is not None:
                self._process.stdin.close()
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", str(Path(__file__).with_name("guardian.py")), *self._files],
                stdin=subprocess.PIPE,
                bufsize=0,
                start_new_session=True,
            )
            line = "".join(f"+{group} {number}\n" for group, number in self._groups.items())
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # the next call finds it gone and starts another
            self._process.stdin.write(line.encode())


class Supervisor:
    """Starts services in tiers, restarts those that die, and stops the tiers in reverse order."""

    def __init__(
        self, guardian: Guardian | None, say: Callable[[str], None], on_change: Callable[[], None]
    ) -> None:
        self._guardian = guardian
        self._say = say
        self._on_change = on_change
        self._tiers: list[list[Service]] = []
        self._stopping = False

    async def start(self, *services: Service) -> None:
        """Starts one tier, its services side by side; raises a group of ServiceFailed if any fails."""
        self._tiers.append(list(services))
        async with asyncio.TaskGroup() as group:
            for service in services:
                group.create_task(self._start(service))

    async def _start(self, service: Service) -> None:
        service.state = "starting"
        await self._launch(service)
        if service.ready is not None:
            self._say(
                f"{service.name:<10} up after {service.started_ms:>5} ms"
                + (f", port {service.port}" if service.port else "")
            )
        service.keeper = asyncio.create_task(self._keep(service))

    async def _launch(self, service: Service) -> None:
        """Starts the process and waits until it is ready; raises ServiceFailed with the end of its log."""
        started = time.monotonic()
        # Shielded, so that a stop in the middle of a start still knows which processes it must end.
        service.beginning = asyncio.create_task(self._begin(service))
        await asyncio.shield(service.beginning)
        deadline = started + READY_TIMEOUT_S
        while service.ready is not None and not await service.ready():
            if service.process.pid is None:
                raise ServiceFailed(
                    f"{service.name} ended while starting:\n{last_lines(service.process.log_path)}"
                )
            if time.monotonic() > deadline:
                raise ServiceFailed(
                    f"{service.name} was not ready after {READY_TIMEOUT_S:.0f} s:\n"
                    f"{last_lines(service.process.log_path)}"
                )
            await asyncio.sleep(READY_POLL_S)
        service.started_ms = round((time.monotonic() - started) * 1000)
        service.state = "up"
        self._on_change()

    async def _begin(self, service: Service) -> None:
        if self._stopping:
            raise ServiceFailed("the stack is stopping")
        await service.process.start()
        service.pid = service.process.pid
        if service.pid is None:
            raise ServiceFailed(f"{service.name} ended at once:\n{last_lines(service.process.log_path)}")
        if self._guardian is not None:
            self._guardian.add(service.pid, service.stop_signal)

    async def _keep(self, service: Service) -> None:
        backoff_s = FIRST_BACKOFF_S
        while True:
            began = time.monotonic()
            status = await service.process.wait()
            if self._stopping:
                return
            self._bury(service)
            if not service.restart or (status is not None and status == service.final_status):
                service.state = "stopped"
                self._say(f"{service.name} {_ending(status)}")
                self._on_change()
                return
            service.state = "restarting"
            service.restarts += 1
            self._on_change()
            if time.monotonic() - began > STABLE_S:
                backoff_s = FIRST_BACKOFF_S
            self._say(f"{service.name} {_ending(status)}; starting another in {backoff_s:.1f} s")
            await asyncio.sleep(backoff_s)
            backoff_s = min(backoff_s * 2, LAST_BACKOFF_S)
            try:
                await self._launch(service)
            except (ServiceFailed, OSError) as error:
                self._say(f"{service.name} does not come back yet: {str(error).splitlines()[0]}")
                service.process.signal(signal.SIGKILL)
            else:
                if service.ready is not None:
                    self._say(f"{service.name} is back after {service.started_ms} ms")

    def _bury(self, service: Service) -> None:
        """Kills what is left of a dead process's group, because backends would hold its port and its data."""
        if service.pid is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(service.pid, signal.SIGKILL)
            if self._guardian is not None:
                self._guardian.remove(service.pid)
            service.pid = None

    async def stop(self, hurry: asyncio.Event) -> None:
        """Stops every tier, the last started first; kills as soon as `hurry` is set."""
        self._stopping = True
        for tier in reversed(self._tiers):
            await asyncio.gather(*(self._stop(service, hurry) for service in tier))
        if self._guardian is not None:
            self._guardian.close()

    async def _stop(self, service: Service, hurry: asyncio.Event) -> None:
        if service.beginning is not None:
            await asyncio.wait((service.beginning,))
        if service.process.pid is not None and not hurry.is_set():
            service.process.signal(service.stop_signal)
            service.process.signal(signal.SIGCONT)  # a stopped process reacts to no other signal
            waiting = asyncio.create_task(service.process.wait())
            hurried = asyncio.create_task(hurry.wait())
            await asyncio.wait(
                (waiting, hurried), timeout=service.stop_timeout_s, return_when=asyncio.FIRST_COMPLETED
            )
            waiting.cancel()
            hurried.cancel()
        if service.process.pid is not None:
            self._say(f"{service.name} does not stop; killing it")
            service.process.signal(signal.SIGKILL)
            await service.process.wait()
        if service.keeper is not None:
            service.keeper.cancel()
        service.state = "stopped"
        await service.process.close()
        self._bury(service)


def _ending(status: int | None) -> str:
    if status is None:
        return "ended"
    if status == EXIT_RESTART:
        return "asked for a restart"
    if status < 0:
        return f"was ended by {signal.Signals(-status).name}"
    return f"ended with status {status}"


def last_lines(path: Path | None, count: int = 15) -> str:
    """The end of a log, for an error message."""
    if path is None:
        return "(its output is above)"
    try:
        return "\n".join(path.read_text(encoding="utf-8", errors="replace").splitlines()[-count:])
    except OSError:
        return "(no log)"
