"""Makes uvicorn send each response with one system call, and end connections that are too slow.

uvicorn writes a response's head and its body apart, and uvloop sends each write at once. The second call
costs a quarter of the processor time of an echo (docs/decisions/0004-local-host-on-a-library-server.md).
"""

import asyncio
from typing import Any, ClassVar, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from local.host.deadlines import Arrival, Deadlines


class SingleWriteTransport:
    """Sends together what one iteration of the event loop writes; otherwise acts as `transport`."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._unsent: list[bytes] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        if not self._unsent:
            self._loop.call_soon(self._flush)
        self._unsent.append(data)

    def close(self) -> None:
        """Closes the connection after everything that was written is sent."""
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        if self._unsent:
            unsent, self._unsent = self._unsent, []
            self._transport.write(b"".join(unsent))


class SingleWriteProtocol(HttpToolsProtocol):
    """uvicorn's HTTP protocol on a SingleWriteTransport, with deadlines for what clients send."""

    deadlines: ClassVar[Deadlines] = Deadlines()
    _arrival: Arrival

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(cast("asyncio.Transport", SingleWriteTransport(transport, self.loop)))
        self._arrival = Arrival(self.loop, self.deadlines, self._cut_off)
        self._arrival.check(0)

    def connection_lost(self, exc: Exception | None) -> None:
        self._arrival.stop()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        arrival = self._arrival
        super().data_received(data)
        if arrival.missing is None and self.timeout_keep_alive_task is None and self._is_idle():
            # An empty line between two requests has stopped uvicorn's timer for idle connections.
            arrival.begin()
        arrival.check(len(data))

    def on_message_begin(self) -> None:
        self._arrival.begin()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._arrival.missing = "body"
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._arrival.missing = None
        super().on_message_complete()

    def _is_idle(self) -> bool:
        return self.cycle is not None and self.cycle.response_complete and not self.pipeline

    def _cut_off(self, answer: bytes) -> bool:
        """Closes the connection, unless its client waits for us; False then.

        `answer` says why, unless an answer to this or to an earlier request is on its way.
        """
        if self.flow.read_paused:
            return False
        cycle = self.cycle
        if cycle is None or cycle.response_complete or (cycle.more_body and not cycle.response_started):
            self.transport.write(answer)
        self.transport.close()
        return True
