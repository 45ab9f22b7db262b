"""The limits of a burst and of all keys of a license: exact, all or none, and the same as a simple model."""

import asyncio
from typing import NamedTuple

import msgspec
import pytest
import redis
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.adapters.redis import RedisStore
from shared.adapters.redis.names import license_rate_key, rate_key
from shared.domain.access.admission import Admission
from shared.domain.access.licenses import Grant
from shared.domain.access.plans import Overrides
from shared.domain.access.rate_limit import Limits, limits_of
from tests.support.license_plans import PLANS
from tests.support.rate_model import RateModel, Verdict
from tests.support.redis_hot_path import HASH, admitted, grant_of

WINDOW_S, BURST_WINDOW_S = 0.02, 0.008
KEYS = (HASH, "6c" * 32, "7d" * 32)
LICENSE = grant_of().license.license_id


class Request(NamedTuple):
    """One that comes `pause_ms` after the one before."""

    pause_ms: float
    key: int
    cost: int
    paid: int


requests = st.builds(
    Request,
    st.sampled_from([0.0, 0.0, 1.0, 4.0, 9.0, 21.0]),
    st.integers(0, len(KEYS) - 1),
    st.integers(1, 6),
    st.integers(0, 1),
)


def grant(limits: Limits) -> Grant:
    overrides = Overrides(
        requests_per_minute=limits.key,
        requests_per_second=limits.burst,
        license_requests_per_minute=limits.license,
    )
    plain = grant_of()
    return PLANS.grant(msgspec.structs.replace(plain.license, overrides=overrides), plain.key)


def in_window(log: list[int], now: int) -> list[int]:
    return [each for each in log if each >= now - round(WINDOW_S * 1e6)]


def server_us(client: redis.Redis) -> int:
    seconds, microseconds = client.time()
    return int(seconds) * 1_000_000 + int(microseconds)


@settings(max_examples=30, deadline=None)
@given(
    limits=st.builds(Limits, st.integers(2, 8), st.integers(0, 5), st.integers(0, 12)),
    asked=st.lists(requests, min_size=5, max_size=20),
)
def test_every_limit_equals_the_model(valkey_url: str, limits: Limits, asked: list[Request]) -> None:
    """An admitted request leaves its time in the logs; a refused one came between two known times."""
    model = RateModel(round(WINDOW_S * 1e6), round(BURST_WINDOW_S * 1e6))
    wanted = limits_of(grant(limits).terms)

    async def run() -> None:
        store = RedisStore(valkey_url, window_s=WINDOW_S, burst_window_s=BURST_WINDOW_S)
        with redis.Redis.from_url(valkey_url) as client:
            client.flushdb()
            await store.store_grants([(key, grant(limits)) for key in KEYS])
            for pause_ms, number, cost, wants_paid in asked:
                await asyncio.sleep(pause_ms / 1000)
                key, paid = KEYS[number], min(wants_paid, cost - 1)
                before = server_us(client)
                answer = await admitted(store, key, cost=cost, paid=paid)
                after = server_us(client)
                if answer.allowed:
                    last = client.lindex(rate_key(key), -1)
                    if last is None:
                        # This process stood still for a whole window, so the log has expired.
                        break
                    verdict = model.take(key, LICENSE, wanted, int(last), cost=cost, paid=paid)
                    check_admitted(answer, verdict)
                    for log, name in (
                        (model.keys[key], rate_key(key)),
                        (model.licenses[LICENSE], license_rate_key(LICENSE)),
                    ):
                        held = [int(each) for each in client.lrange(name, 0, -1)]
                        later = server_us(client)
                        assert in_window(held, later) == in_window(log, later)
                else:
                    verdict = model.take(key, LICENSE, wanted, before, cost=cost, paid=paid)
                    check_refused(answer, verdict, before, after)
        await store.close()

    asyncio.run(run())


def check_admitted(answer: Admission, verdict: Verdict) -> None:
    assert verdict.allowed
    assert answer.rate is not None
    assert answer.rate.remaining == verdict.key_left
    left = {other.name: other.remaining for other in answer.rate.others}
    assert left.get("license") == verdict.license_left


def check_refused(answer: Admission, verdict: Verdict, before: int, after: int) -> None:
    """Units only leave while time passes: a request that is refused later would be refused before, too."""
    assert not verdict.allowed
    rate = answer.rate
    assert rate is not None
    waits = {"key": rate.reset_s} | {other.name: other.reset_s for other in rate.others}
    room_at = {name: before + wait for name, wait in verdict.waits.items()}
    assert rate.refused_by in room_at
    said = round(waits[rate.refused_by] * 1e6)
    assert room_at[rate.refused_by] - after <= said <= room_at[rate.refused_by] - before
    assert room_at[rate.refused_by] == max(room_at.values())


async def test_all_keys_of_a_license_share_its_limit(store: RedisStore, client: redis.Redis) -> None:
    await store.store_grants([(key, grant(Limits(10, license=15))) for key in KEYS])
    answers = await asyncio.gather(*(admitted(store, KEYS[n % 3]) for n in range(60)))
    assert sum(answer.allowed for answer in answers) == 15
    logs = [int(client.llen(rate_key(key))) for key in KEYS]
    assert (sum(logs), client.llen(license_rate_key(LICENSE))) == (15, 15)
    refused = await admitted(store, KEYS[0], cost=4)
    assert refused.rate is not None
    assert (refused.rate.refused_by, refused.rate.others[0].remaining) == ("license", 0)
    assert [int(client.llen(rate_key(key))) for key in KEYS] == logs, "from both or from none"
    assert 59 < client.pttl(license_rate_key(LICENSE)) / 1000 <= 60.1


async def test_the_limit_of_a_license_is_exact_over_processes(redis_url: str) -> None:
    stores = [RedisStore(redis_url), RedisStore(redis_url)]
    await stores[0].store_grants([(key, grant(Limits(50, license=70))) for key in KEYS])
    answers = await asyncio.gather(*(admitted(stores[n % 2], KEYS[n % 3], cost=1 + n % 3) for n in range(90)))
    taken = sum(1 + n % 3 for n, answer in enumerate(answers) if answer.allowed)
    with redis.Redis.from_url(redis_url) as client:
        assert client.llen(license_rate_key(LICENSE)) == taken == 70
    for store in stores:
        await store.close()


async def test_a_burst_is_refused_for_the_rest_of_its_second(redis_url: str) -> None:
    store = RedisStore(redis_url, burst_window_s=0.1)
    await store.store_grant(HASH, grant(Limits(50, burst=3)))
    answers = [await admitted(store) for _ in range(5)]
    assert [answer.allowed for answer in answers] == [True] * 3 + [False] * 2
    rate = answers[-1].rate
    assert rate is not None
    assert (rate.remaining, rate.refused_by, rate.others[0].name) == (47, "burst", "burst")
    await asyncio.sleep(rate.others[0].reset_s)
    assert (await admitted(store)).allowed
    await store.close()


@pytest.mark.parametrize("limits", [Limits(6, burst=4), Limits(6, license=5), Limits(6, burst=2, license=3)])
async def test_a_refused_cost_is_admitted_after_the_longest_wait(valkey_url: str, limits: Limits) -> None:
    """Its first unit was taken before it was refused, and will be taken again."""
    store = RedisStore(valkey_url, window_s=0.3, burst_window_s=0.1)
    with redis.Redis.from_url(valkey_url) as client:
        client.flushdb()
    await store.store_grant(HASH, grant(limits))
    assert (await admitted(store)).allowed
    assert (await admitted(store)).allowed
    refused = await admitted(store, cost=50, paid=1)
    assert not refused.allowed
    assert refused.rate is not None
    waits = {"key": refused.rate.reset_s} | {each.name: each.reset_s for each in refused.rate.others}
    await asyncio.sleep(waits[refused.rate.refused_by])
    assert (await admitted(store)).allowed
    assert (await admitted(store, cost=50, paid=1)).allowed
    await store.close()
