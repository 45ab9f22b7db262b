"""Reads answers from a keep-alive HTTP/1.1 connection over a raw socket."""

import socket

# Longer than any answer takes; a connection that stays silent for this long has failed.
SILENCE_S = 20.0
_END_OF_HEAD = b"\r\n\r\n"


class Connection:
    """One connection and the request under way on it. `free_at` is when it last became free."""

    __slots__ = ("body", "buffer", "free_at", "head", "index", "sent_at", "socket")

    def __init__(self, address: tuple[str, int], head: bytes) -> None:
        self.socket = socket.create_connection(address, timeout=SILENCE_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)
        self.head = head
        self.buffer = b""
        self.body = b""
        self.index = 0
        self.sent_at = 0.0
        self.free_at = 0.0

    def answer(self) -> tuple[bytes, bytes] | None:
        """Reads what has arrived; returns head (in lower case) and body once they are complete.

        Raises OSError if the peer has closed the connection.
        """
        data = self.socket.recv(65_536)
        if not data:
            raise ConnectionResetError("the server closed the connection")
        if self.buffer:
            data = self.buffer + data
        end = data.find(_END_OF_HEAD)
        if end >= 0:
            head = data[:end].lower()
            at = head.index(b"content-length:") + 15
            line_end = head.find(b"\r\n", at)
            length = int(head[at : line_end if line_end > 0 else None])
            if len(data) - end - 4 >= length:
                self.buffer = b""
                return head, data[end + 4 :]
        self.buffer = data
        return None


def quota(head: bytes) -> int:
    """Returns the requests left by `RateLimit: "default";r=99;t=60`, or -1 without such a header."""
    at = head.find(b"\r\nratelimit:")
    at = head.find(b";r=", at) if at >= 0 else -1
    return int(head[at + 3 : head.find(b";", at + 3)]) if at >= 0 else -1
