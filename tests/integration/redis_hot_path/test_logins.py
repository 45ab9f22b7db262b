"""The store signs in with a password or a provider's token, and checks the server's certificate."""

from pathlib import Path

import pytest
import redis

from shared.adapters.redis import RedisStore
from shared.errors import Unavailable
from tests.support.certificates import certificate, tls_in_front_of
from tests.support.redis_hot_path import HASH


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
