"""Provides a store and a plain client on the session's Valkey, which is empty."""

from collections.abc import AsyncIterator, Iterator

import pytest
import redis

from shared.adapters.redis import RedisStore


@pytest.fixture
async def store(redis_url: str) -> AsyncIterator[RedisStore]:
    store = RedisStore(redis_url)
    yield store
    await store.close()


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url) as client:
        yield client
