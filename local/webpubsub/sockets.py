"""Carries one client's WebSocket over its transport: prepared frames out, messages in, bounded buffers.

aiohttp's compiled reader parses the client's frames. aiohttp's WebSocketResponse would also keep two tasks
and the whole request alive for each connection: docs/decisions/0005 has the figures.
"""

import asyncio
from typing import Any, Protocol, cast

from aiohttp import WSCloseCode, WSMessage, WSMsgType
from aiohttp._websocket.reader import WebSocketDataQueue
from aiohttp.http import WebSocketError, WebSocketReader

from local.webpubsub.frames import close_frame, encode_frame
from local.webpubsub.limits import (
    CLOSE_TIMEOUT_S,
    MAX_MESSAGE_BYTES,
    PING_INTERVAL_S,
    PONG_TIMEOUT_S,
    SLOW_CONSUMER_BYTES,
    WRITE_PAUSE_BYTES,
)

_PING_FRAME = encode_frame(WSMsgType.PING, b"")
_MASKED = 0x80
_NO_CODE = 0  # the reader's code for a close frame without one


class Listener(Protocol):
    """Handles the events of a socket."""

    def received(self, socket: "Socket", kind: WSMsgType, payload: bytes) -> None: ...
    def writable(self, socket: "Socket") -> None: ...
    def lost(self, socket: "Socket", *, closed_by_peer: bool) -> None:
        """Called once. `closed_by_peer` tells an orderly close from a broken connection."""


class _Inbox(WebSocketDataQueue):
    """Keeps what the reader found in one piece of data. aiohttp's own queue wakes a task for each message."""

    def __init__(self) -> None:
        super().__init__(cast("Any", None), 0, loop=cast("Any", None))  # never waits and never pauses
        self._messages: list[WSMessage] = []
        self._violation: BaseException | None = None

    def feed_data(self, data: Any, size: int) -> None:
        del size
        self._messages.append(data)

    def set_exception(self, exc: BaseException, exc_cause: BaseException | None = None) -> None:
        del exc_cause
        self._violation = exc

    def empty(self) -> tuple[list[WSMessage], BaseException | None]:
        """Returns the messages, and what broke the protocol after them."""
        found = self._messages, self._violation
        self._messages, self._violation = [], None
        return found


# One for all sockets, because each empties it directly after its reader has filled it.
_INBOX = _Inbox()


class Socket(asyncio.Protocol):
    """Owns a transport after the handshake. Writing never raises: a broken connection only reports `lost`."""

    __slots__ = (
        "_closed_by_peer",
        "_closing",
        "_heard_at",
        "_listener",
        "_loop",
        "_masks",
        "_pinged_at",
        "_reader",
        "_transport",
        "paused",
    )

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        # The reader refuses a message of this size and above.
        self._reader = WebSocketReader(_INBOX, MAX_MESSAGE_BYTES + 1, compress=False, decode_text=False)
        self._listener: Listener | None = None
        self._masks = False
        self._closing = False
        self._closed_by_peer = False
        self._heard_at = loop.time()
        self._pinged_at: float | None = None
        self.paused = False
        transport.set_write_buffer_limits(high=WRITE_PAUSE_BYTES)

    def listen(self, listener: Listener) -> None:
        self._listener = listener

    def detach(self) -> None:
        """Stop reporting events, because another socket serves the connection or the connection has ended."""
        self._listener = None

    def write(self, frame: bytes) -> None:
        if self._closing or self._transport.is_closing():
            return
        self._transport.write(frame)
        if self.paused and self._transport.get_write_buffer_size() > SLOW_CONSUMER_BYTES:
            self.abort()

    def close(self, code: int = WSCloseCode.OK, reason: str = "") -> None:
        """Send a close frame. The transport closes when the peer answers it, or after CLOSE_TIMEOUT_S."""
        if self._closing:
            return
        self.write(close_frame(code, reason))
        self._closing = True
        self._loop.call_later(CLOSE_TIMEOUT_S, self._transport.abort)

    def abort(self) -> None:
        self._closing = True
        self._transport.abort()

    def check_alive(self, now: float) -> None:
        """Ping a silent peer and cut one that did not answer. The server calls this every few seconds."""
        if self._pinged_at is not None and self._heard_at < self._pinged_at:
            if now - self._pinged_at > PONG_TIMEOUT_S:
                self.abort()
        elif now - self._heard_at > PING_INTERVAL_S:
            self._pinged_at = now
            self.write(_PING_FRAME)

    def forgive_silence(self, now: float) -> None:
        """Count silence from now on: this process itself did not run, and could not hear the peer."""
        self._heard_at, self._pinged_at = now, None

    # The event loop calls the methods below.

    def data_received(self, data: bytes) -> None:
        self._heard_at = self._loop.time()
        if not self._masks and not self._check_mask(data):
            return
        self._reader.feed_data(data)
        messages, violation = _INBOX.empty()
        for message in messages:
            self._take(message)
        if violation is not None:
            self._refuse(violation)

    def _check_mask(self, data: bytes) -> bool:
        """Returns whether the client masks its first frame. RFC 6455 demands it and aiohttp does not look."""
        if len(data) > 1 and not data[1] & _MASKED:
            self.close(WSCloseCode.PROTOCOL_ERROR, "A client must mask its frames.")
            return False
        self._masks = True
        return True

    def _refuse(self, violation: BaseException) -> None:
        if not isinstance(violation, WebSocketError):  # a defect of this process or of aiohttp
            self.abort()
            raise violation
        self.close(violation.code, str(violation))

    def _take(self, message: WSMessage) -> None:
        kind = message.type
        if kind is WSMsgType.TEXT or kind is WSMsgType.BINARY:
            if not self._closing and self._listener is not None:
                self._listener.received(self, kind, message.data)
        elif kind is WSMsgType.PING:
            self.write(encode_frame(WSMsgType.PONG, message.data))
        elif kind is WSMsgType.CLOSE:
            self._answer_close(message.data)

    def _answer_close(self, code: int) -> None:
        if not self._closing:
            self._closed_by_peer = True
            self.write(
                close_frame(WSCloseCode.OK if code in (_NO_CODE, WSCloseCode.GOING_AWAY) else code, "")
            )
            self._closing = True
        self._transport.close()

    def eof_received(self) -> bool:
        return False

    def pause_writing(self) -> None:
        self.paused = True

    def resume_writing(self) -> None:
        self.paused = False
        if self._listener is not None and not self._closing:
            self._listener.writable(self)

    def connection_lost(self, exc: Exception | None) -> None:
        del exc  # broken connections are normal and not worth a log line
        self._closing = True
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.lost(self, closed_by_peer=self._closed_by_peer)
