"""Makes uvicorn send each response with one system call.

uvicorn writes a response's head and its body apart, and uvloop sends each write at once. The second call
costs a quarter of the processor time of an echo (docs/decisions/0004-local-host-on-a-library-server.md).
"""

import asyncio
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


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
    """uvicorn's HTTP protocol on a SingleWriteTransport."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(cast("asyncio.Transport", SingleWriteTransport(transport, self.loop)))
