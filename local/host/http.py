"""Serves HTTP functions under uvicorn: turns each request into an invocation.

If a function raises, or returns anything but HttpResponse or str, the answer is 500 with an empty body, and
the log has the reason.
"""

import asyncio
import contextlib
import logging
import resource
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import uvicorn
from azure.functions.http import HttpRequest  # the class that the worker makes, not its public base

from local.host.access_log import AccessLog
from local.host.answer import BODILESS, Answer, encode_answer
from local.host.context import InvocationContext, InvocationTrace
from local.host.indexing import UserFunction
from local.host.invoking import invoke
from local.host.request import forwarded_for, header_fields, path_for_logs, query_params, request_url
from local.host.routing import Router
from local.host.single_write import SingleWriteProtocol

logger = logging.getLogger("local.host.http")

# Azure's load balancer closes a connection that is idle for four minutes.
KEEP_ALIVE_S = 240
BACKLOG = 4_096

type Message = Mapping[str, Any]
type Receive = Callable[[], Awaitable[Message]]
type Send = Callable[[Message], Awaitable[None]]

_NOT_FOUND: Answer = (404, [], b"")
_FAILED: Answer = (500, [], b"")


def _too_large(limit: int) -> Answer:
    """The refusal of a larger body. It closes the connection, so that the rest of the body is not read."""
    problem = (
        '{"type":"about:blank","title":"Content Too Large","status":413,"code":"body_too_large",'
        f'"detail":"The body of a request may have at most {limit} bytes."}}'
    )
    headers = [(b"content-type", b"application/problem+json"), (b"connection", b"close")]
    return 413, headers, problem.encode()


class BodyTooLarge(Exception):
    """The body is over the limit, by its declared length or by what has arrived."""


class ClientDisconnected(Exception):
    """The client closed the connection before the whole body arrived."""


class HttpApp:
    """Serves one worker's functions as an ASGI application."""

    def __init__(
        self,
        router: Router[UserFunction],
        pool: ThreadPoolExecutor,
        address: str,
        log: AccessLog | None,
        max_body_bytes: int,
    ) -> None:
        """`address` stands in the URL of a request without a Host header."""
        self._max_body_bytes = max_body_bytes
        self._router = router
        self._pool = pool
        self._address = address
        self._log = log

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        begun_at = time.perf_counter()
        method, path = scope["method"], scope["path"]
        headers = header_fields(scope["headers"]) | forwarded_for(scope["client"])
        try:
            body = await _whole_body(headers, receive, self._max_body_bytes)
            answer = await self._answer(scope, headers, body)
        except BodyTooLarge:
            answer = _too_large(self._max_body_bytes)
        except ClientDisconnected:
            return
        await _send(method, answer, send)
        if self._log is not None:
            self._log.add(method, path, answer, begun_at)

    async def _answer(self, scope: Message, headers: dict[str, str], body: bytes) -> Answer:
        method, path = scope["method"], scope["path"]
        found = self._router.find(method, path)
        if found is None:
            return _NOT_FOUND
        function, route_params = found
        query = scope["query_string"].decode("latin-1")
        request = HttpRequest(
            method,
            request_url("http", headers.get("host", self._address), path, query),
            headers=headers,
            params=query_params(query),
            route_params=route_params,
            body_type="bytes",
            body=body,
        )
        context = None
        if function.wants_context:
            trace = InvocationTrace(headers.get("traceparent", ""), headers.get("tracestate", ""))
            context = InvocationContext(function.name, function.directory, trace)
        try:
            result = await invoke(function, request, context, self._pool)
            return encode_answer(result, to_head=method == "HEAD")
        # The platform answers an empty 500 for whatever a function raises, its own cancellation included.
        except (Exception, asyncio.CancelledError):
            logger.exception("Function %s failed: %s %s", function.name, method, path_for_logs(path))
            return _FAILED


async def _whole_body(headers: Mapping[str, str], receive: Receive, limit: int) -> bytes:
    """The request's body; raises BodyTooLarge as soon as that is known, and ClientDisconnected."""
    if int(headers.get("content-length", 0)) > limit:
        raise BodyTooLarge
    parts: list[bytes] = []
    size, more = 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnected
        parts.append(message["body"])
        size += len(message["body"])
        if size > limit:
            raise BodyTooLarge
        more = message["more_body"]
    return parts[0] if len(parts) == 1 else b"".join(parts)


async def _send(method: str, answer: Answer, send: Send) -> None:
    status, headers, body = answer
    # A function that answers a HEAD without a body may state the length itself.
    if status not in BODILESS and not (
        method == "HEAD" and any(name == b"content-length" for name, _ in headers)
    ):
        headers = [*headers, (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if method == "HEAD" else body})


def _allow_open_files() -> None:
    """Raises the soft limit on open files, often 1,024, to what the system allows: each connection is one."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


class _Server(uvicorn.Server):
    """Runs until `stop`.

    uvicorn's signal handlers are left out: Ctrl-C reaches every process, and the supervisor alone decides.
    """

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    def stop(self) -> None:
        self.should_exit = True


async def serve(
    router: Router[UserFunction],
    pool: ThreadPoolExecutor,
    address: tuple[str, int],
    *,
    access_log: bool,
    max_body_bytes: int,
) -> None:
    """Serves until SIGTERM, or until standard input closes; answers what is in flight first.

    Each worker listens on a socket of its own that shares the port of `address`.
    """
    from local.host.supervisor import on_stop_request, shared_socket

    _allow_open_files()
    loop = asyncio.get_running_loop()
    host, port = address
    log = AccessLog(loop) if access_log else None
    server = _Server(
        uvicorn.Config(
            HttpApp(router, pool, f"{host}:{port}", log, max_body_bytes),
            interface="asgi3",
            lifespan="off",
            http=SingleWriteProtocol,
            ws="none",
            log_config=None,
            log_level="warning",
            access_log=False,  # its lines hold the query
            proxy_headers=False,
            server_header=False,
            backlog=BACKLOG,
            timeout_keep_alive=KEEP_ALIVE_S,
        )
    )
    on_stop_request(loop, server.stop)
    await server.serve([shared_socket(host, port)])
    if log is not None:
        log.flush()
