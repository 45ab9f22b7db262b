"""Requests in flight share calls of bounded size, and a call that fails harms no other."""

import asyncio
import hashlib
import time
from collections.abc import Callable

import pytest
import redis

from shared.adapters.redis import RedisStore
from shared.adapters.redis.store import (
    MAX_REQUESTS_PER_CALL,
    _Script,
)
from shared.domain.access.admission import Admission
from shared.errors import Unavailable
from tests.support.redis_hot_path import CONFIDENCE, HASH, admitted, grant_of, remaining


async def until(condition: Callable[[], bool], within_s: float = 5.0) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "it did not come true in time"
        await asyncio.sleep(0.01)


async def test_requests_in_flight_share_one_call(store: RedisStore, client: redis.Redis) -> None:
    hashes = [f"{i:064x}" for i in range(MAX_REQUESTS_PER_CALL)]
    await store.store_grants((each, grant_of()) for each in hashes)
    await store.take_request(HASH)
    client.config_resetstat()
    answers = await asyncio.gather(
        *(
            store.take_request(each, confidence_key=CONFIDENCE if i % 3 else None)
            for i, each in enumerate(hashes)
        )
    )
    assert all(each and each.allowed and each.rate and each.rate.remaining == 99 for each in answers)
    lookups = [each.cache_result for each in answers if each]
    assert [cache_result is not None for cache_result in lookups] == [i % 3 > 0 for i in range(len(hashes))]
    assert (
        sum(cache_result is not None and cache_result.lock_token is not None for cache_result in lookups) == 1
    )
    assert client.info("commandstats")["cmdstat_evalsha"]["calls"] == 1


async def test_a_crowd_is_split_into_bounded_calls(store: RedisStore, client: redis.Redis) -> None:
    await store.store_grant(HASH, grant_of(limit=100_000))
    count = MAX_REQUESTS_PER_CALL * 2 + 1
    await store.take_request(HASH)
    client.config_resetstat()
    answers = await asyncio.gather(*(remaining(store) for _ in range(count)))
    assert answers == list(range(99_998, 99_998 - count, -1))
    assert client.info("commandstats")["cmdstat_evalsha"]["calls"] == 3


async def test_who_comes_during_a_call_shares_the_next(store: RedisStore, client: redis.Redis) -> None:
    await store.store_grant(HASH, grant_of())
    await store.take_request(HASH)
    client.config_resetstat()
    client.client_pause(1_000, all=False)
    asked = []
    for _ in range(10):
        asked.append(store.take_request(HASH))
        # What is asked in one turn of the loop is written in the next.
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    client.client_unpause()
    left = [each.rate.remaining for each in await asyncio.gather(*asked) if each and each.rate]
    assert left == list(range(98, 88, -1))
    assert client.info("commandstats")["cmdstat_evalsha"]["calls"] == 2


async def test_a_call_that_cannot_be_made_is_told_to_its_requests_and_delays_nobody_else(
    store: RedisStore,
) -> None:
    await store.ping()
    asked = [store.take_request(HASH, confidence_key="\ud800")]
    asked += [store.take_request(HASH) for _ in range(MAX_REQUESTS_PER_CALL)]
    async with asyncio.timeout(5):
        answers = await asyncio.gather(*asked, return_exceptions=True)
        assert await store.take_request(HASH) is None
    assert [isinstance(each, Unavailable) for each in answers] == [True] * MAX_REQUESTS_PER_CALL + [False]


@pytest.mark.parametrize("reply", ["{'', '', {}, {}}", "{'123', '', {}, {}}", "{1, 2}", "'text'", "{}"])
async def test_an_answer_that_cannot_be_read_is_told_to_all_who_wait(
    store: RedisStore, monkeypatch: pytest.MonkeyPatch, reply: str
) -> None:
    source = f"return {reply}"
    script = _Script(hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest(), source)
    monkeypatch.setattr("shared.adapters.redis.store._script", lambda name: script)
    async with asyncio.timeout(5):
        answers = await asyncio.gather(*(store.take_request(HASH) for _ in range(3)), return_exceptions=True)
    assert all(isinstance(each, Unavailable) for each in answers)
    monkeypatch.undo()
    assert await store.take_request(HASH) is None


async def test_closing_leaves_nobody_waiting(redis_url: str) -> None:
    store = RedisStore(redis_url)
    await store.ping()
    asked = [store.take_request(HASH) for _ in range(MAX_REQUESTS_PER_CALL + 1)]
    await store.close()
    async with asyncio.timeout(5):
        answers = await asyncio.gather(*asked, return_exceptions=True)
    assert all(isinstance(each, Unavailable) for each in answers)


async def test_a_write_that_was_due_does_not_open_a_closed_connection(
    redis_url: str, client: redis.Redis
) -> None:
    store = RedisStore(redis_url)
    await store.ping()
    before = len(client.client_list())
    asked = store.take_request(HASH)
    await store.close()
    with pytest.raises(Unavailable):
        await asked
    await until(lambda: len(client.client_list()) == before - 1)
    await asyncio.sleep(0.05)
    assert len(client.client_list()) == before - 1


async def test_a_server_that_forgot_its_scripts_learns_them_again(
    store: RedisStore, client: redis.Redis
) -> None:
    await store.store_grant(HASH, grant_of())
    await store.take_request(HASH)
    client.script_flush()
    answers = await asyncio.gather(*(admitted(store, confidence_key=CONFIDENCE) for _ in range(10)))
    assert {each.allowed for each in answers} == {True}
    (token,) = [
        each.cache_result.lock_token for each in answers if each.cache_result and each.cache_result.lock_token
    ]
    assert await store.release(CONFIDENCE, token) is True
    client.script_flush()
    assert await store.release(CONFIDENCE, "t") is False
    assert store.outage_count == 0


async def test_who_goes_away_does_not_disturb_the_others(store: RedisStore) -> None:
    await store.store_grant(HASH, grant_of())
    tasks = [asyncio.ensure_future(store.take_request(HASH)) for _ in range(10)]
    await asyncio.sleep(0)
    for task in tasks[::2]:
        task.cancel()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert sum(isinstance(each, Admission) for each in answers) == 5
    assert (await admitted(store)).allowed
