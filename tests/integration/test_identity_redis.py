"""Tokens as passwords on a real Valkey, which hangs up on whoever's token has ended."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any

import pytest
import redis

from shared.adapters.identity import REDIS_SCOPE, Tokens
from shared.adapters.redis.entra import EntraRedisStore
from shared.errors import Unavailable
from tests.support.entra import Issuer

LIFETIME_S = 1.6
RENEW_AFTER_S = 0.8
HASH = "5b" * 32


@pytest.fixture
def admin(redis_url: str) -> redis.Redis:
    return redis.Redis.from_url(redis_url)


@pytest.fixture
async def issuer(admin: redis.Redis) -> AsyncIterator[Issuer]:
    """Each of its tokens is the password of a user of its own, who is deleted at the token's end.

    The server hangs up on a deleted user's connections: on those, that is, whose last login was by that
    token.
    """
    issuer = Issuer(LIFETIME_S, RENEW_AFTER_S)
    users: dict[str, asyncio.TimerHandle] = {}

    async def let_in(token: str, claims: dict[str, Any]) -> None:
        user = claims["oid"]
        admin.acl_setuser(user, enabled=True, passwords=[f"+{token}"], keys=["*"], commands=["+@all"])
        loop = asyncio.get_running_loop()
        users[user] = loop.call_later(claims["exp"] - time.time(), admin.acl_deluser, user)

    issuer.on_issue = let_in
    yield issuer
    for user, ending in users.items():
        ending.cancel()
        admin.acl_deluser(user)
    admin.close()


@pytest.fixture
async def tokens(issuer: Issuer) -> AsyncIterator[Tokens]:
    async with Tokens(issuer, renewal_retry_s=0.1, outage_retry_s=0.1) as tokens:
        yield tokens


@pytest.fixture
async def store(redis_url: str, tokens: Tokens) -> AsyncIterator[EntraRedisStore]:
    store = EntraRedisStore(f"redis://{redis_url.rsplit('@', 1)[1]}", tokens, REDIS_SCOPE)
    yield store
    await store.close()


def connections(admin: redis.Redis) -> dict[str, str]:
    """The user that each connection last logged in as, by the connection's id."""
    return {
        str(each["id"]): str(each["user"])
        for each in admin.client_list()
        if str(each["user"]).startswith("oid-")
    }


async def test_one_connection_outlives_its_tokens_under_load(
    store: EntraRedisStore, issuer: Issuer, admin: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    issuer.delay_s = 0.3
    answers = 0
    seen: dict[str, set[str]] = {}
    ends_at = time.monotonic() + 4 * LIFETIME_S

    async def keep_asking() -> None:
        nonlocal answers
        while time.monotonic() < ends_at:
            assert await store.take_request(HASH) is None
            answers += 1
            await asyncio.sleep(0.002)

    async def watch() -> None:
        while time.monotonic() < ends_at:
            for connection, user in connections(admin).items():
                seen.setdefault(connection, set()).add(user)
            await asyncio.sleep(0.1)

    async with asyncio.TaskGroup() as group:
        for _ in range(20):
            group.create_task(keep_asking())
        group.create_task(watch())
    (users,) = seen.values()
    assert len(users) >= 4
    assert users <= {f"oid-{number + 1}" for number in range(len(issuer.issued))}
    assert answers > 1000
    assert store.outage_count == 0
    assert not issuer.leaks(caplog.text)


async def test_an_idle_connection_is_kept_logged_in(
    store: EntraRedisStore, issuer: Issuer, admin: redis.Redis
) -> None:
    await store.ping()
    before = connections(admin)
    await asyncio.sleep(LIFETIME_S * 1.5)
    await store.ping()
    after = connections(admin)
    assert before.keys() == after.keys()
    assert before != after
    assert len(issuer.issued) >= 2


async def test_without_a_new_token_the_old_one_serves_to_its_end_and_then_the_cache_is_away(
    store: EntraRedisStore, issuer: Issuer, caplog: pytest.LogCaptureFixture
) -> None:
    await store.ping()
    issuer.is_failing = True
    before_end = time.monotonic() + LIFETIME_S * 0.7
    while time.monotonic() < before_end:
        await store.ping()
        await asyncio.sleep(0.01)
    await asyncio.sleep(LIFETIME_S * 0.5)
    for _ in range(20):
        began = time.monotonic()
        with pytest.raises(Unavailable) as refused:
            await store.take_request(HASH)
        assert refused.value.code == "cache_unavailable"
        assert time.monotonic() - began < 0.5
        await asyncio.sleep(0.1)
    issuer.is_failing = False
    async with asyncio.timeout(5):
        while True:
            with suppress(Unavailable):
                await store.ping()
                break
            await asyncio.sleep(0.05)
    assert store.outage_count == 1
    assert "the issuer is out of order" in caplog.text
    assert not issuer.leaks(caplog.text)


async def until(condition: Callable[[], bool], within_s: float = 5.0) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "it did not come true in time"
        await asyncio.sleep(0.02)


async def test_a_server_that_refuses_the_new_token_is_asked_again(
    store: EntraRedisStore,
    issuer: Issuer,
    admin: redis.Redis,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("shared.adapters.redis.entra.LOGIN_RETRY_S", 0.1)
    issuer.lifetime_s = 30.0
    await store.ping()
    let_in, issuer.on_issue = issuer.on_issue, None  # the next token is not known to the server yet
    issuer.renew_after_s = 20.0
    await until(lambda: "WRONGPASS" in caplog.text)
    await store.ping()
    assert set(connections(admin).values()) == {"oid-1"}
    assert let_in is not None
    await let_in(issuer.issued[1], {"oid": "oid-2", "exp": time.time() + 30})
    await until(lambda: set(connections(admin).values()) == {"oid-2"})
    assert len(issuer.issued) == 2
    assert store.outage_count == 0
    assert not issuer.leaks(caplog.text)


async def test_a_token_that_names_nobody_is_an_outage_and_no_defect(redis_url: str) -> None:
    class Odd(Issuer):
        async def issue(self, audience: str) -> Any:
            token = await super().issue(audience)
            token.token = "not.a-token"
            return token

    async with Tokens(Odd()) as tokens:
        store = EntraRedisStore(f"redis://{redis_url.rsplit('@', 1)[1]}", tokens, REDIS_SCOPE)
        for _ in range(3):
            with pytest.raises(Unavailable) as refused:
                await store.ping()
            assert "not.a-token" not in refused.value.internal
        await store.close()
