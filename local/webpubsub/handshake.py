"""From an HTTP upgrade request to a socket of our own: aiohttp reads the request, we take its transport."""

import asyncio
import base64
import binascii
import hashlib
from typing import Any, cast

from aiohttp import web

from local.webpubsub.sockets import Socket

_ACCEPT_SALT = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, section 1.3
_KEY_BYTES = 16


class TakenOver(web.StreamResponse):
    """Tells aiohttp that there is nothing left to answer."""

    async def prepare(self, request: web.BaseRequest) -> None:
        del request

    async def write_eof(self, data: bytes = b"") -> None:
        del data


class _Behind:
    """Keeps what the client sent right behind its upgrade request."""

    def __init__(self) -> None:
        self.data = b""

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        self.data += data
        return False, b""

    def feed_eof(self) -> None: ...


def offered_subprotocols(request: web.Request) -> list[str]:
    headers = request.headers.getall("Sec-WebSocket-Protocol", [])
    return [name.strip() for header in headers for name in header.split(",") if name.strip()]


def accept_key(request: web.Request) -> str:
    """What proves to the client that its upgrade was understood; raises HTTPBadRequest."""
    key = request.headers.get("Sec-WebSocket-Key", "")
    try:
        fits = len(base64.b64decode(key, validate=True)) == _KEY_BYTES
    except (binascii.Error, ValueError):
        fits = False
    upgrades = request.headers.get("Upgrade", "").casefold() == "websocket"
    if not fits or not upgrades or request.headers.get("Sec-WebSocket-Version") != "13":
        raise web.HTTPBadRequest(text="A WebSocket upgrade of version 13 is expected here.\n")
    return base64.b64encode(
        hashlib.sha1(key.encode() + _ACCEPT_SALT, usedforsecurity=False).digest()
    ).decode()


def take_over(request: web.Request, accept: str, subprotocol: str | None) -> tuple[Socket, bytes] | None:
    """The open socket and what the client has already sent on it; None when the client has gone.

    aiohttp's own WebSocket costs two to three times as much for each message and connection.
    """
    transport = request.transport
    if transport is None or transport.is_closing():
        return None
    lines = [
        "HTTP/1.1 101 Switching Protocols",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Accept: {accept}",
    ]
    if subprotocol is not None:
        lines.append(f"Sec-WebSocket-Protocol: {subprotocol}")
    transport.write(("\r\n".join(lines) + "\r\n\r\n").encode())
    behind = _Behind()
    http = request.protocol
    http.set_parser(cast("Any", behind))
    socket = Socket(transport, asyncio.get_running_loop())
    transport.set_protocol(socket)
    http.transport = None  # else it would close what is no longer its own
    http.connection_lost(None)
    return socket, behind.data
