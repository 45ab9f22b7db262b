"""Runs a stack in the foreground, from its start until its last process has ended."""

import asyncio
import ctypes
import os
import signal
import sys
from collections.abc import Iterator
from datetime import UTC, datetime

from local.demo.bar_files.reading import BarFile
from local.demo.bar_files.tables import BarFileError
from local.demo.main_job import JobFailed, MainJob
from local.demo.options import ReplayOptions
from local.demo.replay import ReplayRefused
from local.demo.replay_bars import replay_bars
from local.demo.view import PlainView, View, make_view
from local.host.configuration import HostError
from local.setup.node import NodeMissing, ensure_azurite
from local.stack.options import StackOptions
from local.stack.stack import Stack
from local.stack.state import StateDirectory, StateInUse
from local.supervisor import ServiceFailed
from shared.adapters.calendars import market_calendars
from shared.errors import SignalCloudError

EXIT_DIFFERENT = 1
EXIT_FAILED = 2
_SET_PARENT_DEATH_SIGNAL = 1
# Failures whose text says what to do; any other one is a bug and shows its traceback.
_EXPECTED = (
    HostError,
    JobFailed,
    NodeMissing,
    ReplayRefused,
    ServiceFailed,
    SignalCloudError,
    StateInUse,
)


def serve(options: StackOptions, replay: ReplayOptions | None) -> int:
    """Runs until Ctrl-C, SIGTERM or SIGHUP, or until the job is done; returns the exit status."""
    _end_with_make()
    state = StateDirectory(options.state, options.mode)
    try:
        # Before anything starts, because a file that cannot be used, or is misread, costs a person minutes.
        file = replay_bars(replay, market_calendars(), datetime.now(UTC)) if replay is not None else None
        with state.held():
            ensure_azurite()  # before the event loop, because npm can take a minute
            return asyncio.run(_Session(options, state, replay, file).run())
    except (BarFileError, StateInUse, NodeMissing) as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_FAILED


def _end_with_make() -> None:
    """Under make on Linux: asks the kernel for a SIGTERM when make is killed, because make passes none on."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    if os.environ.get("SUPERVISED_BY_MAKE") and sys.platform == "linux":
        ctypes.CDLL(None).prctl(_SET_PARENT_DEATH_SIGNAL, int(signal.SIGTERM))


class _Session:
    def __init__(
        self,
        options: StackOptions,
        state: StateDirectory,
        replay: ReplayOptions | None,
        file: BarFile | None,
    ) -> None:
        self._state = state
        self._view: View = make_view() if replay is not None else PlainView()
        self._stack = Stack(options, state, self._view.say)
        self._job = None
        if replay is not None and file is not None:
            view = self._view
            for line in file.told:
                view.say(f"{replay.label}: {line}")
            self._job = MainJob(
                replay, file.bars, self._stack, state.logs, say=view.say, say_signal=view.signal
            )
        self._stop, self._hurry = asyncio.Event(), asyncio.Event()
        self._background: list[asyncio.Task[None]] = []
        self._showing: asyncio.Task[None] | None = None

    async def run(self) -> int:
        """Starts, works, and stops at the first signal; a second signal kills."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:  # nohup has SIGHUP ignored
                loop.add_signal_handler(number, self._on_signal)
        loop.add_signal_handler(signal.SIGUSR2, self._stack.stop_functions)
        # Only a passive region has timers that do not run yet.
        loop.add_signal_handler(
            signal.SIGUSR1, lambda: self._background.append(asyncio.create_task(self._stack.start_timers()))
        )
        working = asyncio.create_task(self._work())
        stopping = asyncio.create_task(self._stop.wait())
        await asyncio.wait((working, stopping), return_when=asyncio.FIRST_COMPLETED)
        self._stop.set()
        working.cancel()
        try:
            (outcome,) = await asyncio.gather(working, return_exceptions=True)
            if self._showing is not None:
                self._showing.cancel()
                await asyncio.wait((self._showing,))
            self._view.say("stopping")
            await self._stack.stop(self._hurry)
        finally:
            for task in self._background:
                task.cancel()
            ended = await asyncio.gather(*self._background, return_exceptions=True)
        status = self._status(outcome)
        for found in ended:
            if isinstance(found, Exception):
                raise found
        self._view.say("stopped")
        return status

    def _on_signal(self) -> None:
        (self._hurry if self._stop.is_set() else self._stop).set()

    def _status(self, outcome: int | BaseException) -> int:
        if isinstance(outcome, asyncio.CancelledError):
            return 0  # a signal stopped it
        if isinstance(outcome, int):
            return outcome
        for failure in _leaves(outcome):
            if not isinstance(failure, _EXPECTED):
                raise outcome
            internal = failure.internal if isinstance(failure, SignalCloudError) else ""
            self._view.say(f"error: {failure}{f' ({internal})' if internal else ''}")
        return EXIT_FAILED

    async def _work(self) -> int:
        await self._stack.start()
        if self._job is None:
            self._view.say(f"addresses and keys are in {self._state.stack_file}; Ctrl-C stops")
            await asyncio.Event().wait()
            return 0
        self._showing = asyncio.create_task(self._view.show(self._stack.services, self._job))
        watching = (self._job.listen(), self._job.watch())
        self._background = [self._showing, *(asyncio.create_task(activity) for activity in watching)]
        equal = await self._job.run()
        if not self._job.options.exits:
            self._view.say("the stack stays up; Ctrl-C stops it")
            await asyncio.Event().wait()
        return 0 if equal else EXIT_DIFFERENT


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for one in error.exceptions:
            yield from _leaves(one)
    else:
        yield error
