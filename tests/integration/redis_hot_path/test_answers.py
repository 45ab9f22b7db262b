"""License, limit and confidence come from a real Valkey in one answer."""

import asyncio

import msgspec
import pytest
import redis

from shared.adapters.redis import RedisStore
from shared.adapters.redis.names import license_key, lock_key, rate_key
from shared.adapters.redis.store import (
    GRANT_TTL_S,
    LOCK_TTL_S,
    MAX_REQUESTS_PER_CALL,
)
from shared.domain.access.admission import decode_record
from shared.domain.access.licenses import revoked_key
from shared.domain.confidence.answers import CONFIDENCE_TTL_S, CacheResult, ModelOutput
from tests.support.redis_hot_path import CONFIDENCE, HASH, VERDICT, admitted, find, grant_of


async def test_license_limit_and_confidence_come_in_one_answer(store: RedisStore) -> None:
    assert await store.take_request(HASH, confidence_key=CONFIDENCE) is None
    grant = grant_of(limit=3)
    await store.store_grant(HASH, grant)
    miss = await admitted(store, confidence_key=CONFIDENCE)
    assert miss.record is not None
    assert decode_record(miss.record)[1] == grant
    assert miss.allowed
    assert miss.rate is not None
    assert (miss.rate.limit, miss.rate.remaining) == (3, 2)
    assert miss.rate.reset_s == pytest.approx(60, abs=0.001)
    assert miss.cache_result is not None
    assert miss.cache_result.output is None
    await store.put_confidences([(CONFIDENCE, VERDICT, miss.cache_result.lock_token)])
    hit = await find(store)
    assert (hit.key, hit.output, hit.lock_token) == (CONFIDENCE, VERDICT, None)
    assert 0 <= hit.age_ms < 500
    await store.take_request(HASH)
    refused = await admitted(store, confidence_key=CONFIDENCE)
    assert refused.rate is not None
    assert (refused.allowed, refused.rate.remaining) == (False, 0)
    assert refused.cache_result == CacheResult(CONFIDENCE)


async def test_a_record_is_sent_to_who_has_another(store: RedisStore) -> None:
    grant = grant_of()
    await store.store_grant(HASH, grant)
    first = await admitted(store)
    assert first.record is not None
    tag, _ = decode_record(first.record)
    known = await admitted(store, tag=tag)
    assert (known.record, known.allowed) == (None, True)
    # Of the same revision, as two changes that cross each other may leave it.
    other = msgspec.structs.replace(grant, key=revoked_key(grant.key))
    other = msgspec.structs.replace(other, license=msgspec.structs.replace(grant.license, revision=0))
    assert other.revision == grant.revision
    await store.store_grant(HASH, other)
    told = await admitted(store, tag=tag)
    assert told.record is not None
    assert decode_record(told.record)[1] == other
    assert (told.allowed, told.rate) == (False, None)


async def test_each_caller_gets_the_record_of_its_own_license(store: RedisStore) -> None:
    hashes = [f"{number:064x}" for number in range(6)]
    limits = [10 + number for number in range(6)]
    await store.store_grants((each, grant_of(limit)) for each, limit in zip(hashes, limits, strict=True))
    told = [each.record for each in await asyncio.gather(*(admitted(store, each) for each in hashes))]
    records = [decode_record(record) for record in told if record]
    assert [grant.terms.requests_per_minute for _, grant in records] == limits
    # Every other caller has its own by now; the tag of another one's is not enough.
    tags = [tag if number % 2 else records[0][0] for number, (tag, _) in enumerate(records)]
    again = await asyncio.gather(
        *(admitted(store, each, tag=tag) for each, tag in zip(hashes, tags, strict=True))
    )
    assert [each.record for each in again] == [None, None, told[2], None, told[4], None]


async def test_as_many_confidences_as_a_call_can_ask_for_are_told_apart(store: RedisStore) -> None:
    await store.store_grant(HASH, grant_of(limit=1_000))
    keys = [f"{CONFIDENCE}{number}" for number in range(MAX_REQUESTS_PER_CALL)]
    leading = await asyncio.gather(*(find(store, key) for key in keys))
    assert [cache_result.key for cache_result in leading if cache_result.lock_token] == keys
    outputs = [ModelOutput(number / 1_000, "model", "m1") for number in range(len(keys))]
    await store.put_confidences(
        [(each.key, output, each.lock_token) for each, output in zip(leading, outputs, strict=True)]
    )
    found = await asyncio.gather(*(find(store, key) for key in keys))
    assert [(each.key, each.output) for each in found] == list(zip(keys, outputs, strict=True))


async def test_every_confidence_of_a_call_has_a_leader_of_its_own(
    store: RedisStore, client: redis.Redis
) -> None:
    keys = [CONFIDENCE, CONFIDENCE + "2"]
    await store.store_grant(HASH, grant_of())
    answers = await asyncio.gather(*(admitted(store, confidence_key=key) for key in keys * 2))
    lookups = [each.cache_result for each in answers if each.cache_result]
    assert [cache_result.lock_token is not None for cache_result in lookups] == [True, True, False, False]
    entries = [(cache_result.key, VERDICT, cache_result.lock_token) for cache_result in lookups[:2]]
    await store.put_confidences(entries)
    assert [client.get(lock_key(key)) for key in keys] == [None, None]


async def test_askers_of_one_call_share_what_is_found(store: RedisStore, client: redis.Redis) -> None:
    other = CONFIDENCE + "2"
    await store.store_grant(HASH, grant_of(limit=4))
    await store.put_confidences([(other, VERDICT, None)])
    answers = await asyncio.gather(
        *(
            store.take_request(HASH, confidence_key=key)
            for key in (CONFIDENCE, other, CONFIDENCE, other, other)
        )
    )
    lookups = [each.cache_result for each in answers if each and each.cache_result]
    assert [cache_result.key for cache_result in lookups] == [CONFIDENCE, other, CONFIDENCE, other, other]
    assert [cache_result.output for cache_result in lookups] == [None, VERDICT, None, VERDICT, VERDICT]
    leader, *others = [cache_result.lock_token for cache_result in lookups]
    assert leader is not None
    assert leader.encode() == client.get(lock_key(CONFIDENCE))
    assert others == [None] * 4
    assert [each.allowed for each in answers if each] == [True] * 4 + [False]


async def test_a_refused_request_takes_no_lock_from_those_behind_it(
    store: RedisStore, client: redis.Redis
) -> None:
    second = "6c" * 32
    await store.store_grant(HASH, grant_of(limit=1))
    await store.store_grant(second, grant_of())
    await store.take_request(HASH)
    refused, let_in = await asyncio.gather(
        *(admitted(store, key_hash, confidence_key=CONFIDENCE) for key_hash in (HASH, second))
    )
    assert (refused.allowed, let_in.allowed) == (False, True)
    assert refused.cache_result == CacheResult(CONFIDENCE)
    assert let_in.cache_result is not None
    assert let_in.cache_result.lock_token is not None
    # With nobody let in, nobody computes it, and the lock stays free.
    client.delete(lock_key(CONFIDENCE))
    await store.take_request(HASH, confidence_key=CONFIDENCE)
    assert client.get(lock_key(CONFIDENCE)) is None


async def test_rubbish_in_the_cache_is_no_verdict_and_no_lock(store: RedisStore, client: redis.Redis) -> None:
    await store.store_grant(HASH, grant_of())
    client.set(CONFIDENCE, b"\xff", px=1_000)
    found = await find(store)
    assert (found.output, found.lock_token) == (None, None)
    assert await store.get_confidence(CONFIDENCE) is None


async def test_every_key_has_a_ttl(store: RedisStore, client: redis.Redis) -> None:
    await store.store_grant(HASH, grant_of())
    await store.take_request(HASH, confidence_key=CONFIDENCE)
    await store.put_confidences([(CONFIDENCE + "2", VERDICT, None)])
    await store.add_counts({"requests": 2})
    lives = {str(key, "ascii"): client.pttl(key) for key in client.scan_iter()}
    assert lives.keys() == {
        license_key(HASH),
        rate_key(HASH),
        lock_key(CONFIDENCE),
        CONFIDENCE + "2",
        "counters",
    }
    assert all(life > 0 for life in lives.values())
    assert lives[license_key(HASH)] <= GRANT_TTL_S * 1000
    assert lives[lock_key(CONFIDENCE)] <= LOCK_TTL_S * 1000
    assert lives[CONFIDENCE + "2"] <= CONFIDENCE_TTL_S * 1000
