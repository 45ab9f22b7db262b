"""Ends the processes of a stack when the stack itself has ended in any way, on Linux and macOS.

local/supervisor.py starts it as `guardian.py FILE...` in a session of its own. It reads lines from its
standard input: `+PID SIGNAL` for a process group that has started, `-PID` for one that has ended. When the
pipe closes, it sends each group still listed its signal, after GRACE_S a SIGKILL, and removes FILEs. After an
orderly stop none is listed. It imports the standard library alone, so that it starts in milliseconds.
"""

import contextlib
import os
import signal
import sys
import time

GRACE_S = 5.0
POLL_S = 0.05


def _signal_group(group: int, number: int) -> bool:
    """Whether the group still had a process to signal."""
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return False
    except PermissionError:  # macOS raises this for a group of zombies
        return False
    return True


def end(groups: dict[int, int]) -> None:
    """Sends every group its own signal, then kills what is left after GRACE_S."""
    for group, number in groups.items():
        _signal_group(group, number)
    deadline = time.monotonic() + GRACE_S
    left = set(groups)
    while left and time.monotonic() < deadline:
        left = {group for group in left if _signal_group(group, 0)}
        time.sleep(POLL_S)
    for group in left:
        _signal_group(group, signal.SIGKILL)


def main(files: list[str]) -> None:
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    groups: dict[int, int] = {}
    for line in sys.stdin:
        pid, _, number = line[1:].partition(" ")
        if line.startswith("+"):
            groups[int(pid)] = int(number)
        else:
            groups.pop(int(pid), None)
    if not groups:
        return
    end(groups)
    for file in files:
        with contextlib.suppress(OSError):
            os.unlink(file)  # noqa: PTH108 - pathlib doubles the time this takes to start


if __name__ == "__main__":
    main(sys.argv[1:])
