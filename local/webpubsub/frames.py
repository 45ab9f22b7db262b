"""WebSocket frames (RFC 6455), without input or output: the server's side, no extensions."""

import struct

TEXT, BINARY, CLOSE, PING, PONG = 0x1, 0x2, 0x8, 0x9, 0xA
_CONTINUATION = 0x0
_FINAL = 0x80
_MASKED = 0x80
_MAX_CONTROL_BYTES = 125

NORMAL, GOING_AWAY, PROTOCOL_ERROR, BAD_DATA, POLICY, TOO_BIG = 1000, 1001, 1002, 1007, 1008, 1009
NO_STATUS = 1005


class FrameViolation(Exception):
    """The peer broke the protocol; `code` is the close code that answers it."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


def frame_header(opcode: int, length: int) -> bytes:
    """Head of an unfragmented, unmasked frame with `length` bytes of payload."""
    if length < 126:
        return bytes((_FINAL | opcode, length))
    if length < 1 << 16:
        return struct.pack("!BBH", _FINAL | opcode, 126, length)
    return struct.pack("!BBQ", _FINAL | opcode, 127, length)


def encode_frame(opcode: int, payload: bytes) -> bytes:
    return frame_header(opcode, len(payload)) + payload


def close_frame(code: int, reason: str) -> bytes:
    """A close frame; the reason is cut to what a control frame holds, never inside a character."""
    text = reason.encode()[: _MAX_CONTROL_BYTES - 2].decode(errors="ignore").encode()
    return encode_frame(CLOSE, struct.pack("!H", code) + text)


def close_code(payload: bytes) -> int:
    """Status code of a received close frame."""
    return int.from_bytes(payload[:2]) if len(payload) >= 2 else NO_STATUS


class FrameReader:
    """Turns received bytes into whole messages; holds at most one unfinished message."""

    __slots__ = ("_buffer", "_max_bytes", "_opcode", "_parts", "_parts_bytes")

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._buffer = b""
        self._opcode = 0
        self._parts: list[bytes] = []
        self._parts_bytes = 0

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """(opcode, payload) of every message completed by `data`, in order; raises FrameViolation."""
        buffer = self._buffer + data if self._buffer else data
        messages: list[tuple[int, bytes]] = []
        start = 0
        while (frame := self._next_frame(buffer, start)) is not None:
            final, opcode, payload, start = frame
            if opcode >= CLOSE:
                messages.append((opcode, payload))
            elif (message := self._assemble(final, opcode, payload)) is not None:
                messages.append(message)
        self._buffer = buffer[start:]
        return messages

    def _next_frame(self, buffer: bytes, start: int) -> tuple[bool, int, bytes, int] | None:
        available = len(buffer) - start
        if available < 2:
            return None
        first, second = buffer[start], buffer[start + 1]
        final, opcode = bool(first & _FINAL), first & 0x0F
        if first & 0x70:
            raise FrameViolation(PROTOCOL_ERROR, "Reserved bits are set.")
        if opcode not in (_CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG):
            raise FrameViolation(PROTOCOL_ERROR, "Unknown opcode.")
        if not second & _MASKED:
            raise FrameViolation(PROTOCOL_ERROR, "Frames of a client must be masked.")
        length, head = second & 0x7F, 2
        if opcode >= CLOSE and (length > _MAX_CONTROL_BYTES or not final):
            raise FrameViolation(PROTOCOL_ERROR, "A control frame is too long or fragmented.")
        if length >= 126:
            extra = 2 if length == 126 else 8
            if available < 2 + extra:
                return None
            length = int.from_bytes(buffer[start + 2 : start + 2 + extra])
            head += extra
        if length + self._parts_bytes > self._max_bytes:
            raise FrameViolation(TOO_BIG, f"A message may have at most {self._max_bytes} bytes.")
        end = start + head + 4 + length
        if len(buffer) < end:
            return None
        mask = buffer[start + head : start + head + 4]
        return final, opcode, _unmask(buffer[start + head + 4 : end], mask), end

    def _assemble(self, final: bool, opcode: int, payload: bytes) -> tuple[int, bytes] | None:
        continues = opcode == _CONTINUATION
        if continues != bool(self._opcode):
            raise FrameViolation(PROTOCOL_ERROR, "Fragments are out of order.")
        if final and not continues:
            return opcode, payload
        if not continues:
            self._opcode = opcode
        if payload:  # empty fragments would pile up without ever reaching the bound
            self._parts.append(payload)
            self._parts_bytes += len(payload)
        if not final:
            return None
        message = (self._opcode, b"".join(self._parts))
        self._opcode, self._parts, self._parts_bytes = 0, [], 0
        return message


def _unmask(payload: bytes, mask: bytes) -> bytes:
    size = len(payload)
    key = (mask * (size // 4 + 1))[:size]
    return (int.from_bytes(payload, "little") ^ int.from_bytes(key, "little")).to_bytes(size, "little")
