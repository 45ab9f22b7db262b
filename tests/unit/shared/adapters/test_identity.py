"""Tokens: one request for however many ask, renewal that delays nobody, and failures that heal."""

import asyncio
import logging
import subprocess
import sys
import time
from collections.abc import AsyncIterator

import pytest
from azure.core.credentials import AccessTokenInfo
from azure.core.exceptions import ClientAuthenticationError
from azure.identity.aio import AzureCliCredential, ManagedIdentityCredential

from shared.adapters.identity import MIN_LIFE_S, RENEW_AHEAD_S, Tokens, credential
from tests.support.entra import CLIENT_ID, TENANT, Issuer

SCOPE = "https://redis.azure.com/.default"


class Clock:
    """Seconds since the epoch, moved by hand from the true time on."""

    def __init__(self) -> None:
        self.ahead_s = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead_s


@pytest.fixture
def issuer() -> Issuer:
    return Issuer()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def tokens(issuer: Issuer, clock: Clock) -> AsyncIterator[Tokens]:
    async with Tokens(issuer, clock=clock) as made:
        yield made
    assert issuer.is_closed


async def settled(tokens: Tokens) -> None:
    """Waits for renewals under way."""
    while tokens._asking:
        await asyncio.wait(tokens._asking.values())
        await asyncio.sleep(0)


async def test_many_who_ask_at_once_make_one_request(tokens: Tokens, issuer: Issuer) -> None:
    issuer.delay_s = 0.02
    found = await asyncio.gather(*(tokens.password(SCOPE) for _ in range(50)))
    assert set(found) == {issuer.issued[0]}
    assert (await tokens.get_token_info(SCOPE)).token == issuer.issued[0]
    assert issuer.asked == {SCOPE: 1}
    await tokens.password("https://storage.azure.com/.default")
    assert issuer.asked.total() == 2


async def test_a_token_due_for_renewal_serves_while_the_next_is_fetched(
    tokens: Tokens, issuer: Issuer, clock: Clock
) -> None:
    first = await tokens.password(SCOPE)
    clock.ahead_s = issuer.lifetime_s - RENEW_AHEAD_S + 1
    issuer.delay_s = 0.05
    started = time.monotonic()
    assert await asyncio.gather(*(tokens.password(SCOPE) for _ in range(20))) == [first] * 20
    assert time.monotonic() - started < 0.05
    await settled(tokens)
    assert issuer.asked[SCOPE] == 2
    assert await tokens.password(SCOPE) == issuer.issued[1] != first


async def test_the_issuer_may_say_when_to_renew(issuer: Issuer, clock: Clock) -> None:
    issuer.renew_after_s = issuer.lifetime_s / 2
    async with Tokens(issuer, clock=clock) as tokens:
        await tokens.password(SCOPE)
        clock.ahead_s = issuer.lifetime_s / 2 - 5
        await tokens.password(SCOPE)
        assert not tokens._asking
        clock.ahead_s += 10
        await tokens.password(SCOPE)
        await settled(tokens)
    assert issuer.asked[SCOPE] == 2


async def test_failing_renewals_are_paced_told_once_and_hurt_nobody_before_the_end(
    tokens: Tokens, issuer: Issuer, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    first = await tokens.password(SCOPE)
    issuer.is_failing = True
    clock.ahead_s = issuer.lifetime_s - RENEW_AHEAD_S
    for _ in range(30):
        clock.ahead_s += 1.0
        for _ in range(5):
            assert await tokens.password(SCOPE) == first
        await settled(tokens)
    assert 3 <= issuer.asked[SCOPE] - 1 <= 4
    assert [record.levelname for record in caplog.records] == ["WARNING"]

    clock.ahead_s = issuer.lifetime_s - MIN_LIFE_S
    with pytest.raises(ConnectionError, match="out of order"):
        await tokens.password(SCOPE)
    asked = issuer.asked[SCOPE]
    for _ in range(20):
        with pytest.raises(ClientAuthenticationError, match="out of order"):
            await tokens.get_token_info(SCOPE)
    assert issuer.asked[SCOPE] == asked, "who asks during an outage hears of it at once"

    issuer.is_failing = False
    issuer.lifetime_s *= 2
    clock.ahead_s += 1.0
    assert await tokens.password(SCOPE) == issuer.issued[-1] != first


async def test_an_issuer_that_hangs_is_given_up_and_asked_again(issuer: Issuer) -> None:
    issuer.delay_s = 60
    async with Tokens(issuer, acquire_timeout_s=0.05, outage_retry_s=0.0) as tokens:
        with pytest.raises(ClientAuthenticationError, match=r"within 0\.05 s"):
            await tokens.get_token_info(SCOPE)
        issuer.delay_s = 0
        assert await tokens.password(SCOPE) == issuer.issued[0]


async def test_who_gives_up_waiting_takes_nothing_from_the_others(tokens: Tokens, issuer: Issuer) -> None:
    issuer.delay_s = 0.05
    impatient = asyncio.create_task(tokens.password(SCOPE))
    patient = asyncio.create_task(tokens.password(SCOPE))
    await asyncio.sleep(0.01)
    impatient.cancel()
    assert await patient == issuer.issued[0]
    assert issuer.asked[SCOPE] == 1


async def test_a_credential_that_repeats_its_token_is_asked_in_measure(issuer: Issuer, clock: Clock) -> None:
    # As credentials that keep tokens do, until they think the next one due.
    kept = await issuer.issue("https://redis.azure.com")

    class Keeping(Issuer):
        async def issue(self, audience: str) -> AccessTokenInfo:
            return kept

    keeping = Keeping()
    async with Tokens(keeping, clock=clock) as tokens:
        await tokens.password(SCOPE)
        clock.ahead_s = issuer.lifetime_s - RENEW_AHEAD_S + 1
        for _ in range(20):
            assert await tokens.password(SCOPE) == kept.token
            await settled(tokens)
            clock.ahead_s += 1
    assert keeping.asked[SCOPE] == 3


async def test_a_service_that_wants_other_claims_gets_a_new_token(tokens: Tokens, issuer: Issuer) -> None:
    first = await tokens.get_token(SCOPE)
    second = await tokens.get_token(SCOPE, claims='{"access_token": {}}', tenant_id=TENANT)
    assert first.token != second.token
    assert issuer.options[-1].get("claims") == '{"access_token": {}}'
    assert (await tokens.get_token(SCOPE, tenant_id=TENANT)).token == second.token


async def test_the_successor_comes_when_the_issuer_is_back(issuer: Issuer) -> None:
    issuer.lifetime_s, issuer.renew_after_s = 3600.0, 0.05
    async with Tokens(issuer, renewal_retry_s=0.02) as tokens:
        first = await tokens.login(SCOPE)
        issuer.is_failing = True
        waiting = asyncio.create_task(tokens.successor(SCOPE, first))
        for _ in range(500):
            if issuer.asked[SCOPE] >= 4:
                break
            await asyncio.sleep(0.01)
        assert not waiting.done()
        issuer.is_failing = False
        assert (await waiting).token == issuer.issued[-1] != first.token


async def test_no_token_is_shown_in_a_log_line(
    issuer: Issuer, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    asyncio.get_running_loop().set_debug(True)
    async with Tokens(issuer, clock=clock) as tokens:
        await tokens.password(SCOPE)
        issuer.is_failing = True
        clock.ahead_s = issuer.lifetime_s
        with pytest.raises(ConnectionError) as refused:
            await tokens.password(SCOPE)
    assert issuer.issued
    assert not issuer.leaks(caplog.text + str(refused.value))


async def test_the_platform_has_its_managed_identity_and_every_other_place_the_command_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("IDENTITY_ENDPOINT", "IDENTITY_HEADER"):
        monkeypatch.setenv(name, "http://127.0.0.1:1/token")
    async with Tokens(credential(CLIENT_ID)) as managed, Tokens(credential(None)) as elsewhere:
        assert isinstance(managed._source, ManagedIdentityCredential)
        assert isinstance(elsewhere._source, AzureCliCredential)


@pytest.mark.parametrize(("client_id", "loaded"), [("", False), (CLIENT_ID, True)])
def test_nothing_of_identity_is_loaded_where_keys_open_the_services(client_id: str, loaded: bool) -> None:
    settings = {
        "DATABASE_URL": "postgresql://app@localhost/x?sslmode=verify-full",
        "REDIS_URL": "rediss://localhost",
        "API_KEY_PEPPER": "p" * 32,
        "IDENTITY_ENDPOINT": "http://127.0.0.1:1/token",
        "IDENTITY_HEADER": "h",
    }
    if client_id:
        settings |= {
            "AZURE_CLIENT_ID": client_id,
            "AZURE_TENANT_ID": "ab1f708d-50f6-404c-a006-d71b2ac7a606",
            "WEBPUBSUB_EVENTS_PRINCIPAL": "5d2a1c56-07a4-4b41-8c0e-3c8a1f0de111",
            "TABLES_ENDPOINT": "https://localhost",
            "WEBPUBSUB_ENDPOINT": "https://localhost",
        }
    else:
        settings |= {
            "TABLES_CONNECTION_STRING": "UseDevelopmentStorage=true",
            "WEBPUBSUB_CONNECTION_STRING": "Endpoint=http://localhost;AccessKey=k;",
        }
    program = (
        "import asyncio, os, sys\n"
        "from shared.container import Container\n"
        "from shared.settings import read_settings\n"
        "async def main():\n"
        "    made = Container(read_settings(os.environ))\n"
        "    made.pools, made.redis, made.tables, made.hub, made.access, made.license_service('x')\n"
        "    await made.close()\n"
        "asyncio.run(main())\n"
        "print({'azure.identity', 'msal', 'azure.keyvault'} & set(sys.modules))\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", program],
        env=settings | {"PATH": "/usr/bin:/bin", "PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert (run.stdout.strip() != "set()") == loaded
