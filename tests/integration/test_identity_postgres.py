"""Tokens as passwords on a real PostgreSQL that takes the newest one only, and only while it holds."""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from functools import partial
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from shared.adapters.identity import POSTGRES_SCOPE, Tokens
from shared.adapters.postgres import Database
from shared.adapters.postgres.database import Password, login_parameters
from shared.adapters.postgres.migrations import pending_migrations
from shared.errors import Unavailable
from tests.support.entra import Issuer

LIFETIME_S = 2.4
RENEW_AFTER_S = 1.0


@pytest.fixture
async def issuer(database_url: str) -> AsyncIterator[Issuer]:
    """Each of its tokens becomes the password of a login `app-...`, and ends with it."""
    login = f"app-{secrets.token_hex(4)}"
    issuer = Issuer(LIFETIME_S, RENEW_AFTER_S)
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as admin:
        name = sql.Identifier(login)
        await admin.execute(sql.SQL("create role {} login").format(name))
        await admin.execute(sql.SQL("grant signal_functions, signal_jobs to {}").format(name))

        async def become_the_password(token: str, claims: dict[str, Any]) -> None:
            ends = datetime.fromtimestamp(claims["exp"], UTC).isoformat()
            change = sql.SQL("alter role {} password {} valid until {}")
            await admin.execute(change.format(name, sql.Literal(token), sql.Literal(ends)))

        issuer.on_issue = become_the_password
        try:
            yield issuer
        finally:
            await admin.execute(sql.SQL("drop role {}").format(name))


@pytest.fixture
async def password(issuer: Issuer) -> AsyncIterator[Password]:
    async with Tokens(issuer, renewal_retry_s=0.2, outage_retry_s=0.2) as tokens:
        yield partial(tokens.password, POSTGRES_SCOPE)


@pytest.fixture
async def login_url(database_url: str, issuer: Issuer) -> str:
    """The address and the login, without a password."""
    parameters: dict[str, Any] = conninfo_to_dict(database_url)
    del parameters["password"]
    async with await psycopg.AsyncConnection.connect(database_url) as admin:
        cursor = await admin.execute("select rolname from pg_roles where rolname like 'app-%'")
        (found,) = await cursor.fetchall()
    return make_conninfo(**parameters | {"user": found[0]})


async def ask(database: Database) -> int:
    """The backend that answered."""
    async with database.transaction() as connection:
        (pid,) = await (await connection.execute("select pg_backend_pid()")).fetchone() or (0,)
    return int(pid)


async def test_tokens_change_under_load_and_no_request_fails(
    login_url: str, issuer: Issuer, password: Password, caplog: pytest.LogCaptureFixture
) -> None:
    issuer.delay_s = 0.3  # a slow issuer: whoever waited for it would show below
    connected: list[float] = []
    served: set[int] = set()
    ends_at = time.monotonic() + 3 * LIFETIME_S
    steady = Database(login_url, role="signal_functions", pool_size=4, password=password)

    async def keep_asking() -> None:
        while time.monotonic() < ends_at:
            served.add(await ask(steady))
            await asyncio.sleep(0.005)

    async def keep_connecting() -> None:
        while time.monotonic() < ends_at:
            began = time.monotonic()
            fresh = Database(login_url, role="signal_functions", pool_size=1, password=password)
            await ask(fresh)
            await fresh.close()
            connected.append(time.monotonic() - began)
            await asyncio.sleep(0.01)

    async with asyncio.TaskGroup() as group:
        for _ in range(8):
            group.create_task(keep_asking())
        for _ in range(3):
            group.create_task(keep_connecting())
    await steady.close()
    assert len(issuer.issued) >= 5
    unanswered = issuer.asked[POSTGRES_SCOPE] - len(issuer.issued)
    assert unanswered in (0, 1), "one renewal at a time, the last of which may be under way"
    assert len(connected) > 50
    assert len(served) <= 4, "connections live on beyond the token that they were opened with"
    assert not issuer.leaks(caplog.text)


async def test_an_issuer_that_is_away_stops_new_connections_only_and_they_are_worth_a_retry(
    login_url: str, issuer: Issuer, password: Password, caplog: pytest.LogCaptureFixture
) -> None:
    steady = Database(login_url, role="signal_functions", pool_size=1, password=password)
    pid = await ask(steady)
    issuer.is_failing = True
    await asyncio.sleep(LIFETIME_S)
    assert await ask(steady) == pid

    began = time.monotonic()
    fresh = Database(
        login_url, role="signal_functions", pool_size=1, password=password, connect_timeout_s=0.5
    )
    with pytest.raises(Unavailable) as refused:
        await ask(fresh)
    assert time.monotonic() - began < 1.5
    assert (refused.value.code, refused.value.retry_after_s) == ("database_unavailable", 1.0)
    with pytest.raises(Unavailable) as refused:
        await pending_migrations(login_url, password)
    assert "the issuer is out of order" in refused.value.internal
    assert await ask(steady) == pid

    issuer.is_failing = False
    async with asyncio.timeout(5):
        while True:
            try:
                await ask(fresh)
                break
            except Unavailable:
                continue
    assert await pending_migrations(login_url, password) == []
    for database in (steady, fresh):
        await database.close()
    assert len(issuer.issued) >= 2
    assert not issuer.leaks(caplog.text + refused.value.internal)


async def test_the_systems_certificates_are_found_and_the_servers_name_is_checked() -> None:
    url = "postgresql://app@db.example/x?sslrootcert=system"
    parameters = await login_parameters(url, None)
    assert parameters["sslmode"] == "verify-full"
    with open(parameters["sslrootcert"], encoding="utf-8") as trusted:  # noqa: PTH123, ASYNC230 - as libpq does
        assert "BEGIN CERTIFICATE" in trusted.read()
