"""Encodes WebSocket frames of the server (RFC 6455), so that all receivers of a message share one frame."""

import struct

from aiohttp import WSMsgType

_FINAL = 0x80
_MAX_CONTROL_BYTES = 125
_CODE_BYTES = 2


def frame_header(kind: WSMsgType, length: int) -> bytes:
    """Returns the head of an unfragmented, unmasked frame with `length` bytes of payload."""
    if length < 126:
        return bytes((_FINAL | kind, length))
    if length < 1 << 16:
        return struct.pack("!BBH", _FINAL | kind, 126, length)
    return struct.pack("!BBQ", _FINAL | kind, 127, length)


def encode_frame(kind: WSMsgType, payload: bytes) -> bytes:
    return frame_header(kind, len(payload)) + payload


def close_frame(code: int, reason: str) -> bytes:
    """Returns a close frame. It cuts the reason to what a control frame holds, never inside a character."""
    text = reason.encode()[: _MAX_CONTROL_BYTES - _CODE_BYTES].decode(errors="ignore").encode()
    return encode_frame(WSMsgType.CLOSE, struct.pack("!H", code) + text)
