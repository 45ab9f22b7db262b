"""The HTTP side: turns requests into invocations, and what functions return into answers.

Of repeated response headers the last wins, except Set-Cookie. A function that raises or returns anything
but HttpResponse or str is answered 500 with an empty body, and the reason is logged.
"""

import asyncio
import contextlib
import logging
import os
import resource
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any

import azure.functions as func

from local.host.context import InvocationContext, InvocationTrace
from local.host.http1 import Answer, Answered, Request, Server
from local.host.indexing import UserFunction
from local.host.invoking import invoke
from local.host.late_request import LateRequest, encoded_path
from local.host.routing import Router

logger = logging.getLogger("local.host.http")

# The platform's own bound (100 MB); the app sets tighter ones.
MAX_BODY_BYTES = 104_857_600
# On Azure the front end and Easy Auth own these and overwrite what a caller sends. Nothing stands in
# front of us, so a caller's values are dropped: code that trusts one must not find one here.
PLATFORM_HEADER_PREFIXES = (
    "x-ms-",
    "x-arr-",
    "x-appservice-",
    "x-azure-",
    "x-forwarded-",
    "x-original-",
    "x-site-",
    "x-waws-",
)
PLATFORM_HEADERS = frozenset({"client-ip", "disguised-host", "was-default-hostname"})
# The server frames the answer; a function's own framing headers could only contradict it.
_FRAMING_HEADERS = frozenset({"content-length", "transfer-encoding", "connection", "keep-alive"})
_PROBLEM_TOO_LARGE = (
    b'{"type":"about:blank","title":"Content Too Large","status":413,"code":"body_too_large",'
    b'"detail":"The request body is over 104857600 bytes."}'
)

_NOT_FOUND: Answer = (404, [], b"")
_FAILED: Answer = (500, [], b"")
_TOO_LARGE: Answer = (413, [("content-type", "application/problem+json")], _PROBLEM_TOO_LARGE)

LOG_FLUSH_S = 0.05
# What fits into a pipe in one piece (PIPE_BUF), so that lines of several workers never mix.
_LOG_BYTES = 4_096


class HttpApp:
    """One worker's functions behind the router."""

    def __init__(self, router: Router[UserFunction], pool: ThreadPoolExecutor, address: str) -> None:
        """`address` stands in the URL of a request without a Host header."""
        self._router = router
        self._pool = pool
        self._address = address

    async def __call__(self, received: Request) -> Answer:
        found = self._router.find(received.method, received.path)
        if found is None:
            return _NOT_FOUND
        function, route_params = found
        request = LateRequest(received, route_params, self._address)
        headers, context = received.headers, None
        if function.wants_context:
            trace = InvocationTrace(headers.get("traceparent", ""), headers.get("tracestate", ""))
            context = InvocationContext(function.name, function.directory, trace)
        try:
            return encode_answer(await invoke(function, request, context, self._pool))
        except Exception:  # the platform turns whatever a function raises into an empty 500
            logger.exception(
                "Function %s failed: %s %s", function.name, received.method, encoded_path(received.path)
            )
            return _FAILED


def is_platform_header(name: str) -> bool:
    """Whether the platform alone may set the header `name`, in lower case."""
    return name in PLATFORM_HEADERS or name.startswith(PLATFORM_HEADER_PREFIXES)


def encode_answer(result: Any) -> Answer:
    """Status, headers and body of what a function returned; raises TypeError for any other type."""
    if isinstance(result, str):
        return 200, [("content-type", "text/plain; charset=utf-8")], result.encode()
    if not _is_response(result.__class__):
        raise TypeError(f"an HTTP function must return HttpResponse or str, not {type(result).__name__}")
    headers: dict[str, str] = {}
    cookies: list[tuple[str, str]] = []
    for name, value in result.headers.items():
        key = name.lower()
        if key == "set-cookie":
            cookies.append((key, value))
        elif key not in _FRAMING_HEADERS:
            headers[key] = value
    if "content-type" not in headers:
        mimetype: str = result.mimetype
        headers["content-type"] = (
            f"{mimetype}; charset={result.charset}" if mimetype.startswith("text/") else mimetype
        )
    return result.status_code, [*headers.items(), *cookies], result.get_body()


@lru_cache(1_024)
def _is_response(kind: type) -> bool:
    return issubclass(kind, func.HttpResponse)  # an abstract base class, which is slow to ask


class AccessLog:
    """One line a request on standard output, written LOG_FLUSH_S late at most.

    Time, method, path (no query: it may hold secrets), status, ms, body bytes, request id.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._lines: list[str] = []
        self._size = 0
        self._second = 0
        self._stamp = ""
        self._flush_due = False

    def add(self, answered: Sequence[Answered]) -> None:
        """One line for each of the answers that have just been sent."""
        now, at = time.time(), time.perf_counter()
        second = int(now)
        if second != self._second:
            self._second = second
            self._stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        stamp = f"{self._stamp}.{int((now - second) * 1_000):03d}Z"
        for method, path, (status, headers, body), begun_at in answered:
            request_id = "-"
            for name, value in headers:
                if name == "x-request-id":
                    request_id = value
                    break
            line = (
                f"{stamp} {method or '-'} {encoded_path(path)} {status} {(at - begun_at) * 1_000:.1f}ms"
                f" {len(body)}B {request_id}\n"
            )
            if self._size + len(line) > _LOG_BYTES:
                self.flush()
            self._lines.append(line)
            self._size += len(line)
        if not self._flush_due:
            self._flush_due = True
            self._loop.call_later(LOG_FLUSH_S, self._flush_when_due)

    def flush(self) -> None:
        if self._lines:
            text = "".join(self._lines)
            self._lines, self._size = [], 0
            with contextlib.suppress(OSError):  # a reader that went away must not fail requests
                os.write(1, text.encode())

    def _flush_when_due(self) -> None:
        self._flush_due = False
        self.flush()


def _allow_open_files() -> None:
    """Raises the soft limit on open files, often 1,024, to what the system allows: each connection is one."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


async def serve(
    router: Router[UserFunction], pool: ThreadPoolExecutor, address: tuple[str, int], *, access_log: bool
) -> None:
    """Serves until SIGTERM or SIGINT, or until standard input closes; answers what is in flight first.

    Each worker listens on a socket of its own that shares the port of `address`.
    """
    from local.host.supervisor import on_stop_request

    _allow_open_files()
    loop = asyncio.get_running_loop()
    host, port = address
    stop = asyncio.Event()
    on_stop_request(loop, stop.set)
    log = AccessLog(loop) if access_log else None
    server = Server(
        HttpApp(router, pool, f"{host}:{port}"),
        max_body_bytes=MAX_BODY_BYTES,
        too_large=_TOO_LARGE,
        dropped=is_platform_header,
        log=log.add if log else None,
    )
    await server.serve(host, port, stop)
    if log:
        log.flush()
