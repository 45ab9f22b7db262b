"""The shared connection before servers that refuse, reset, or do not keep to the protocol."""

import asyncio
import logging
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from shared.adapters.redis import RedisStore
from shared.adapters.redis.connection import RETRY_EVERY_S
from shared.errors import Unavailable
from tests.support.servers import until_readable

HASH = "5b" * 32


class Server:
    """Answers each command with what `answer` says to its name, or with OK."""

    def __init__(self) -> None:
        self.answers: dict[str, bytes] = {}
        self.connections: list[asyncio.StreamWriter] = []
        self.ended: list[asyncio.Event] = []
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections.append(writer)
        ended = asyncio.Event()
        self.ended.append(ended)
        try:
            while line := await reader.readline():
                parts = []
                for _ in range(int(line[1:])):
                    size = int((await reader.readline())[1:])
                    parts.append((await reader.readexactly(size + 2))[:-2])
                writer.write(self.answers.get(parts[0].decode(), b"+OK") + b"\r\n")
        except ConnectionError:
            pass
        finally:
            ended.set()
            writer.close()


@asynccontextmanager
async def serving() -> AsyncIterator[tuple[Server, RedisStore]]:
    server = Server()
    listener = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    store = RedisStore(f"redis://127.0.0.1:{listener.sockets[0].getsockname()[1]}")
    try:
        yield server, store
    finally:
        await store.close()
        listener.close()
        await listener.wait_closed()


async def test_an_answer_that_nobody_asked_for_costs_the_connection_and_no_command(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with serving() as (server, store):
        await store.ping()
        server.connections[0].write(b"+what\r\n")
        await until_readable(store)
        with caplog.at_level(logging.WARNING):
            await store.ping()
            async with asyncio.timeout(5):
                await server.ended[0].wait()
        assert len(server.connections) == 2
        assert not caplog.records


async def test_an_idle_connection_that_was_reset_costs_no_command(caplog: pytest.LogCaptureFixture) -> None:
    async with serving() as (server, store):
        await store.ping()
        reset = server.connections[0].get_extra_info("socket")
        reset.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        server.connections[0].transport.abort()
        await asyncio.sleep(0.05)
        with caplog.at_level(logging.WARNING):
            await store.ping()
        assert len(server.connections) == 2
        assert store.outage_count == 0
        assert not caplog.records


@pytest.mark.parametrize(
    "refusal",
    [
        b"-READONLY You can't write against a read only replica.",
        b"-LOADING Redis is loading the dataset in memory",
        b"-MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
        b"-CLUSTERDOWN The cluster is down",
        b"-MOVED 3999 127.0.0.1:6381",
        b"-NOAUTH Authentication required.",
    ],
)
async def test_a_server_that_is_unfit_after_a_failover_is_left_and_its_successor_found(
    refusal: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving() as (server, store):
        await store.ping()
        server.answers["EVALSHA"] = refusal
        asked = [store.take_request(HASH) for _ in range(3)]
        answers = await asyncio.gather(*asked, store.release("key", "token"), return_exceptions=True)
        assert all(isinstance(each, Unavailable) and each.code == "cache_unavailable" for each in answers)
        assert (store.is_unavailable, store.outage_count) == (True, 1)
        async with asyncio.timeout(5):
            await server.ended[0].wait()
        code = refusal[1:].decode().split()[0]
        assert [code in record.getMessage() for record in caplog.records] == [True]
        del server.answers["EVALSHA"]
        async with asyncio.timeout(RETRY_EVERY_S * 5):
            while store.is_unavailable:
                try:
                    await store.ping()
                except Unavailable:
                    await asyncio.sleep(0.02)
        assert len(server.connections) == 2
        assert store.outage_count == 1


async def test_a_successor_that_still_loads_is_not_taken(caplog: pytest.LogCaptureFixture) -> None:
    async with serving() as (server, store):
        await store.ping()
        server.answers["SET"] = b"-READONLY You can't write against a read only replica."
        server.answers["PING"] = b"-LOADING Redis is loading the dataset in memory"
        with pytest.raises(Unavailable):
            await store.claim_refresh("hash", 1)
        while len(server.connections) < 3:
            with pytest.raises(Unavailable):
                await store.claim_refresh("hash", 1)
            await asyncio.sleep(0.02)
        assert (store.is_unavailable, store.outage_count) == (True, 1)
        assert [record.levelname for record in caplog.records] == ["WARNING"]


@pytest.mark.parametrize(
    "refusal",
    [b"-OOM command not allowed when used memory > 'maxmemory'.", b"-ERR no", b"-NOPERM no", b"-ODD"],
)
async def test_a_refusal_of_one_command_keeps_the_connection(
    refusal: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving() as (server, store):
        server.answers["SET"] = refusal
        for _ in range(2):
            with pytest.raises(Unavailable) as refused:
                await store.claim_refresh("hash", 1)
            assert refused.value.code == "cache_unavailable"
            await store.ping()
        assert len(server.connections) == 1
        assert (store.is_unavailable, store.outage_count) == (False, 0)
        assert [record.levelname for record in caplog.records] == ["ERROR"]


async def test_commands_of_one_write_fail_together_and_leave_no_answer_unread() -> None:
    async with serving() as (server, store):
        server.answers |= {"HINCRBY": b"-OOM full", "SET": b"+OK"}
        with pytest.raises(Unavailable):
            await store.add_counts({"requests": 1, "failed": 2})
        assert await store.claim_refresh("hash", 1) is True
        assert len(server.connections) == 1
