"""Writes the access log: one line a request on standard output, several lines at a time.

The logging module would write each line by itself, which costs more than all else that this host does for a
request (docs/decisions/0004-local-host-on-a-library-server.md).
"""

import asyncio
import contextlib
import os
import time
from functools import lru_cache

from local.host.answer import Answer
from local.host.request import path_for_logs

LOG_FLUSH_S = 0.05
# What fits into a pipe in one piece (PIPE_BUF), so that lines of several workers never mix.
_WRITE_BYTES = 4_096


class AccessLog:
    """Collects lines and writes them LOG_FLUSH_S later at the latest."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._lines: list[str] = []
        self._size = 0

    def add(self, method: str, path: str, answer: Answer, begun_at: float) -> None:
        """Adds the line of an answer that has just been sent; `begun_at` is of time.perf_counter.

        The line has no query, and not those parts of the path that are secrets.
        """
        status, headers, body = answer
        request_id = next((value for name, value in headers if name == b"x-request-id"), b"-")
        now, took_ms = time.time(), (time.perf_counter() - begun_at) * 1_000
        line = (
            f"{_second(int(now))}.{int(now % 1 * 1_000):03d}Z {method} {path_for_logs(path)} {status}"
            f" {took_ms:.1f}ms {len(body)}B {request_id.decode('latin-1')}\n"
        )
        if self._size + len(line) > _WRITE_BYTES:
            self.flush()
        if not self._lines:
            self._loop.call_later(LOG_FLUSH_S, self.flush)
        self._lines.append(line)
        self._size += len(line)

    def flush(self) -> None:
        text = "".join(self._lines)
        self._lines, self._size = [], 0
        with contextlib.suppress(OSError):  # a closed standard output must not fail requests
            os.write(1, text.encode())


@lru_cache(1)
def _second(at: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at))
