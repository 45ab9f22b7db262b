"""Tries of public routes are counted over all processes, and each window ends by itself."""

import asyncio

import pytest
import redis

from shared.adapters.redis import RedisStore
from shared.adapters.redis.names import tries_key
from shared.errors import CacheUnavailable


async def test_tries_of_all_processes_count_together_in_one_window(
    store: RedisStore, redis_url: str, client: redis.Redis
) -> None:
    other = RedisStore(redis_url)
    tried = await asyncio.gather(*(each.count_try("door:here", 60) for each in (store, other) * 10))
    await other.close()
    assert sorted(count for count, _ in tried) == list(range(1, 21))
    assert all(59 < left_s <= 60 for _, left_s in tried)
    assert 59_000 < client.pttl(tries_key("door:here")) <= 60_000, "later tries do not move the end"
    assert (await store.count_try("door:there", 60))[0] == 1


async def test_a_window_ends_and_the_next_try_begins_another(store: RedisStore, client: redis.Redis) -> None:
    await store.count_try("door", 3600)
    client.pexpire(tries_key("door"), 1)
    await asyncio.sleep(0.005)
    assert (await store.count_try("door", 3600))[0] == 1
    assert client.ttl(tries_key("door")) > 3_590


async def test_without_redis_nothing_counts() -> None:
    away = RedisStore("redis://127.0.0.1:1", connect_timeout_s=0.2)
    with pytest.raises(CacheUnavailable):
        await away.count_try("door", 60)
    await away.close()
