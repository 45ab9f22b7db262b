"""One WebSocket over a transport: frames in, frames out, orderly close, bounded buffers."""

import asyncio
from typing import Protocol, cast

from local.webpubsub.frames import (
    BINARY,
    CLOSE,
    GOING_AWAY,
    NO_STATUS,
    NORMAL,
    PING,
    PONG,
    TEXT,
    FrameReader,
    FrameViolation,
    close_code,
    close_frame,
    encode_frame,
)
from local.webpubsub.limits import (
    CLOSE_TIMEOUT_S,
    MAX_MESSAGE_BYTES,
    PING_INTERVAL_S,
    PONG_TIMEOUT_S,
    SLOW_CONSUMER_BYTES,
    WRITE_PAUSE_BYTES,
)

_PING_FRAME = encode_frame(PING, b"")


class Listener(Protocol):
    """Who hears what happens on a socket."""

    def received(self, socket: "Socket", opcode: int, payload: bytes) -> None: ...
    def writable(self, socket: "Socket") -> None: ...
    def lost(self, socket: "Socket", *, closed_by_peer: bool) -> None:
        """Called once; `closed_by_peer` tells an orderly close from a broken connection."""


class Socket(asyncio.Protocol):
    """Takes a transport over after the HTTP handshake. Writing never raises: a broken peer is only lost."""

    __slots__ = (
        "_closed_by_peer",
        "_closing",
        "_heard_at",
        "_listener",
        "_loop",
        "_pinged_at",
        "_reader",
        "_transport",
        "paused",
    )

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._reader = FrameReader(MAX_MESSAGE_BYTES)
        self._listener: Listener | None = None
        self._closing = False
        self._closed_by_peer = False
        self._heard_at = loop.time()
        self._pinged_at: float | None = None
        self.paused = False
        transport.set_write_buffer_limits(high=WRITE_PAUSE_BYTES)

    def listen(self, listener: Listener) -> None:
        self._listener = listener

    def write(self, frame: bytes) -> None:
        if self._closing or self._transport.is_closing():
            return
        self._transport.write(frame)
        if self.paused and self._transport.get_write_buffer_size() > SLOW_CONSUMER_BYTES:
            self.abort()

    def close(self, code: int = NORMAL, reason: str = "") -> None:
        """Send a close frame; the transport goes when the peer answers it, or after CLOSE_TIMEOUT_S."""
        if self._closing:
            return
        self.write(close_frame(code, reason))
        self._closing = True
        self._loop.call_later(CLOSE_TIMEOUT_S, self._transport.abort)

    def abort(self) -> None:
        self._closing = True
        self._transport.abort()

    def detach(self) -> None:
        """Nobody listens from here on: another socket has taken the connection over."""
        self._listener = None

    def check_alive(self, now: float) -> None:
        """Ping a peer that has been silent, cut one that did not answer; called every few seconds."""
        if self._pinged_at is not None and self._heard_at < self._pinged_at:
            if now - self._pinged_at > PONG_TIMEOUT_S:
                self.abort()
        elif now - self._heard_at > PING_INTERVAL_S:
            self._pinged_at = now
            self.write(_PING_FRAME)

    def forgive_silence(self, now: float) -> None:
        """This process itself stood still, so that the peer's silence says nothing."""
        self._heard_at, self._pinged_at = now, None

    # What follows is called by the event loop.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._heard_at = self._loop.time()
        try:
            messages = self._reader.feed(data)
        except FrameViolation as violation:
            self.close(violation.code, violation.reason)
            return
        for opcode, payload in messages:
            if opcode == CLOSE:
                self._answer_close(payload)
                return
            if opcode == PING:
                self.write(encode_frame(PONG, payload))
            elif opcode in (TEXT, BINARY) and not self._closing and self._listener is not None:
                self._listener.received(self, opcode, payload)

    def _answer_close(self, payload: bytes) -> None:
        if not self._closing:
            code = close_code(payload)
            self._closed_by_peer = True
            self.write(close_frame(NORMAL if code in (NO_STATUS, GOING_AWAY) else code, ""))
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
        del exc  # a broken connection is nothing that anyone has to read about
        self._closing = True
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.lost(self, closed_by_peer=self._closed_by_peer)
