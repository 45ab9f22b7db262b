"""The limiter is exact: it equals a model, forgets what is past, and lasts through changed limits."""

import asyncio
import time

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.adapters.redis import RedisStore
from shared.adapters.redis.names import license_key, rate_key
from tests.support.redis_hot_path import HASH, admitted, grant_of, remaining

WINDOW_S = 0.04


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
                    # This process stood still for a whole window, so the log has expired.
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


@settings(max_examples=40, deadline=None)
@given(
    limit=st.integers(1, 8),
    asked=st.lists(st.tuples(st.floats(0, 25), st.integers(1, 10)), min_size=5, max_size=25),
)
def test_costs_equal_the_model(valkey_url: str, limit: int, asked: list[tuple[float, int]]) -> None:
    """The model: n units are allowed, all or none, while at most `limit` - n lie in [now - window, now]."""
    window_us = round(WINDOW_S * 1e6)

    async def run() -> None:
        store = RedisStore(valkey_url, window_s=WINDOW_S)
        with redis.Redis.from_url(valkey_url) as client:
            client.delete(rate_key(HASH), license_key(HASH))
            await store.store_grant(HASH, grant_of(limit))
            log: list[int] = []
            for pause_ms, cost in asked:
                await asyncio.sleep(pause_ms / 1000)
                answer = await admitted(store, cost=cost)
                assert answer.rate is not None
                end = client.lindex(rate_key(HASH), -1)
                if end is None:
                    # This process stood still for a whole window, so the log has expired.
                    break
                units = min(cost, limit)
                if not answer.allowed:
                    # Once the reset has passed, exactly the units that are missing have left.
                    log = log[-client.llen(rate_key(HASH)) :]
                    missing = len(log) + units - limit
                    assert missing >= 1
                    assert answer.rate.remaining == limit - len(log)
                    now = log[missing - 1] + window_us + 1 - round(answer.rate.reset_s * 1e6)
                    assert log[-1] <= now <= log[0] + window_us
                    continue
                now = int(end)
                log = [each for each in log if each >= now - window_us] + [now] * units
                assert len(log) <= limit
                assert answer.rate.remaining == limit - len(log)
                # Without it, this process stood still for a whole window, so the log has expired.
                assert [int(each) for each in client.lrange(rate_key(HASH), 0, -1)] in (log, [])
        await store.close()

    asyncio.run(run())


@pytest.mark.parametrize(
    ("limit", "before", "cost"), [(10, 1, 10), (10, 9, 7), (10, 4, 8), (3, 2, 2), (4, 3, 50)]
)
async def test_a_refused_cost_says_when_all_its_units_fit_again(
    valkey_url: str, limit: int, before: int, cost: int
) -> None:
    """Its first unit was taken before it was refused, and will be taken again."""
    store = RedisStore(valkey_url, window_s=0.5)
    with redis.Redis.from_url(valkey_url) as client:
        client.delete(rate_key(HASH), license_key(HASH))
    await store.store_grant(HASH, grant_of(limit))
    for _ in range(before):
        await admitted(store)
        await asyncio.sleep(0.01)
    assert (await admitted(store)).allowed
    refused = await admitted(store, cost=cost, paid=1)
    assert not refused.allowed
    assert refused.rate is not None
    await asyncio.sleep(refused.rate.reset_s)
    assert (await admitted(store)).allowed
    assert (await admitted(store, cost=cost, paid=1)).allowed
    await store.close()


async def test_requests_of_one_call_have_their_own_costs(store: RedisStore, client: redis.Redis) -> None:
    await store.store_grant(HASH, grant_of(limit=100))
    await store.take_request(HASH)
    costs = [1, 5, 1, 10, 1, 1, 7]
    answers = await asyncio.gather(*(admitted(store, cost=cost) for cost in costs))
    assert [answer.allowed for answer in answers] == [True] * 7
    assert client.llen(rate_key(HASH)) == 1 + sum(costs)
    refused = await admitted(store, cost=80)
    assert (refused.allowed, refused.rate and refused.rate.remaining) == (False, 100 - 27)
    assert client.llen(rate_key(HASH)) == 27


async def test_costs_are_exact_over_processes(redis_url: str) -> None:
    """Two stores are two connections, as two processes have."""
    stores = [RedisStore(redis_url), RedisStore(redis_url)]
    await stores[0].store_grant(HASH, grant_of(limit=100))
    answers = await asyncio.gather(
        *(admitted(stores[n % 2], cost=1 + n % 7) for n in range(60)), return_exceptions=False
    )
    taken = sum(1 + n % 7 for n, answer in enumerate(answers) if answer.allowed)
    with redis.Redis.from_url(redis_url) as client:
        assert client.llen(rate_key(HASH)) == taken <= 100
    for store in stores:
        await store.close()
