"""The HTTP side: an RSGI application that turns requests into invocations.

Requests look as the platform's worker makes them: header names in lower case, values of a repeated
header or query key joined by commas, empty query values left out, the body as bytes. Of repeated
response headers the last wins, except Set-Cookie. A function that raises or returns anything but
HttpResponse or str is answered 500 with an empty body, and the reason is logged.
"""

import asyncio
import contextlib
import logging
import os
import re
import resource
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, quote

import azure.functions as func
from azure.functions.http import HttpRequest  # the class that the worker makes, not its public base

from local.host.context import InvocationContext, InvocationTrace
from local.host.indexing import UserFunction
from local.host.invoking import invoke
from local.host.routing import Router

if TYPE_CHECKING:
    from granian._granian import RSGIHTTPProtocol as HTTPProtocol  # granian.rsgi hides its alias from mypy
    from granian.rsgi import Scope

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
_BODILESS = frozenset({HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED})
_PATH_SAFE = "/:@!$&'()*+,;=~-._"
_PLAIN_PATH = re.compile(r"[\w/.~-]*", re.ASCII)  # needs no encoding
_PROBLEM_TOO_LARGE = (
    b'{"type":"about:blank","title":"Content Too Large","status":413,"code":"body_too_large",'
    b'"detail":"The request body is over 104857600 bytes."}'
)

# Granian counts idle connections too; a fleet of bots keeps one or more open each.
_MOST_CONNECTIONS = 65_536

type Answer = tuple[int, list[tuple[str, str]], bytes]
_NOT_FOUND: Answer = (404, [], b"")
_FAILED: Answer = (500, [], b"")
_TOO_LARGE: Answer = (413, [("content-type", "application/problem+json")], _PROBLEM_TOO_LARGE)


class HttpApp:
    """One worker's RSGI application; `access_log` gets one finished line a request, or is None."""

    def __init__(
        self,
        router: Router[UserFunction],
        pool: ThreadPoolExecutor,
        access_log: Callable[[str], None] | None,
        max_body_bytes: int = MAX_BODY_BYTES,
    ) -> None:
        self._router = router
        self._pool = pool
        self._access_log = access_log
        self._max_body_bytes = max_body_bytes

    async def __rsgi__(self, scope: "Scope", protocol: "HTTPProtocol") -> None:
        """The entry point that granian calls for each request."""
        started = time.perf_counter()
        status, headers, body = await self._answer(scope, protocol)
        if body and status not in _BODILESS:
            protocol.response_bytes(status, headers, body)
        else:
            protocol.response_empty(status, headers)
        if self._access_log is not None:
            elapsed_ms = (time.perf_counter() - started) * 1_000
            self._access_log(access_line(scope.method, scope.path, (status, headers, body), elapsed_ms))

    async def _answer(self, scope: "Scope", protocol: "HTTPProtocol") -> Answer:
        method, path = scope.method, scope.path
        found = self._router.find(method, path)
        if found is None:
            return _NOT_FOUND
        function, route_params = found
        headers = request_headers(scope.headers.items())
        body = await self._read_body(headers, protocol)
        if body is None:
            return _TOO_LARGE
        query = scope.query_string
        request = HttpRequest(
            method,
            request_url(scope.scheme, headers.get("host", scope.server), path, query),
            headers=headers,
            params=query_params(query) if query else {},
            route_params=route_params,
            body_type="bytes",
            body=body,
        )
        context = None
        if function.wants_context:
            trace = InvocationTrace(headers.get("traceparent", ""), headers.get("tracestate", ""))
            context = InvocationContext(function.name, function.directory, trace)
        try:
            return encode_answer(await invoke(function, request, context, self._pool))
        except Exception:  # the platform turns whatever a function raises into an empty 500
            logger.exception("Function %s failed: %s %s", function.name, method, _encoded(path))
            return _FAILED

    async def _read_body(self, headers: dict[str, str], protocol: "HTTPProtocol") -> bytes | None:
        """The whole body; None when it is over the bound, which a chunked one shows only on the way."""
        length = headers.get("content-length")
        if length is not None:
            if int(length) > self._max_body_bytes:
                return None
            # Reading wakes another thread, so nothing is asked for where nothing is.
            return await protocol() if length != "0" else b""
        if "transfer-encoding" not in headers:
            return b""
        chunks: list[bytes] = []
        size = 0
        async for chunk in protocol:
            size += len(chunk)
            if size > self._max_body_bytes:
                return None
            chunks.append(chunk)
        return b"".join(chunks)


def request_headers(items: list[tuple[str, str]]) -> dict[str, str]:
    """Headers as functions see them: platform headers dropped, repeated ones joined by a comma."""
    headers: dict[str, str] = {}
    for name, value in items:
        if name in headers:
            headers[name] = f"{headers[name]},{value}"
        elif name not in PLATFORM_HEADERS and not name.startswith(PLATFORM_HEADER_PREFIXES):
            headers[name] = value
    return headers


def request_url(scheme: str, host: str, path: str, query: str) -> str:
    """The absolute URL; `path` is decoded and is encoded again, `query` is as it came."""
    url = f"{scheme}://{host}{_encoded(path)}"
    return f"{url}?{query}" if query else url


def query_params(query: str) -> dict[str, str]:
    """Query parameters: keys that differ by case only are one, its values joined; empty ones left out."""
    spelling: dict[str, str] = {}
    params: dict[str, str] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        key = spelling.setdefault(name.lower(), name)
        params[key] = f"{params[key]},{value}" if key in params else value
    return {name: value for name, value in params.items() if value}


def encode_answer(result: Any) -> Answer:
    """Status, headers and body of what a function returned; raises TypeError for any other type."""
    if isinstance(result, str):
        return 200, [("content-type", "text/plain; charset=utf-8")], result.encode()
    if not isinstance(result, func.HttpResponse):
        raise TypeError(f"an HTTP function must return HttpResponse or str, not {type(result).__name__}")
    headers: dict[str, str] = {}
    cookies: list[tuple[str, str]] = []
    for name, value in result.headers:
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


def _encoded(path: str) -> str:
    return path if _PLAIN_PATH.fullmatch(path) else quote(path, safe=_PATH_SAFE)


def access_line(method: str, path: str, answer: Answer, elapsed_ms: float) -> str:
    """One line: time, method, path (no query: it may hold secrets), status, ms, body bytes, request id."""
    status, headers, body = answer
    request_id = next((value for name, value in headers if name == "x-request-id"), "-")
    now = time.time()
    stamp = f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(now))}.{int(now % 1 * 1_000):03d}Z"
    return f"{stamp} {method} {_encoded(path)} {status} {elapsed_ms:.1f}ms {len(body)}B {request_id}"


def write_line(line: str) -> None:
    """One write to standard output, so that lines of several workers never mix."""
    with contextlib.suppress(OSError):  # a reader that went away must not fail requests
        os.write(1, f"{line}\n".encode())


def _allow_open_files() -> None:
    """Raises the soft limit on open files, often 1,024, to what the system allows: each connection is one."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


async def serve(app: HttpApp, host: str, port: int) -> None:
    """Serves until SIGTERM or SIGINT, or until standard input closes; answers what is in flight first.

    `host` is an address. Each worker listens on a socket of its own that shares the port.
    """
    from granian.constants import HTTPModes, Interfaces
    from granian.server.embed import Server

    from local.host.supervisor import on_stop_request

    _allow_open_files()
    server = Server(
        app,
        address=host,
        port=port,
        interface=Interfaces.RSGI,
        http=HTTPModes.http1,
        websockets=False,
        backlog=4_096,
        backpressure=_MOST_CONNECTIONS,
        log_enabled=False,
    )
    on_stop_request(asyncio.get_running_loop(), server.stop)
    await server.serve()
