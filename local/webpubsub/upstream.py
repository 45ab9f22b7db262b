"""Sends client events to an event handler, as CloudEvents over HTTP with the abuse-protection handshake."""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from string import ascii_letters, digits, punctuation
from urllib.parse import quote, urlsplit
from uuid import uuid4

import aiohttp
import msgspec

from local.webpubsub.connections import Connection
from local.webpubsub.limits import MAX_MESSAGE_BYTES, MAX_PENDING_EVENTS, UPSTREAM_TIMEOUT_S
from local.webpubsub.messages import DataType, MessageInvalid, Payload, payload_from_body
from local.webpubsub.tokens import sign_connection

EVENTS = ("connect", "connected", "disconnected", "user")
_logger = logging.getLogger(__name__)

_CONTENT_TYPES: dict[DataType, str] = {
    "json": "application/json; charset=utf-8",
    "text": "text/plain; charset=utf-8",
    "binary": "application/octet-stream",
    "protobuf": "application/x-protobuf",
}
DATA_TYPES: dict[str, DataType] = {value.partition(";")[0]: kind for kind, value in _CONTENT_TYPES.items()}
# CloudEvents percent-encodes spaces, quotes, percent signs and non-ASCII characters in headers.
_HEADER_SAFE = "".join(sorted(set(ascii_letters + digits + punctuation) - {'"', "%"}))


class EventFailed(Exception):
    """The handler refused an event or is unavailable; a client may see `status` and `body`."""

    def __init__(self, status: int, body: str) -> None:
        super().__init__(body)
        self.status = status
        self.body = body


class ConnectAnswer(msgspec.Struct, rename="camel"):
    """The handler's decision about a client that wants to connect."""

    user_id: str | None = None
    groups: list[str] = []
    roles: list[str] = []
    subprotocol: str | None = None


@dataclass(frozen=True, slots=True)
class ConnectRequest:
    """The request of a client that wants to connect, as the handler gets it."""

    claims: Mapping[str, Sequence[str]]
    query: Mapping[str, Sequence[str]]
    headers: Mapping[str, Sequence[str]]
    subprotocols: Sequence[str]


class EventHandler:
    """Sends events to one handler for all hubs, and those of one connection one after another.

    It replaces `{hub}` and `{event}` in the URL. `events` holds the names from EVENTS that the handler wants.
    """

    def __init__(
        self, session: aiohttp.ClientSession, *, url: str, events: frozenset[str], key: str, origin: str
    ) -> None:
        self._session = session
        self._url = url
        self._events = events
        self._key = key
        self._origin = origin
        self._permission: asyncio.Task[None] | None = None
        self._lines: dict[str, _Line] = {}
        self._down = False

    def wants(self, event: str) -> bool:
        return event in self._events

    async def connect(self, connection: Connection, request: ConnectRequest) -> ConnectAnswer:
        """Returns the handler's decision; raises EventFailed if the client must be refused."""
        status, _, body = await self._post(
            connection,
            "sys.connect",
            Payload(
                "json",
                msgspec.json.encode(
                    {
                        "claims": request.claims,
                        "query": request.query,
                        "headers": request.headers,
                        "subprotocols": request.subprotocols,
                        "clientCertificates": [],
                    }
                ),
            ),
        )
        if status == 204 or not body:
            return ConnectAnswer()
        try:
            return msgspec.json.decode(body, type=ConnectAnswer)
        except msgspec.MsgspecError as error:
            _logger.warning("the event handler's answer to connect cannot be read: %s", error)
            raise EventFailed(500, "The event handler's answer cannot be read.") from error

    def notify(self, connection: Connection, event: str, content: Mapping[str, str]) -> None:
        """Report `connected` or `disconnected` in the background."""
        if not self.wants(event):
            return
        payload = Payload("json", msgspec.json.encode(content))

        async def report() -> None:
            try:
                await self._post(connection, f"sys.{event}", payload)
            except EventFailed as failure:
                _logger.info("the event handler refused %s: %s", event, failure)

        self._enqueue(connection, report)

    def ask(
        self,
        connection: Connection,
        event: str,
        payload: Payload,
        answered: Callable[[Payload | None, str | None], None],
    ) -> None:
        """Send a user event in the background. `answered` gets the answer and the failure, or None."""

        async def send() -> None:
            try:
                _, kind, body = await self._post(connection, f"user.{event}", payload)
                answer = payload_from_body(DATA_TYPES.get(kind, "binary"), body) if body else None
            except (EventFailed, MessageInvalid) as failure:
                answered(None, str(failure))
            else:
                answered(answer, None)

        if not self._enqueue(connection, send):
            answered(None, "Too many events of this connection are waiting for the event handler.")

    async def close(self) -> None:
        tasks = [line.task for line in self._lines.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _enqueue(self, connection: Connection, work: Callable[[], Awaitable[None]]) -> bool:
        line = self._lines.get(connection.connection_id)
        if line is None:
            pending = deque([work])
            task = asyncio.create_task(self._drain(connection.connection_id, pending))
            self._lines[connection.connection_id] = _Line(pending, task)
            return True
        if len(line.pending) >= MAX_PENDING_EVENTS:
            return False
        line.pending.append(work)
        return True

    async def _drain(self, connection_id: str, pending: deque[Callable[[], Awaitable[None]]]) -> None:
        try:
            while pending:
                await pending[0]()
                pending.popleft()
        finally:
            del self._lines[connection_id]

    async def _post(self, connection: Connection, kind: str, payload: Payload) -> tuple[int, str, bytes]:
        """Returns status, content type and body of a 2xx answer; raises EventFailed for every other one."""
        event = kind.partition(".")[2]
        url = self._url.replace("{hub}", quote(connection.hub)).replace("{event}", quote(event, safe=""))
        headers = self._headers(connection, kind, event)
        headers["Content-Type"] = _CONTENT_TYPES[payload.data_type]
        try:
            await self._allowed()
            async with self._session.post(
                url, data=payload.content, headers=headers, timeout=aiohttp.ClientTimeout(UPSTREAM_TIMEOUT_S)
            ) as response:
                body = await response.content.read(MAX_MESSAGE_BYTES + 1)
                while len(body) <= MAX_MESSAGE_BYTES and (
                    more := await response.content.read(MAX_MESSAGE_BYTES)
                ):
                    body += more
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            self._report(f"{type(error).__name__} for {urlsplit(url).netloc}")
            raise EventFailed(500, "The event handler is unavailable.") from error
        if len(body) > MAX_MESSAGE_BYTES:
            raise EventFailed(500, "The event handler's answer is too large.")
        if 400 <= response.status < 500:
            raise EventFailed(response.status, body.decode(errors="replace"))
        if not 200 <= response.status < 300:
            self._report(f"status {response.status}")
            raise EventFailed(500, "The event handler failed.")
        self._down = False
        state = response.headers.get("ce-connectionState")
        if state is not None:
            connection.state = state
        return response.status, response.content_type, body

    def _headers(self, connection: Connection, kind: str, event: str) -> dict[str, str]:
        headers = {
            "WebHook-Request-Origin": self._origin,
            "ce-specversion": "1.0",
            "ce-type": f"azure.webpubsub.{kind}",
            "ce-source": f"/hubs/{connection.hub}/client/{connection.connection_id}",
            "ce-id": str(uuid4()),
            "ce-time": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "ce-signature": sign_connection(self._key, connection.connection_id),
            "ce-connectionId": connection.connection_id,
            "ce-hub": connection.hub,
            "ce-eventName": event,
        }
        if connection.user_id is not None:
            headers["ce-userId"] = connection.user_id
        if connection.subprotocol is not None:
            headers["ce-subprotocol"] = connection.subprotocol
        if connection.state:
            headers["ce-connectionState"] = connection.state
        return {name: quote(value, safe=_HEADER_SAFE) for name, value in headers.items()}

    async def _allowed(self) -> None:
        """Ask the handler once whether it accepts events from here; concurrent callers share the answer."""
        if self._permission is None or (self._permission.done() and self._permission.exception() is not None):
            self._permission = asyncio.create_task(self._ask_permission())
        await asyncio.shield(self._permission)

    async def _ask_permission(self) -> None:
        url = self._url.replace("{hub}", "validate").replace("{event}", "validate")
        async with self._session.options(
            url,
            headers={"WebHook-Request-Origin": self._origin},
            timeout=aiohttp.ClientTimeout(UPSTREAM_TIMEOUT_S),
        ) as response:
            allowed = response.headers.get("WebHook-Allowed-Origin", "")
        origins = {origin.strip().casefold() for origin in allowed.split(",")}
        if not 200 <= response.status < 300 or not origins & {"*", self._origin.casefold()}:
            raise aiohttp.ClientError("The event handler does not allow events from here.")

    def _report(self, what: str) -> None:
        if not self._down:
            _logger.warning("the event handler fails: %s", what)
        self._down = True


@dataclass(frozen=True, slots=True)
class _Line:
    """The waiting events of one connection, and the task that sends them."""

    pending: deque[Callable[[], Awaitable[None]]]
    task: asyncio.Task[None]
