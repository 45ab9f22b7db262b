"""An HTTP/1.1 server in the event loop's own thread: httptools parses, one Connection per socket answers.

Requests of a connection are answered one after another, in the order in which they came (pipelining).
A client that goes away cancels nothing, as on the platform. What cannot be parsed or is too large is
refused and the connection closed. Bounds: MAX_HEAD_BYTES, the app's bound on bodies, and STALLED_AFTER_S
for a request of which nothing more arrives.
"""

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from email.utils import formatdate
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote

import httptools

logger = logging.getLogger("local.host.http")

MAX_HEAD_BYTES = 65_536
STALLED_AFTER_S = 60.0
STOP_STALLED_AFTER_S = 1.0
# A connection that sends requests ahead of their answers is read no further beyond so many.
MAX_WAITING = 16
# After a refusal the rest of what the client sends is read and dropped for so long: closing on unread
# input would reset the connection, and the refusal with it.
LINGER_S = 2.0
# Of header names that are remembered.
_MAX_NAMES = 1_024
_MAX_NAME_BYTES = 64
_BODILESS = frozenset({HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED})
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_STATUS_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n" for status in HTTPStatus}

type Headers = list[tuple[str, str]]
type Answer = tuple[int, Headers, bytes]
# Method, decoded path, answer, and when the request was begun, by time.perf_counter.
type Answered = tuple[str, str, Answer, float]
_MALFORMED: Answer = (HTTPStatus.BAD_REQUEST, [], b"")
_HEAD_TOO_LARGE: Answer = (HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, [], b"")
_FAILED: Answer = (HTTPStatus.INTERNAL_SERVER_ERROR, [], b"")


class Request:
    """One whole request; `path` is decoded, `query` is as it came, header names are in lower case.

    Values of a repeated header are joined by a comma; names that the server drops are absent.
    """

    __slots__ = ("body", "headers", "keep_alive", "method", "path", "query")

    def __init__(self) -> None:
        self.method = ""
        self.path = ""
        self.query = ""
        self.headers: dict[str, str] = {}
        self.body = b""
        self.keep_alive = True


class Server:
    """What the connections of one worker share."""

    def __init__(
        self,
        app: Callable[[Request], Awaitable[Answer]],
        *,
        max_body_bytes: int,
        too_large: Answer,
        dropped: Callable[[str], bool],
        log: Callable[[Sequence[Answered]], None] | None,
    ) -> None:
        """`app` answers a request; `too_large` is the answer to a body over the bound.

        Headers whose lower-case name is `dropped` never reach the app. `log` is told the answers of a turn
        of the loop when they are sent.
        """
        self.app = app
        self.max_body_bytes = max_body_bytes
        self.too_large = too_large
        self.connections: set[Connection] = set()
        self.stopping = False
        self.names: dict[bytes, str | None] = {}  # what `name` said of the usual ones
        self._dropped = dropped
        self._log = log
        self._answered: list[Answered] = []
        self._unsent: list[tuple[asyncio.WriteTransport, bytes]] = []
        self._date = ""
        self._date_at = 0
        self._all_closed = asyncio.Event()

    async def serve(self, host: str, port: int, stop: asyncio.Event, backlog: int = 4_096) -> None:
        """Listens on a socket that shares the port until `stop`; then answers what is in flight."""
        loop = asyncio.get_running_loop()
        listener = await loop.create_server(
            lambda: Connection(self, loop), host, port, reuse_port=True, backlog=backlog
        )
        sweep = asyncio.create_task(self._sweep())
        await stop.wait()
        sweep.cancel()
        self.stopping = True
        listener.close()
        for connection in list(self.connections):
            connection.stop()
        while self.connections:
            # Who has sent half a request and no more must not hold up the stop.
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._all_closed.wait(), STOP_STALLED_AFTER_S)
            self._close_stalled()

    def forget(self, connection: "Connection") -> None:
        self.connections.discard(connection)
        if self.stopping and not self.connections:
            self._all_closed.set()

    def send(self, transport: asyncio.WriteTransport, answer: bytes) -> None:
        """Sends at the end of this turn of the loop, together with the other answers of the turn.

        One after another they would each wake the client's process, which is the dearest part of a send.
        """
        if not self._unsent:
            asyncio.get_running_loop().call_soon(self._flush)
        self._unsent.append((transport, answer))

    def _flush(self) -> None:
        unsent, self._unsent = self._unsent, []
        for transport, answer in unsent:
            if not transport.is_closing():
                transport.write(answer)
        answered, self._answered = self._answered, []
        if self._log is not None:
            self._log(answered)

    def note(self, request: Request, answer: Answer, begun_at: float) -> None:
        """Has the answer logged that is sent in this turn."""
        self._answered.append((request.method, request.path, answer, begun_at))

    def name(self, raw: bytes) -> str | None:
        """The header name in lower case, None where it is dropped; the usual ones are remembered."""
        lower = raw.decode("latin-1").lower()
        name = None if self._dropped(lower) else lower
        if len(self.names) < _MAX_NAMES and len(raw) <= _MAX_NAME_BYTES:
            self.names[raw] = name
        return name

    def date(self) -> str:
        """The Date header's line, made once a second."""
        now = int(time.time())
        if now != self._date_at:
            self._date_at, self._date = now, f"date: {formatdate(now, usegmt=True)}\r\n"
        return self._date

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(STALLED_AFTER_S)
            self._close_stalled()

    def _close_stalled(self) -> None:
        for connection in list(self.connections):
            connection.close_if_stalled()


class Connection(asyncio.Protocol):
    """One client's connection."""

    __slots__ = (
        "_body",
        "_closing",
        "_head_bytes",
        "_loop",
        "_parser",
        "_reads",
        "_receiving",
        "_refusal",
        "_refused",
        "_request",
        "_server",
        "_size",
        "_swept_reads",
        "_task",
        "_transport",
        "_url",
        "_waiting",
        "_writable",
    )

    def __init__(self, server: Server, loop: asyncio.AbstractEventLoop) -> None:
        self._server = server
        self._loop = loop
        self._parser: Any = httptools.HttpRequestParser(self)
        self._transport: Any = None
        self._request = Request()
        self._url = b""
        self._body: list[bytes] = []
        self._size = 0
        self._head_bytes = 0
        self._receiving = False  # between a request's first byte and its last
        self._refused = False  # what still comes in is dropped
        self._refusal: Answer | None = None
        self._closing = False  # no request after those that wait
        self._writable = True
        self._waiting: deque[Request] = deque()
        self._task: asyncio.Task[None] | None = None
        self._reads = self._swept_reads = 0

    # The transport's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._server.connections.add(self)
        if self._server.stopping:
            transport.close()

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        self._reads += 1
        self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            # Nothing here speaks another protocol: the request is answered, and what follows it dropped.
            self._refused = self._closing = True
            self._next()
        except httptools.HttpParserError:
            self._refuse(_MALFORMED)
        if self._head_bytes > MAX_HEAD_BYTES and self._receiving:
            self._refuse(_HEAD_TOO_LARGE)

    def eof_received(self) -> bool:
        """Whether to stay open for answers under way."""
        self._refused = self._closing = True
        return self._task is not None or bool(self._waiting)

    def connection_lost(self, error: Exception | None) -> None:
        self._refused = self._closing = True
        self._waiting.clear()
        self._server.forget(self)

    def pause_writing(self) -> None:
        self._writable = False

    def resume_writing(self) -> None:
        self._writable = True
        self._next()

    # The parser's side, all within data_received

    def on_message_begin(self) -> None:
        if self._refused:
            return
        self._request = Request()
        self._url = b""
        self._body = []
        self._size = -1  # until the head is whole
        self._receiving = True

    def on_url(self, part: bytes) -> None:
        self._url += part

    def on_header(self, raw_name: bytes, raw_value: bytes) -> None:
        try:
            name = self._server.names[raw_name]
        except KeyError:
            name = self._server.name(raw_name)
        if name is not None and self._size < 0:  # trailers are not headers
            headers, value = self._request.headers, raw_value.decode("latin-1")
            headers[name] = f"{headers[name]},{value}" if name in headers else value

    def on_headers_complete(self) -> None:
        if self._refused:
            return
        self._size = 0
        self._request.method = self._parser.get_method().decode("latin-1")
        headers = self._request.headers
        if int(headers.get("content-length", 0)) > self._server.max_body_bytes:
            self._refuse(self._server.too_large)
        elif "expect" in headers and headers["expect"].lower() == "100-continue" and self._task is None:
            self._server.send(self._transport, _CONTINUE)

    def on_body(self, part: bytes) -> None:
        if self._refused:
            return
        self._size += len(part)
        self._head_bytes = 0  # what follows is of the body, or trailers
        if self._size > self._server.max_body_bytes:
            self._refuse(self._server.too_large)
        else:
            self._body.append(part)

    def on_message_complete(self) -> None:
        self._receiving = False
        self._head_bytes = 0
        if self._refused:
            return
        request, body = self._request, self._body
        request.keep_alive = self._parser.should_keep_alive() and not self._parser.should_upgrade()
        request.body = body[0] if len(body) == 1 else b"".join(body)
        request.path, request.query = split_target(self._url)
        self._waiting.append(request)
        if self._task is None:
            self._next()
        elif len(self._waiting) > MAX_WAITING:
            self._transport.pause_reading()

    # Answers

    def _next(self) -> None:
        """Begins the next request, unless one is under way or the client does not take its answers."""
        if self._task is not None or not self._writable:
            return
        if self._waiting:
            # Eager: a request that never waits costs no turn of the loop.
            task = asyncio.Task(self._run(), loop=self._loop, eager_start=True)
            if not task.done():
                self._task = task
        elif self._refusal is not None:
            self._write(self._request, self._refusal, last=True)
            self._server.note(self._request, self._refusal, time.perf_counter())
            self._refusal = None
            self._loop.call_soon(self._linger)
        elif self._closing:
            # Soon, not now: the answer before is sent at the end of this turn of the loop.
            self._loop.call_soon(self._transport.close)

    async def _run(self) -> None:
        """Answers what waits, in order, until nothing is left or the client takes no more."""
        while self._waiting and self._writable:
            if len(self._waiting) == MAX_WAITING:
                self._transport.resume_reading()
            request = self._waiting.popleft()
            begun_at = time.perf_counter()
            try:
                answer = await self._server.app(request)
            # A defect of the host itself, or a function that cancelled itself; other failures are answers.
            except (Exception, asyncio.CancelledError):
                logger.exception("The host failed on %s %s", request.method, request.path)
                answer = _FAILED
            if not request.keep_alive or self._server.stopping:
                self._closing = True
            self._write(request, answer, last=self._closing and not self._waiting)
            self._server.note(request, answer, begun_at)
        self._task = None
        if self._closing:
            self._next()

    def _write(self, request: Request, answer: Answer, *, last: bool) -> None:
        status, headers, body = answer
        lines = "".join([f"{name}: {value}\r\n" for name, value in headers])
        if lines.count("\n") != len(headers) or lines.count("\r") != len(headers):
            # A line break in a value would let it write headers of its own.
            logger.error("A header of the answer to %s %s holds a line break", request.method, request.path)
            status, lines, body = HTTPStatus.INTERNAL_SERVER_ERROR, "", b""
        length = "" if status in _BODILESS else f"content-length: {len(body)}\r\n"
        close = "connection: close\r\n" if last else ""
        status_line = _STATUS_LINES.get(status) or f"HTTP/1.1 {status} \r\n"
        head = f"{status_line}{lines}{length}{close}{self._server.date()}\r\n".encode("latin-1", "replace")
        whole = head if request.method == "HEAD" or not length else head + body
        self._server.send(self._transport, whole)

    def _linger(self) -> None:
        with contextlib.suppress(OSError):
            self._transport.write_eof()
        self._loop.call_later(LINGER_S, self._transport.close)

    def _refuse(self, answer: Answer) -> None:
        """Answers and closes, once the requests before have their answers; the rest is dropped."""
        if not self._refused:
            self._refused = self._closing = True
            self._receiving = False
            self._refusal = answer
            self._request.path = split_target(self._url)[0]
            self._next()

    # The server's side

    def stop(self) -> None:
        """No further request: closes at once where none is under way."""
        self._closing = True
        if self._task is None and not self._waiting and not self._receiving:
            self._loop.call_soon(self._transport.close)

    def close_if_stalled(self) -> None:
        """Closes where nothing came since the last call, though half a request or room for answers is due."""
        if self._reads == self._swept_reads:
            if not self._writable:
                self._transport.abort()  # closing would wait for answers to be read
            elif self._receiving:
                self._transport.close()
        self._swept_reads = self._reads


def split_target(target: bytes) -> tuple[str, str]:
    """The decoded path and the query of a request target, in origin or absolute form."""
    if not target.startswith(b"/") and b"://" in target:
        target = b"/" + target.split(b"://", 1)[1].partition(b"/")[2]
    path, _, query = target.partition(b"#")[0].partition(b"?")
    text = path.decode("latin-1")
    return unquote(text) if "%" in text else text, query.decode("latin-1")
