"""The hot path against a real Valkey: one call, exact limits, locks, and outages that nobody waits for."""

import asyncio
import hashlib
import logging
import os
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.adapters.redis import RedisStore
from shared.adapters.redis.names import license_key, lock_key, rate_key
from shared.adapters.redis.store import (
    GRANT_TTL_S,
    LOCK_TTL_S,
    MAX_REQUESTS_PER_CALL,
    SOCKET_TIMEOUT_S,
    _Script,
)
from shared.domain.access.admission import Admission, decode_record
from shared.domain.access.licenses import ApiKey, Grant, License, revoked_key, suspended
from shared.domain.confidence.answers import CONFIDENCE_TTL_S, CacheResult, ModelOutput
from shared.errors import Unavailable
from tests.support.certificates import certificate, tls_in_front_of
from tests.support.ports import free_port
from tests.support.servers import running_valkey, until_readable

HASH = "5b" * 32
CONFIDENCE = "confidence:{vwap_bounce.1:ES:LONG:21,35,,,}:m1"
VERDICT = ModelOutput(0.5, "model", "m1")
WINDOW_S = 0.04


def grant_of(limit: int = 100, expires_at: datetime | None = None) -> Grant:
    now = datetime.now(UTC)
    return Grant(
        license=License(
            license_id="lic_Ab1234567890",
            account_id="acct-1",
            symbols=("ES",),
            requests_per_minute=limit,
            expires_at=expires_at,
            created_at=now,
        ),
        key=ApiKey(
            public_id="Ab12Cd", key_hash=HASH, license_id="lic_Ab1234567890", scopes=("bot",), created_at=now
        ),
    )


async def admitted(store: RedisStore, key_hash: str = HASH, **options: Any) -> Admission:
    """For a license that is cached."""
    answer = await store.take_request(key_hash, **options)
    assert answer is not None
    return answer


async def remaining(store: RedisStore) -> int:
    answer = await admitted(store)
    assert answer.rate is not None
    return answer.rate.remaining


async def find(store: RedisStore, key: str = CONFIDENCE) -> CacheResult:
    answer = await admitted(store, confidence_key=key)
    assert answer.cache_result is not None
    return answer.cache_result


async def until(condition: Callable[[], bool], within_s: float = 5.0) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "it did not come true in time"
        await asyncio.sleep(0.01)


async def until_back(store: RedisStore, within_s: float = 5.0) -> Admission | None:
    deadline = time.monotonic() + within_s
    while True:
        try:
            return await store.take_request(HASH)
        except Unavailable:
            assert time.monotonic() < deadline, "Redis did not come back in time"
            await asyncio.sleep(0.02)


@pytest.fixture
async def store(redis_url: str) -> AsyncIterator[RedisStore]:
    store = RedisStore(redis_url)
    yield store
    await store.close()


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url) as client:
        yield client


@contextmanager
def own_server(directory: Path) -> Iterator[tuple[str, int]]:
    """A Valkey of the test's own, to be stopped and killed: its URL and process id."""
    with running_valkey(directory, free_port()) as url, redis.Redis.from_url(url) as client:
        yield url, int(client.info("server")["process_id"])


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
    assert [grant.license.requests_per_minute for _, grant in records] == limits
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


@settings(max_examples=40, deadline=None)
@given(limit=st.integers(1, 6), pauses_ms=st.lists(st.floats(0, 25), min_size=5, max_size=25))
def test_the_limiter_equals_the_model(valkey_url: str, limit: int, pauses_ms: list[float]) -> None:
    """The model: allowed while fewer than `limit` allowed requests lie in [now - window, now]."""
    window_us = round(WINDOW_S * 1e6)

    async def run() -> None:
        store = RedisStore(valkey_url, window_s=WINDOW_S)
        with redis.Redis.from_url(valkey_url) as client:
            client.delete(rate_key(HASH), license_key(HASH))
            await store.store_grant(HASH, grant_of(limit))
            log: list[int] = []
            for pause_ms in pauses_ms:
                await asyncio.sleep(pause_ms / 1000)
                answer = await admitted(store)
                assert answer.rate is not None
                reset_us = round(answer.rate.reset_s * 1e6)
                end = client.lindex(rate_key(HASH), -1 if answer.allowed else 0)
                if end is None:
                    # This process was held up for a whole window, and the log has ended meanwhile.
                    break
                now = int(end) if answer.allowed else int(end) + window_us + 1 - reset_us
                held = [each for each in log if each >= now - window_us]
                assert answer.allowed == (len(held) < limit)
                if answer.allowed:
                    held.append(now)
                    log.append(now)
                assert answer.rate.remaining == limit - len(held)
                assert reset_us == held[0] + window_us + 1 - now
        await store.close()

    asyncio.run(run())


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(old=st.integers(0, 3_000), recent=st.integers(0, 300))
def test_what_is_past_the_window_is_forgotten_exactly(valkey_url: str, old: int, recent: int) -> None:
    async def run() -> None:
        store = RedisStore(valkey_url)
        with redis.Redis.from_url(valkey_url) as client:
            client.delete(rate_key(HASH), license_key(HASH))
            await store.store_grant(HASH, grant_of(1_000))
            now = round(time.time() * 1e6)
            times = [now - 61_000_000 - 1_000 * i for i in range(old)] + [
                now - 1_000 * i for i in range(recent)
            ]
            if times:
                client.rpush(rate_key(HASH), *sorted(times))
            assert await remaining(store) == 1_000 - recent - 1
            assert client.llen(rate_key(HASH)) == recent + 1
        await store.close()

    asyncio.run(run())


async def test_who_waits_out_the_reset_is_let_in_and_asking_costs_nothing(redis_url: str) -> None:
    store = RedisStore(redis_url, window_s=0.15)
    await store.store_grant(HASH, grant_of(limit=2))
    for _ in range(2):
        assert (await admitted(store)).allowed
        await asyncio.sleep(0.03)
    for _ in range(4):
        for _ in range(5):
            refused = await admitted(store)
            assert not refused.allowed
        assert refused.rate is not None
        await asyncio.sleep(refused.rate.reset_s)
        assert (await admitted(store)).allowed
    await store.close()


async def test_a_lowered_limit_holds_and_tells_when_it_frees(store: RedisStore, client: redis.Redis) -> None:
    now = round(time.time() * 1e6)
    client.rpush(rate_key(HASH), *(now - 50_000_000 + i * 1_000_000 for i in range(10)))
    await store.store_grant(HASH, grant_of(limit=4))
    answer = await admitted(store)
    assert answer.rate is not None
    # The seventh oldest has to go before a fourth has room.
    assert (answer.allowed, answer.rate.remaining) == (False, 0)
    assert answer.rate.reset_s == pytest.approx(16, abs=0.5)


async def test_a_clock_set_back_does_not_lock_a_key_out(store: RedisStore, client: redis.Redis) -> None:
    client.rpush(rate_key(HASH), *[round((time.time() + 3600) * 1e6)] * 3)
    await store.store_grant(HASH, grant_of(limit=3))
    assert await remaining(store) == 2


async def test_memory_of_a_full_key(store: RedisStore, client: redis.Redis) -> None:
    await store.store_grant(HASH, grant_of(limit=100))
    await asyncio.gather(*(store.take_request(HASH) for _ in range(120)))
    assert client.llen(rate_key(HASH)) == 100
    assert 0 < (client.memory_usage(rate_key(HASH), samples=0) or 0) <= 1_200


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


async def test_a_user_with_a_password_from_the_url(redis_url: str, client: redis.Redis) -> None:
    client.acl_setuser("functions", enabled=True, passwords=["+p@ss/word"], keys=["*"], commands=["+@all"])
    place = redis_url.rsplit("@", 1)[1]
    store = RedisStore(f"redis://functions:p%40ss%2Fword@{place}")
    assert await store.take_request(HASH) is None
    await store.close()
    wrong = RedisStore(f"redis://functions:wrong@{place}")
    with pytest.raises(Unavailable):
        await wrong.take_request(HASH)
    await wrong.close()


async def test_credentials_from_a_provider(redis_url: str, client: redis.Redis) -> None:
    client.acl_setuser("entra", enabled=True, passwords=["+token"], keys=["*"], commands=["+@all"])
    provider = redis.UsernamePasswordCredentialProvider("entra", "token")
    store = RedisStore(f"redis://{redis_url.rsplit('@', 1)[1]}", credential_provider=provider)
    assert await store.take_request(HASH) is None
    await store.close()


async def test_tls_is_spoken_and_the_certificate_checked(redis_url: str, tmp_path: Path) -> None:
    pem = tmp_path / "localhost.pem"
    certificate(pem)
    login, place = redis_url.removeprefix("redis://").rsplit("@", 1)
    async with tls_in_front_of(int(place.split(":")[1].split("/")[0]), pem) as port:
        store = RedisStore(f"rediss://{login}@localhost:{port}/0?ssl_ca_certs={pem}")
        assert await store.take_request(HASH) is None
        await store.close()
        stranger = RedisStore(f"rediss://{login}@localhost:{port}/0")
        with pytest.raises(Unavailable):
            await stranger.take_request(HASH)
        await stranger.close()
