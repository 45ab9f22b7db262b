"""Ends connections whose requests do not arrive in time, as the platform's own server does.

uvicorn has a deadline only for the time between two requests. Without the ones here, a client that sends one
byte a second, or nothing, would keep its connection and its half-sent body in memory for ever.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Part = Literal["head", "body"]

# The platform's server takes 32 KiB. This bound is not exact, so it is far above what any client sends.
MAX_HEAD_BYTES = 512 * 1024


def _refusal(status: str, text: str) -> bytes:
    return (
        f"HTTP/1.1 {status}\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: {len(text)}\r\n"
        f"connection: close\r\n\r\n{text}"
    ).encode("ascii")


TOO_SLOW = _refusal("408 Request Timeout", "The request did not arrive in time.\n")
HEAD_TOO_LARGE = _refusal("431 Request Header Fields Too Large", "The request's head is too large.\n")


@dataclass(frozen=True, slots=True)
class Deadlines:
    """How long a client may take: for a whole head since its first byte or the connection's beginning, and
    for a whole body since its head.
    """

    head_s: float = 10.0
    body_s: float = 20.0


class Arrival:
    """Watches what is missing of the request that arrives on one connection.

    Requests that arrive in one piece, nearly all, cost two comparisons: a timer runs only while a part of a
    request is missing.
    """

    __slots__ = ("_cut_off", "_deadlines", "_head_bytes", "_loop", "_timed", "_timer", "missing")

    def __init__(
        self, loop: asyncio.AbstractEventLoop, deadlines: Deadlines, cut_off: Callable[[bytes], bool]
    ) -> None:
        """`cut_off` ends the connection with an answer and returns True, or returns False to wait again."""
        self._loop = loop
        self._deadlines = deadlines
        self._cut_off = cut_off
        self._head_bytes = 0
        self._timed: Part | None = None
        self._timer: asyncio.TimerHandle | None = None
        # What of the current request is missing; None if it is whole.
        self.missing: Part | None = "head"

    def begin(self) -> None:
        """A request begins."""
        self.missing = "head"
        self._head_bytes = 0

    def check(self, size: int) -> None:
        """Starts the timer of the missing part, or stops it; called after each piece of `size` bytes."""
        if self.missing is not self._timed:
            self.stop()
            self._start()
        elif self.missing == "head":
            self._head_bytes += size
            if self._head_bytes > MAX_HEAD_BYTES:
                self._cut_off(HEAD_TOO_LARGE)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self._timed = None, None

    def _start(self) -> None:
        self._timed = self.missing
        if self._timed is not None:
            limit_s = self._deadlines.head_s if self._timed == "head" else self._deadlines.body_s
            self._timer = self._loop.call_later(limit_s, self._expire)

    def _expire(self) -> None:
        if not self._cut_off(TOO_SLOW):
            self._start()
