"""No request waits long for a server that hangs, is gone or is out of memory."""

import asyncio
import logging
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis

from shared.adapters.redis import RedisStore
from shared.adapters.redis.store import (
    MAX_REQUESTS_PER_CALL,
    SOCKET_TIMEOUT_S,
)
from shared.domain.access.admission import Admission
from shared.errors import Unavailable
from tests.support.ports import free_port
from tests.support.redis_hot_path import CONFIDENCE, HASH, VERDICT, admitted, grant_of
from tests.support.servers import running_valkey, until_readable


async def until_back(store: RedisStore, within_s: float = 5.0) -> Admission | None:
    deadline = time.monotonic() + within_s
    while True:
        try:
            return await store.take_request(HASH)
        except Unavailable:
            assert time.monotonic() < deadline, "Redis did not come back in time"
            await asyncio.sleep(0.02)


@contextmanager
def own_server(directory: Path) -> Iterator[tuple[str, int]]:
    """A Valkey of the test's own, to be stopped and killed: its URL and process id."""
    with running_valkey(directory, free_port()) as url, redis.Redis.from_url(url) as client:
        yield url, int(client.info("server")["process_id"])


async def test_a_hung_server_costs_a_quarter_second_once(
    server_directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="shared.adapters.redis")
    with own_server(server_directory) as (url, pid):
        store = RedisStore(url)
        await store.store_grant(HASH, grant_of(limit=10_000))
        assert (await admitted(store)).allowed
        os.kill(pid, signal.SIGSTOP)
        try:
            started = time.monotonic()
            answers = await asyncio.gather(
                *(store.take_request(HASH) for _ in range(20)), return_exceptions=True
            )
            assert all(isinstance(each, Unavailable) and each.code == "cache_unavailable" for each in answers)
            assert SOCKET_TIMEOUT_S <= time.monotonic() - started < SOCKET_TIMEOUT_S + 0.2
            slowest = 0.0
            ends = time.monotonic() + 2.5
            while time.monotonic() < ends:
                began = time.monotonic()
                with pytest.raises(Unavailable):
                    await store.take_request(HASH)
                slowest = max(slowest, time.monotonic() - began)
                await asyncio.sleep(0.01)
            assert slowest < 0.1
            assert store.is_unavailable
        finally:
            os.kill(pid, signal.SIGCONT)
        assert await until_back(store) is not None
        assert (store.outage_count, store.is_unavailable) == (1, False)
        await store.close()
    levels = [
        record.levelname for record in caplog.records if record.name.startswith("shared.adapters.redis")
    ]
    assert levels == ["WARNING", "INFO"]


async def test_who_waits_behind_a_call_that_fails_fails_with_it(server_directory: Path) -> None:
    with own_server(server_directory) as (url, pid):
        store = RedisStore(url)
        await store.take_request(HASH)
        os.kill(pid, signal.SIGSTOP)
        try:
            started = time.monotonic()
            under_way = store.take_request(HASH)
            await asyncio.sleep(SOCKET_TIMEOUT_S / 2)
            behind = [store.take_request(HASH) for _ in range(MAX_REQUESTS_PER_CALL + 1)]
            async with asyncio.timeout(5):
                answers = await asyncio.gather(under_way, *behind, return_exceptions=True)
            assert all(isinstance(each, Unavailable) for each in answers)
            assert time.monotonic() - started < SOCKET_TIMEOUT_S + 0.2
        finally:
            os.kill(pid, signal.SIGCONT)
        await until_back(store)
        await store.close()


async def test_a_restarted_server_is_found_again(server_directory: Path) -> None:
    port = free_port()
    with running_valkey(server_directory, port) as url:
        password = url.split("@")[0].rsplit(":", 1)[1]
        store = RedisStore(url)
        await store.store_grant(HASH, grant_of())
    with pytest.raises(Unavailable):
        await store.take_request(HASH)
    with pytest.raises(Unavailable):
        await store.put_confidences([(CONFIDENCE, VERDICT, None)])
    with running_valkey(server_directory, port) as url, redis.Redis.from_url(url) as client:
        client.config_set("requirepass", password)
        assert await until_back(store) is None
        assert store.outage_count == 1
        await store.close()


async def test_a_server_that_was_never_there(caplog: pytest.LogCaptureFixture) -> None:
    store = RedisStore(f"redis://127.0.0.1:{free_port()}/0")
    started = time.monotonic()
    for _ in range(50):
        with pytest.raises(Unavailable) as refused:
            await store.take_request(HASH)
        assert refused.value.code == "cache_unavailable"
    assert time.monotonic() - started < 0.5
    assert store.outage_count == 1
    assert len(caplog.records) == 1
    await store.close()


async def test_an_idle_connection_that_the_server_closed_is_no_outage(
    store: RedisStore, client: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    await store.store_grant(HASH, grant_of())
    for _ in range(3):
        client.client_kill_filter(_type="normal", skipme=True)
        await until_readable(store)
        assert (await admitted(store)).allowed
    assert store.outage_count == 0
    assert caplog.records == []


async def test_a_busy_process_does_not_take_itself_for_an_outage(store: RedisStore) -> None:
    await store.store_grant(HASH, grant_of())
    asked = asyncio.ensure_future(admitted(store))
    await asyncio.sleep(0)
    # In the next turn the request is written, and right after it the loop is held up.
    asyncio.get_running_loop().call_soon(time.sleep, SOCKET_TIMEOUT_S * 2)
    assert (await asked).allowed
    assert store.outage_count == 0


async def test_a_server_out_of_memory_is_told_and_logged_once(
    store: RedisStore, client: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    await store.store_grant(HASH, grant_of())
    client.config_set("maxmemory", "1")
    try:
        for _ in range(3):
            with pytest.raises(Unavailable):
                await store.put_confidences([(CONFIDENCE, VERDICT, None)])
            with pytest.raises(Unavailable):
                await store.take_request(HASH, confidence_key=CONFIDENCE)
    finally:
        client.config_set("maxmemory", "0")
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert (await admitted(store)).allowed
