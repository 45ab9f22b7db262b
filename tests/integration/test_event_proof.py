"""Tokens of Web PubSub's identity, checked against keys that a tenant publishes over HTTP."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import jwt
import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import rsa

from shared.adapters.event_proof import AUDIENCE, KEYS_LIFE_S, RETRY_AFTER_S, TokenProof
from shared.domain.access.hub_events import HubEvent
from shared.errors import Unauthenticated, Unavailable

TENANT = "ab1f708d-50f6-404c-a006-d71b2ac7a606"
PRINCIPAL = "5d2a1c56-07a4-4b41-8c0e-3c8a1f0de111"
EVENT = HubEvent("connect", "c-1", "account")


class Tenant:
    """Signing keys, published as the directory does; `reads` counts how often they were asked for."""

    def __init__(self) -> None:
        self.keys = {"k1": rsa.generate_private_key(65537, 2048)}
        self.reads = 0
        self.is_away = False
        self.page = ""
        self.now = 1_000.0

    async def published(self, request: web.Request) -> web.Response:
        assert request.match_info["tenant"] == TENANT
        self.reads += 1
        if self.is_away:
            return web.Response(status=503)
        if self.page:
            return web.Response(text=self.page, content_type="text/html")
        keys = []
        for name, key in self.keys.items():
            public = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key()))
            keys.append(public | {"kid": name, "use": "sig", "alg": "RS256"})
        return web.json_response({"keys": keys})

    def token(self, key_id: str = "k1", **changed: Any) -> dict[str, str]:
        claims = {
            "iss": f"https://sts.windows.net/{TENANT}/",
            "aud": AUDIENCE,
            "oid": PRINCIPAL,
            "exp": time.time() + 600,
            **changed,
        }
        present = {name: value for name, value in claims.items() if value is not None}
        signed = jwt.encode(present, self.keys[key_id], algorithm="RS256", headers={"kid": key_id})
        return {"authorization": f"Bearer {signed}"}


@pytest.fixture
def tenant() -> Tenant:
    return Tenant()


@pytest.fixture
async def proof(tenant: Tenant) -> AsyncIterator[TokenProof]:
    app = web.Application()
    app.router.add_get("/{tenant}/discovery/v2.0/keys", tenant.published)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    yield TokenProof(
        "https://signal.webpubsub.azure.com",
        tenant_id=TENANT,
        principal_id=PRINCIPAL,
        authority=f"http://127.0.0.1:{port}",
        clock=lambda: tenant.now,
    )
    await runner.cleanup()


async def test_a_token_of_the_identity_is_proof_and_keys_are_read_once(
    proof: TokenProof, tenant: Tenant
) -> None:
    assert proof.origin == "signal.webpubsub.azure.com"
    for _ in range(3):
        await proof.check(EVENT, tenant.token())
    await proof.check(EVENT, tenant.token(iss=f"https://login.microsoftonline.com/{TENANT}/v2.0"))
    assert tenant.reads == 1


@pytest.mark.parametrize(
    "changed",
    [
        {"oid": "11059fcc-5514-4800-b5f8-49808b9cfab6"},
        {"oid": None},
        {"aud": "https://management.azure.com"},
        {"iss": "https://sts.windows.net/another/"},
        {"exp": time.time() - 3600},
        {"exp": None},
    ],
)
async def test_any_other_token_is_refused(proof: TokenProof, tenant: Tenant, changed: dict[str, Any]) -> None:
    with pytest.raises(Unauthenticated):
        await proof.check(EVENT, tenant.token(**changed))


async def test_what_is_no_token_of_the_tenant_is_refused(proof: TokenProof, tenant: Tenant) -> None:
    stranger = Tenant()
    unsigned = jwt.encode({"oid": PRINCIPAL, "aud": AUDIENCE}, key="", algorithm="none")
    for headers in (
        {},
        {"authorization": "Basic x"},
        {"authorization": "Bearer not.a.token"},
        {"authorization": f"Bearer {unsigned}"},
        stranger.token(),
    ):
        with pytest.raises(Unauthenticated):
            await proof.check(EVENT, headers)


async def test_a_new_key_is_found_and_invented_ones_do_not_make_the_keys_be_read_again_and_again(
    proof: TokenProof, tenant: Tenant
) -> None:
    await proof.check(EVENT, tenant.token())
    tenant.keys["k2"] = rsa.generate_private_key(65537, 2048)
    await proof.check(EVENT, tenant.token("k2"))
    assert tenant.reads == 2
    stranger = Tenant()
    stranger.keys["k3"] = stranger.keys["k1"]
    for _ in range(5):
        with pytest.raises(Unauthenticated):
            await proof.check(EVENT, stranger.token("k3"))
    assert tenant.reads == 2


@pytest.mark.parametrize("fault", [{"is_away": True}, {"page": "<html>a proxy's page</html>"}])
async def test_a_directory_that_is_away_is_worth_a_retry_and_is_not_asked_by_everybody(
    proof: TokenProof, tenant: Tenant, fault: dict[str, Any]
) -> None:
    vars(tenant).update(fault)
    for _ in range(2):
        told = await asyncio.gather(
            *(proof.check(EVENT, tenant.token()) for _ in range(5)), return_exceptions=True
        )
        assert {each.code for each in told if isinstance(each, Unavailable)} == {"realtime_unavailable"}
        assert len(told) == 5
    assert tenant.reads == 1
    vars(tenant).update(is_away=False, page="")
    tenant.now += RETRY_AFTER_S
    await proof.check(EVENT, tenant.token())


async def test_known_keys_serve_on_while_the_directory_is_away(proof: TokenProof, tenant: Tenant) -> None:
    await proof.check(EVENT, tenant.token())
    tenant.is_away = True
    tenant.now += KEYS_LIFE_S
    for _ in range(3):
        await proof.check(EVENT, tenant.token())
        await asyncio.sleep(0.05)
    assert tenant.reads == 2
