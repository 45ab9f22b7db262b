"""Carries one client's WebSocket: aiohttp accepts and reads it; prepared frames go to its transport."""

import asyncio
from contextlib import suppress
from typing import Protocol

from aiohttp import WSCloseCode, WSMsgType, web
from aiohttp.abc import AbstractStreamWriter

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
_NO_CODE = 0  # aiohttp's code for a close frame without one


class Listener(Protocol):
    """Handles the events of a socket."""

    def received(self, socket: "Socket", kind: WSMsgType, payload: bytes) -> None: ...
    def writable(self, socket: "Socket") -> None: ...
    def lost(self, socket: "Socket", *, closed_by_peer: bool) -> None:
        """Called once. `closed_by_peer` tells an orderly close from a broken connection."""


class Socket:
    """One accepted WebSocket. Writing never raises: a broken connection only ends `serve`."""

    __slots__ = (
        "_closing",
        "_drained",
        "_heard_at",
        "_http",
        "_listener",
        "_loop",
        "_pinged_at",
        "_transport",
        "_writer",
        "_ws",
    )

    def __init__(
        self,
        ws: web.WebSocketResponse[bool],
        http: web.RequestHandler,
        transport: asyncio.Transport,
        writer: AbstractStreamWriter,
    ) -> None:
        self._ws = ws
        self._http = http
        self._transport = transport
        self._writer = writer
        self._loop = asyncio.get_running_loop()
        self._listener: Listener | None = None
        self._drained: asyncio.Task[None] | None = None
        self._closing = False
        self._heard_at = self._loop.time()
        self._pinged_at: float | None = None
        transport.set_write_buffer_limits(high=WRITE_PAUSE_BYTES)

    @property
    def paused(self) -> bool:
        """Whether the peer reads more slowly than this side writes."""
        return self._http.writing_paused

    def listen(self, listener: Listener) -> None:
        self._listener = listener

    def detach(self) -> None:
        """Stop reporting events, because another socket has taken the connection over or it has ended."""
        self._listener = None

    def write(self, frame: bytes) -> None:
        if self._closing or self._transport.is_closing():
            return
        self._transport.write(frame)
        if self._http.writing_paused:
            if self._transport.get_write_buffer_size() > SLOW_CONSUMER_BYTES:
                self.abort()
            elif self._drained is None:
                self._drained = self._loop.create_task(self._report_drained())

    def close(self, code: int = WSCloseCode.OK, reason: str = "") -> None:
        """Send a close frame. The connection ends when the peer answers it, or after CLOSE_TIMEOUT_S."""
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
        """Count the silence from now on, because this process itself did not run and heard nobody."""
        self._heard_at, self._pinged_at = now, None

    async def serve(self) -> None:
        """Report what the peer sends until either side closes or the connection breaks."""
        closed_by_peer = False
        try:
            closed_by_peer = await self._read()
        finally:
            self._closing = True
            listener, self._listener = self._listener, None
            if listener is not None:
                listener.lost(self, closed_by_peer=closed_by_peer)

    async def _read(self) -> bool:
        """Returns whether the peer closed the connection first, and in order."""
        while True:
            message = await self._ws.receive()
            self._heard_at = self._loop.time()
            match message.type:
                case WSMsgType.TEXT | WSMsgType.BINARY:
                    if not self._closing and self._listener is not None:
                        self._listener.received(self, message.type, message.data)
                case WSMsgType.PING:
                    self.write(encode_frame(WSMsgType.PONG, message.data))
                case WSMsgType.PONG:
                    pass
                case WSMsgType.CLOSE:
                    return await self._answer_close(message.data)
                case _:  # the connection broke, or aiohttp closed it because a frame broke the protocol
                    return False

    async def _answer_close(self, code: int) -> bool:
        if self._closing:
            self._transport.close()
            return False
        answer = WSCloseCode.OK if code in (_NO_CODE, WSCloseCode.GOING_AWAY) else code
        await self._ws.close(code=answer, drain=False)
        return True

    async def _report_drained(self) -> None:
        with suppress(ConnectionError):
            await self._writer.drain()
        self._drained = None
        if self._listener is not None and not self._closing:
            self._listener.writable(self)


async def accept(request: web.Request, subprotocol: str | None) -> tuple[web.WebSocketResponse[bool], Socket]:
    """Complete the WebSocket handshake; raises ConnectionError if the client has disconnected.

    aiohttp's own heartbeat stays off. It takes a timer for each connection, and after a pause of this
    process it would cut every client that it had pinged before.
    """
    ws = web.WebSocketResponse(
        protocols=(subprotocol,) if subprotocol is not None else (),
        timeout=CLOSE_TIMEOUT_S,
        autoclose=False,
        autoping=False,
        compress=False,
        max_msg_size=MAX_MESSAGE_BYTES + 1,  # aiohttp refuses a message of this size and above
        decode_text=False,
    )
    writer = await ws.prepare(request)
    transport = request.transport
    if transport is None:
        raise ConnectionResetError("The client disconnected during the handshake.")
    return ws, Socket(ws, request.protocol, transport, writer)
