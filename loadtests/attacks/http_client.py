"""Speaks HTTP/1.1 over keep-alive connections at little cost, and names each answer by status and code.

The innocent bot and the attackers use it, because a client library would take more of the processor than the
server whose behaviour is measured.
"""

import asyncio
import contextlib
from typing import NamedTuple

HOST = "127.0.0.1"
TIMEOUT_S = 10.0
_END_OF_HEAD = b"\r\n\r\n"
_LIMIT_BYTES = 4_000_000


class Answer(NamedTuple):
    """One answer; `head` is in lower case."""

    status: int
    head: bytes
    body: bytes

    @property
    def is_success(self) -> bool:
        return 200 <= self.status < 300

    @property
    def label(self) -> str:
        """The status, and the problem's code if there is one: `429 rate_limited`."""
        _, found, rest = self.body.partition(b'"code":"')
        code = rest.partition(b'"')[0].decode("latin-1") if found and not self.is_success else ""
        return f"{self.status} {code}".rstrip()

    @property
    def retry_after_s(self) -> float:
        """The seconds of Retry-After; 0 without one."""
        _, _, rest = self.head.partition(b"\r\nretry-after:")
        digits = rest.partition(b"\r\n")[0].strip()
        return float(digits) if digits.isdigit() else 0.0


class Refused(Exception):
    """No answer came; the text says what happened instead."""


def request(
    method: str,
    path: str,
    *,
    key: str | None = None,
    body: bytes | None = None,
    idempotency_key: str | None = None,
) -> bytes:
    """Returns a whole request; `key` None sends no Authorization header."""
    lines = [f"{method} /api/{path} HTTP/1.1", f"Host: {HOST}"]
    if key is not None:
        lines.append(f"Authorization: Bearer {key}")
    if idempotency_key is not None:
        lines.append(f"Idempotency-Key: {idempotency_key}")
    if body is not None:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join(lines).encode() + _END_OF_HEAD + (body or b"")


class Connection:
    """One keep-alive connection; opens itself again after either side has closed it.

    A server may close an idle connection just when a request is sent. If `asks_again`, the request is then
    sent once more, as bots do.
    """

    def __init__(self, port: int, timeout_s: float = TIMEOUT_S, *, asks_again: bool = True) -> None:
        self._port = port
        self._timeout_s = timeout_s
        self._asks_again = asks_again
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def ask(self, whole_request: bytes) -> Answer:
        """Sends a request and returns its answer; raises Refused."""
        try:
            async with asyncio.timeout(self._timeout_s):
                if self._reader is None or self._reader.at_eof():
                    self.close()
                elif self._asks_again:
                    with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                        return await self._exchange(whole_request)
                    self.close()
                return await self._exchange(whole_request)
        except TimeoutError:
            self.close()
            raise Refused("timeout") from None
        except ConnectionRefusedError:
            raise Refused("no connection") from None
        except (OSError, asyncio.IncompleteReadError):
            self.close()
            raise Refused("closed") from None

    def close(self) -> None:
        if self._writer is not None:
            self._writer.transport.abort()
        self._reader = self._writer = None

    async def _exchange(self, whole_request: bytes) -> Answer:
        if self._reader is None or self._writer is None:
            self._reader, self._writer = await asyncio.open_connection(HOST, self._port, limit=_LIMIT_BYTES)
        # Reads from the beginning: a refusal may come, and the connection end, before a large body went out.
        reading = asyncio.ensure_future(_answer(self._reader))
        try:
            self._writer.write(whole_request)
            with contextlib.suppress(ConnectionError):
                await self._writer.drain()
            answer = await reading
        finally:
            reading.cancel()
        if b"\r\nconnection: close" in answer.head:
            self.close()
        return answer


async def _answer(reader: asyncio.StreamReader) -> Answer:
    head = (await reader.readuntil(_END_OF_HEAD)).lower()
    _, found, rest = head.partition(b"\r\ncontent-length:")
    length = int(rest.partition(b"\r\n")[0]) if found else 0
    return Answer(int(head[9:12]), head, await reader.readexactly(length))
