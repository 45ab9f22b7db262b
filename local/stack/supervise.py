"""Child processes kept alive: started with a readiness check, restarted with backoff, stopped within a bound.

Every child leads a session of its own, so that Ctrl-C reaches only the supervisor, which then stops
the children in order. local/stack/guardian.py ends them when the supervisor dies without doing so.
"""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from local.stack.embedded_postgres import EmbeddedPostgres, PostgresFailed

READY_TIMEOUT_S = 30.0
READY_POLL_S = 0.02
GUARDIAN_TIMEOUT_S = 10.0
FIRST_BACKOFF_S = 0.1
LAST_BACKOFF_S = 3.0
# A service that ran this long has recovered: its next death starts the backoff anew.
STABLE_S = 20.0

State = Literal["waiting", "starting", "up", "restarting", "stopped"]


class ServiceFailed(Exception):
    """A service did not start; the text ends with the last lines of its log."""


class Process(Protocol):
    """One incarnation after the other of a service's process."""

    @property
    def pid(self) -> int | None: ...
    @property
    def log_path(self) -> Path: ...
    async def start(self) -> None: ...
    async def wait(self) -> str: ...
    def signal(self, number: int) -> None: ...
    async def close(self) -> None: ...


@dataclass
class Command:
    """A process from an argument list; its output is appended to `log_path`."""

    argv: Sequence[str]
    env: Mapping[str, str]
    log_path: Path
    cwd: Path
    process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int | None:
        return self.process.pid if self.process and self.process.returncode is None else None

    async def start(self) -> None:
        with self.log_path.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *self.argv,
                env=dict(self.env),
                cwd=self.cwd,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    async def wait(self) -> str:
        assert self.process is not None
        status = await self.process.wait()
        return f"exit status {status}" if status >= 0 else f"signal {-status}"

    def signal(self, number: int) -> None:
        if self.pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    async def close(self) -> None:
        """Nothing is held beside the process."""


@dataclass
class PostgresProcess:
    """The embedded server, started from a thread that lives as long as the supervisor: the kernel
    stops the server when the thread that started it ends."""

    server: EmbeddedPostgres
    thread: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, "postgres"))

    @property
    def pid(self) -> int | None:
        return self.server.pid

    @property
    def log_path(self) -> Path:
        return self.server.log_path

    async def start(self) -> None:
        try:
            await asyncio.get_running_loop().run_in_executor(self.thread, self.server.start)
        except PostgresFailed as error:
            raise ServiceFailed(str(error)) from error

    async def wait(self) -> str:
        while self.server.pid is not None:  # noqa: ASYNC110 - nobody but the kernel knows when it ends
            await asyncio.sleep(0.1)
        return "it ended"

    def signal(self, number: int) -> None:
        if (pid := self.server.pid) is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    async def close(self) -> None:
        await asyncio.get_running_loop().run_in_executor(self.thread, self.server.stop)
        self.thread.shutdown(wait=False)


@dataclass
class Service:
    """One supervised process. `ready` answers whether it serves; `port` is for display."""

    name: str
    process: Process
    ready: Callable[[], Awaitable[bool]]
    port: int | None = None
    stop_signal: int = signal.SIGTERM
    stop_timeout_s: float = 8.0
    restart: bool = True
    state: State = "waiting"
    started_ms: int = 0
    restarts: int = 0
    pid: int | None = None
    beginning: asyncio.Task[None] | None = None
    keeper: asyncio.Task[None] | None = None


class Guardian:
    """The pipe to local/stack/guardian.py; another one is started when it is gone. Its lines are short, and a
    pipe takes thousands of them before it would make the caller wait."""

    def __init__(self, files: Sequence[Path]) -> None:
        self._files = [str(file) for file in files]
        self._groups: dict[int, int] = {}
        self._process: subprocess.Popen[bytes] | None = None

    def add(self, group: int, stop_signal: int) -> None:
        self._groups[group] = stop_signal
        self._tell(f"+{group} {stop_signal}\n")

    def remove(self, group: int) -> None:
        if self._groups.pop(group, None) is not None:
            self._tell(f"-{group}\n")

    def close(self) -> None:
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
            self._process.wait(GUARDIAN_TIMEOUT_S)

    def _tell(self, line: str) -> None:
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
    """Starts services, restarts those that die, stops them in the reverse order of their tiers."""

    def __init__(self, guardian: Guardian, say: Callable[[str], None], on_change: Callable[[], None]) -> None:
        self._guardian = guardian
        self._say = say
        self._on_change = on_change
        self._tiers: list[list[Service]] = []
        self._stopping = False

    async def start(self, *services: Service) -> None:
        """Start one tier: its services side by side; raises ServiceFailed for the first that does not."""
        self._tiers.append(list(services))
        async with asyncio.TaskGroup() as group:
            for service in services:
                group.create_task(self._start(service))

    async def _start(self, service: Service) -> None:
        service.state = "starting"
        await self._launch(service)
        self._say(
            f"{service.name:<10} up after {service.started_ms:>5} ms"
            + (f", port {service.port}" if service.port else "")
        )
        service.keeper = asyncio.create_task(self._keep(service))

    async def _launch(self, service: Service) -> None:
        """One incarnation until it is ready; raises ServiceFailed with the log's end."""
        started = time.monotonic()
        # Shielded, so that a stop in the middle of a start still learns what has been started.
        service.beginning = asyncio.create_task(self._begin(service))
        await asyncio.shield(service.beginning)
        deadline = started + READY_TIMEOUT_S
        while not await service.ready():
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
        self._guardian.add(service.pid, service.stop_signal)

    async def _keep(self, service: Service) -> None:
        backoff_s = FIRST_BACKOFF_S
        while True:
            began = time.monotonic()
            how = await service.process.wait()
            if self._stopping:
                return
            self._bury(service)
            if not service.restart:
                service.state = "stopped"
                self._say(f"{service.name} ended ({how})")
                self._on_change()
                return
            service.state = "restarting"
            service.restarts += 1
            self._on_change()
            if time.monotonic() - began > STABLE_S:
                backoff_s = FIRST_BACKOFF_S
            self._say(f"{service.name} ended ({how}); starting it again")
            await asyncio.sleep(backoff_s)
            backoff_s = min(backoff_s * 2, LAST_BACKOFF_S)
            try:
                await self._launch(service)
            except (ServiceFailed, OSError) as error:
                self._say(f"{service.name} does not come back yet: {str(error).splitlines()[0]}")
                service.process.signal(signal.SIGKILL)
            else:
                self._say(f"{service.name} is back after {service.started_ms} ms")

    def _bury(self, service: Service) -> None:
        """What is left of a dead process's group (workers, backends) would hold its port and its data."""
        if service.pid is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(service.pid, signal.SIGKILL)
            self._guardian.remove(service.pid)
            service.pid = None

    async def stop(self, hurry: asyncio.Event) -> None:
        """Stop every tier, last started first; once `hurry` is set, kill instead of asking."""
        self._stopping = True
        for tier in reversed(self._tiers):
            await asyncio.gather(*(self._stop(service, hurry) for service in tier))
        self._guardian.close()

    async def _stop(self, service: Service, hurry: asyncio.Event) -> None:
        if service.beginning is not None:
            await asyncio.wait((service.beginning,))
        if service.process.pid is not None and not hurry.is_set():
            service.process.signal(service.stop_signal)
            service.process.signal(signal.SIGCONT)  # a stopped process hears nothing else
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


def last_lines(path: Path, count: int = 15) -> str:
    """The end of a log, for an error message."""
    try:
        return "\n".join(path.read_text(encoding="utf-8", errors="replace").splitlines()[-count:])
    except OSError:
        return "(no log)"
