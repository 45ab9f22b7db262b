"""Turns an upgrade request that aiohttp has read into a Socket that owns the transport."""

import asyncio
import base64
import hashlib
from collections.abc import Callable
from typing import Any, cast

from aiohttp import web

from local.webpubsub.sockets import Socket

_ACCEPT_SALT = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, section 1.3


class _EarlyData:
    """Passes on what the client sent directly behind its upgrade request."""

    def __init__(self, socket: Socket) -> None:
        self._socket = socket

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        self._socket.data_received(data)
        return False, b""

    def feed_eof(self) -> None: ...


def offered_subprotocols(request: web.Request) -> list[str]:
    headers = request.headers.getall("Sec-WebSocket-Protocol", [])
    return [name.strip() for header in headers for name in header.split(",") if name.strip()]


def check_upgrade(request: web.Request) -> None:
    """Raises HTTPBadRequest unless aiohttp could upgrade this request."""
    # aiohttp logs a warning if it gets none of the offered names. This module chooses the name later.
    any_protocol = request.headers.get("Sec-WebSocket-Protocol", "").replace(" ", "").split(",")
    if not web.WebSocketResponse(protocols=any_protocol).can_prepare(request):
        raise web.HTTPBadRequest(text="Send a WebSocket upgrade request of version 13 to this address.\n")


def upgrade(request: web.Request, subprotocol: str | None, attach: Callable[[Socket], None]) -> None:
    """Answer a checked upgrade request and give its transport to a Socket, which `attach` gets first.

    Does nothing if the client has disconnected.
    """
    http, transport = request.protocol, request.transport
    if transport is None or transport.is_closing():
        return
    key = request.headers["Sec-WebSocket-Key"].encode()
    proof = base64.b64encode(hashlib.sha1(key + _ACCEPT_SALT, usedforsecurity=False).digest()).decode()
    lines = [
        "HTTP/1.1 101 Switching Protocols",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Accept: {proof}",
    ]
    if subprotocol is not None:
        lines.append(f"Sec-WebSocket-Protocol: {subprotocol}")
    transport.write(("\r\n".join(lines) + "\r\n\r\n").encode())
    socket = Socket(transport, asyncio.get_running_loop())
    attach(socket)
    http.set_parser(cast("Any", _EarlyData(socket)))
    transport.set_protocol(socket)
    http.transport = None  # else aiohttp would close the transport with its own objects of the request
    http.connection_lost(None)
