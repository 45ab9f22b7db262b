"""Runs one command as a process: bounded in time, and ended in order when the user interrupts."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

PYTHON = sys.executable
# pulumi ends the requests that are under way after an interruption, and then writes its state.
STOPPING_S = 300.0
KILLED = -9
MISSING = 127


@dataclass(frozen=True, slots=True)
class Call:
    """A command. `stdin` and `environment`, which adds to our own, may hold secrets.

    If `is_shown`, the output goes to the terminal while the command runs, and the answer's `output` and
    `error` both hold both streams.
    """

    words: tuple[str, ...]
    stdin: str = field(default="", repr=False)
    timeout_s: float = 120.0
    environment: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    cwd: Path | None = None
    is_shown: bool = False


class Answer(NamedTuple):
    """How a command ended: exit status, standard output, standard error."""

    status: int
    output: str = ""
    error: str = ""


def run_process(call: Call) -> Answer:
    """The answer of a command; if it takes too long or does not exist, an answer that says so.

    A KeyboardInterrupt interrupts the command once, waits until it has ended, and is raised again.
    """
    try:
        process = subprocess.Popen(  # noqa: S603 - the words are ours, and no shell reads them
            call.words,
            stdin=subprocess.PIPE if call.stdin else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT if call.is_shown else subprocess.PIPE,
            text=True,
            encoding="utf-8",
            errors="replace",
            env={**os.environ, **call.environment},
            cwd=call.cwd,
            # The terminal's Ctrl-C would reach the command too, and pulumi kills an update at the second one.
            start_new_session=True,
        )
    except FileNotFoundError:
        return Answer(MISSING, error=f"{call.words[0]} is not installed, or not on PATH")
    with process:
        try:
            return _shown(process, call) if call.is_shown else _captured(process, call)
        except BaseException:
            stop(process)
            raise


def stop(process: subprocess.Popen[str], grace_s: float = STOPPING_S) -> None:
    """Interrupts a command, and kills it with its children if it has not ended after `grace_s`."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGINT)
    try:
        process.wait(grace_s)
    except (subprocess.TimeoutExpired, KeyboardInterrupt):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _captured(process: subprocess.Popen[str], call: Call) -> Answer:
    try:
        output, error = process.communicate(call.stdin or None, call.timeout_s)
    except subprocess.TimeoutExpired:
        stop(process)
        return _too_late(call)
    return Answer(process.returncode, output, error)


def _shown(process: subprocess.Popen[str], call: Call) -> Answer:
    """Prints each line as it comes; a timer stops the command, because a read of a pipe has no timeout."""
    late = threading.Event()

    def give_up() -> None:
        late.set()
        stop(process)

    timer = threading.Timer(call.timeout_s, give_up)
    timer.daemon = True
    timer.start()
    try:
        if process.stdin:
            process.stdin.write(call.stdin)
            process.stdin.close()
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            sys.stdout.write(f"    {line}")
            sys.stdout.flush()
            lines.append(line)
        process.wait()
    finally:
        timer.cancel()
    text = "".join(lines)
    return _too_late(call, text) if late.is_set() else Answer(process.returncode, text, text)


def _too_late(call: Call, output: str = "") -> Answer:
    return Answer(KILLED, output, f"{output}it had not ended after {call.timeout_s:g} s, so it was stopped")
