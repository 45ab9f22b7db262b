"""Grants, locks, confidences and counts are kept as long as they should be; only newer ones replace them."""

import asyncio
import time
from datetime import UTC, datetime, timedelta

import msgspec
import redis

from shared.adapters.redis import RedisStore
from shared.adapters.redis.names import license_key, lock_key
from shared.adapters.redis.store import (
    GRANT_TTL_S,
    LOCK_TTL_S,
)
from shared.domain.access.license_changes import suspended
from shared.domain.access.licenses import revoked_key
from shared.domain.confidence.answers import CacheResult
from tests.support.redis_hot_path import CONFIDENCE, HASH, VERDICT, admitted, find, grant_of


async def test_a_newer_grant_is_never_replaced_by_an_older_one(store: RedisStore) -> None:
    old = grant_of()
    revoked = msgspec.structs.replace(old, key=revoked_key(old.key))
    await store.store_grant(HASH, old)
    await store.store_grant(HASH, revoked)
    await store.store_grant(HASH, old)
    answer = await admitted(store, confidence_key=CONFIDENCE)
    assert answer.record is not None
    assert b'"revoked"' in answer.record
    assert (answer.allowed, answer.rate, answer.cache_result) == (False, None, CacheResult(CONFIDENCE))


async def test_a_grant_that_allows_nothing_counts_nothing(store: RedisStore, client: redis.Redis) -> None:
    grant = grant_of()
    await store.store_grant(HASH, msgspec.structs.replace(grant, license=suspended(grant.license)))
    await store.take_request(HASH, confidence_key=CONFIDENCE)
    assert client.keys("*") == [license_key(HASH).encode()]


async def test_the_same_grant_read_again_lives_as_long_again(store: RedisStore, client: redis.Redis) -> None:
    await store.store_grant(HASH, grant_of())
    client.pexpire(license_key(HASH), 1_000)
    assert 0 < (await admitted(store)).life_ms <= 1_000
    await store.store_grant(HASH, grant_of())
    assert 50_000 < (await admitted(store)).life_ms <= GRANT_TTL_S * 1_000


async def test_one_of_all_claims_a_refresh(store: RedisStore) -> None:
    assert await store.claim_refresh(HASH, 0.05)
    assert not await store.claim_refresh(HASH, 0.05)
    await asyncio.sleep(0.06)
    assert await store.claim_refresh(HASH, 0.05)


async def test_a_record_ends_with_its_grant(store: RedisStore, client: redis.Redis) -> None:
    await store.store_grant(HASH, grant_of(expires_at=datetime.now(UTC) + timedelta(seconds=10)))
    assert 9_000 < client.pttl(license_key(HASH)) <= 10_000


async def test_a_lock_is_released_by_its_holder_only(store: RedisStore, client: redis.Redis) -> None:
    await store.store_grant(HASH, grant_of())
    holder = (await find(store)).lock_token
    assert holder is not None
    assert (await find(store)).lock_token is None
    assert await store.release(CONFIDENCE, "another") is False
    await store.put_confidences([(CONFIDENCE, VERDICT, "another")])
    assert client.get(lock_key(CONFIDENCE)) == holder.encode()
    assert await store.release(CONFIDENCE, holder) is True
    client.delete(CONFIDENCE)
    assert (await find(store)).lock_token not in (None, holder)


async def test_the_lock_of_a_dead_holder_ends(store: RedisStore, client: redis.Redis) -> None:
    await store.store_grant(HASH, grant_of())
    assert (await find(store)).lock_token is not None
    client.pexpire(lock_key(CONFIDENCE), 30)
    started = time.monotonic()
    while (await find(store)).lock_token is None:
        assert time.monotonic() < started + LOCK_TTL_S
        await asyncio.sleep(0.01)


async def test_confidences_are_read_with_their_age_and_end(store: RedisStore, client: redis.Redis) -> None:
    await store.put_confidences([(CONFIDENCE, VERDICT, None)])
    client.pexpire(CONFIDENCE, 500)
    found = await store.get_confidence(CONFIDENCE)
    assert found is not None
    assert (found.key, found.output) == (CONFIDENCE, VERDICT)
    assert 1_500 <= found.age_ms < 2_000


async def test_who_waits_for_a_confidence_is_told_when_nobody_computes_it(store: RedisStore) -> None:
    await store.store_grant(HASH, grant_of())
    assert await store.get_confidence(CONFIDENCE) is None
    token = (await find(store)).lock_token
    assert token is not None
    assert await store.get_confidence(CONFIDENCE) == CacheResult(CONFIDENCE)
    await store.release(CONFIDENCE, token)
    assert await store.get_confidence(CONFIDENCE) is None


async def test_counts_add_up(store: RedisStore) -> None:
    await store.add_counts({"requests": 2, "errors": 1})
    await store.add_counts({"requests": 3})
    assert await store.counts() == {"requests": 5, "errors": 1}
