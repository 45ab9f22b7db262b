"""Attacks without a license: large bodies, unfinished bodies, slow heads, idle connections, invented keys."""

import asyncio
import contextlib
import secrets
from typing import cast

from loadtests.attacks.field import Field
from loadtests.attacks.http_client import HOST
from loadtests.bench import market
from shared.domain.access.keys import new_key, new_public_id, random_base62

LARGE_BODIES_A_SECOND = 9.0
LARGE_BODY_BYTES = 900_000
UNKNOWN_FIELDS = 55_000
UNFINISHED = 12
UNFINISHED_BYTES = 98_000_000
SLOW_HEADS, IDLE = 250, 250
SLOW_LINE_EVERY_S = 3.0
INVENTED_KEYS_A_SECOND = 200.0
OPEN_AGAIN_S = 5.0
_CHUNK = 262_144


def large_body() -> bytes:
    """Returns a body of LARGE_BODY_BYTES: a NaN and UNKNOWN_FIELDS unknown fields."""
    begin, end = '{"symbol":"ES","signal_type":"LONG","vwap_distance":NaN,"rsi":35', "}"
    width = (LARGE_BODY_BYTES - len(begin) - len(end)) // UNKNOWN_FIELDS
    fields = "".join(f',"{number:0{width - 5}d}":1' for number in range(UNKNOWN_FIELDS))
    return (begin + fields + end).encode()


async def large_bodies(field: Field) -> None:
    whole = field.post("ml/get_confidence", large_body())
    await field.at_rate(LARGE_BODIES_A_SECOND, 9, lambda _: whole)


async def unfinished_bodies(field: Field) -> None:
    """Keeps UNFINISHED bodies almost complete; opens each again after a pause when the server ends it."""
    head = (
        f"POST /api/ml/get_confidence HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {UNFINISHED_BYTES}\r\n\r\n"
    ).encode()
    chunk = b" " * _CHUNK
    await field.begin()

    async def one() -> None:
        sent = 0
        reader, writer = await asyncio.open_connection(HOST, field.plan.port)
        answer = asyncio.create_task(reader.read(64))
        try:
            async with asyncio.timeout(field.left_s):
                with contextlib.suppress(OSError):
                    writer.write(head)
                    while sent + _CHUNK < UNFINISHED_BYTES and not answer.done():
                        writer.write(chunk)
                        await writer.drain()
                        sent += _CHUNK
                label = (await answer).decode("latin-1")[9:12] or "closed"
        except TimeoutError:
            label = "held to the end"
        except OSError:
            label = "closed"
        finally:
            answer.cancel()
            writer.transport.abort()
        field.answers[label] += 1
        field.note_most("most of one body, MB", sent / 1e6)

    async def keep() -> None:
        while field.is_on:
            with contextlib.suppress(OSError):
                await one()
            await asyncio.sleep(min(OPEN_AGAIN_S, field.left_s))

    await asyncio.gather(*(keep() for _ in range(UNFINISHED)))


class _Squatter(asyncio.Protocol):
    """Holds one connection, and writes a head slowly if it has one; `over` says how the connection ended."""

    def __init__(self, head: bytes) -> None:
        self._head = head
        self._label = "closed"
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self.over: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        if self._head:
            self._transport.write(self._head)
            self._write_more()

    def _write_more(self) -> None:
        assert self._transport is not None
        self._transport.write(b"X-Slow: 1\r\n")
        self._timer = asyncio.get_running_loop().call_later(SLOW_LINE_EVERY_S, self._write_more)

    def data_received(self, data: bytes) -> None:
        self._label = data[9:12].decode("latin-1")

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if not self.over.done():
            self.over.set_result(self._label)


async def slow_connections(field: Field) -> None:
    """Holds SLOW_HEADS requests whose head never ends, and IDLE connections without a request."""
    loop, address = asyncio.get_running_loop(), (HOST, field.plan.port)
    open_now = 0
    await field.begin()

    async def one(head: bytes) -> str:
        nonlocal open_now
        try:
            transport, squatter = await loop.create_connection(lambda: _Squatter(head), *address)
        except OSError:
            return "no connection"
        open_now += 1
        field.note_most("most open at once", open_now)
        try:
            async with asyncio.timeout(field.left_s):
                return await squatter.over
        except TimeoutError:
            return "held to the end"
        finally:
            open_now -= 1
            transport.abort()

    async def keep(kind: str, head: bytes) -> None:
        while field.is_on:
            field.answers[f"{kind}: {await one(head)}"] += 1
            await asyncio.sleep(min(OPEN_AGAIN_S, field.left_s))

    head = f"POST /api/ml/get_confidence HTTP/1.1\r\nHost: {HOST}\r\n".encode()
    await asyncio.gather(
        *(keep("slow head", head) for _ in range(SLOW_HEADS)), *(keep("idle", b"") for _ in range(IDLE))
    )


async def invented_keys(field: Field) -> None:
    """Sends keys of the right form and checksum that were never issued, each once."""
    count = int(INVENTED_KEYS_A_SECOND * (field.plan.ends_at - field.plan.starts_at)) + 100
    keys = [new_key(new_public_id(random_base62(2, secrets.token_bytes))) for _ in range(count)]
    body = market.body(1)
    await field.at_rate(
        INVENTED_KEYS_A_SECOND, 40, lambda n: field.post("ml/get_confidence", body, key=keys[n % count])
    )
