"""The shared connection before a server that does not keep to the protocol."""

import asyncio
import logging

import pytest

from shared.adapters.redis import RedisStore


async def test_an_answer_that_nobody_asked_for_costs_the_connection_and_no_command(
    caplog: pytest.LogCaptureFixture,
) -> None:
    connections: list[asyncio.StreamWriter] = []
    hung_up = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(writer)
        while line := await reader.readline():
            if line.startswith(b"*"):
                writer.write(b"+OK\r\n")
        hung_up.set()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    store = RedisStore(f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    await store.ping()
    connections[0].write(b"+what\r\n")
    with caplog.at_level(logging.WARNING):
        async with asyncio.timeout(5):
            await hung_up.wait()
        await store.ping()
    assert len(connections) == 2
    assert not caplog.records
    await store.close()
    server.close()
    await server.wait_closed()
