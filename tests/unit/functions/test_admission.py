"""Who may call each route, and what every route does with a request that it may not answer."""

import hmac
import json
from typing import Any

import azure.functions as func
import pytest

from functions.openapi import document
from functions.web.routes import declared_routes
from shared.domain.access.keys import new_key
from shared.domain.access.licenses import ALL_SCOPES, Scope
from shared.domain.access.rate_limit import EXPORT_UNITS, PERFORMANCE_UNITS
from tests.support.api import Api, function_of
from tests.support.requests import ADMITTING, NEED_REDIS, ONCE, PUBLIC
from tests.support.strategies import STRATEGIES

pytestmark = pytest.mark.usefixtures("reported", "hooked")

ROUTES = [pytest.param(*route, id=" ".join(route)) for route in ADMITTING]
WITHOUT_REDIS = [pytest.param(*route, id=" ".join(route)) for route in ADMITTING if route not in NEED_REDIS]
WITH_BODY = [
    pytest.param(*route, id=" ".join(route)) for route, (_, given) in ADMITTING.items() if "body" in given
]
LIMITS = {
    ("POST", "ml/get_confidence"): 16_384,
    ("POST", "ml/get_confidence/batch"): 131_072,
    ("POST", "trades"): 1_048_576,
    ("POST", "signals"): 16_384,
    ("POST", "bars"): 1_048_576,
    ("POST", "ws/negotiate"): 4_096,
    ("POST", "sessions"): 4_096,
    ("POST", "license/rotate"): 1_024,
    ("POST", "claims"): 4_096,
    ("POST", "ws/events"): 65_536,
    ("POST", "webhooks/stripe"): 262_144,
    ("POST", "webhooks/whop"): 262_144,
    ("POST", "destinations"): 4_096,
    ("POST", "destinations/{destination_id}/replay"): 4_096,
    ("POST", "hooks/{secret}"): 16_384,
    ("POST", "hooks"): 16_384,
    ("POST", "hooks/{hook_id}/rotate"): 16_384,
}
LIMITS |= {
    ("POST", "ops/licenses"): 32_768,
    ("PATCH", "ops/licenses/{license_id}"): 32_768,
    ("POST", "ops/licenses/{license_id}/extend"): 4_096,
    ("POST", "ops/licenses/{license_id}/keys"): 4_096,
    ("POST", "ops/keys/{public_id}/rotate"): 1_024,
    ("POST", "ops/licenses/bulk"): 4_096,
    ("POST", "ops/accounts/{account_id}/erase"): 4_096,
    ("POST", "ops/licenses/{license_id}/hooks"): 16_384,
    ("POST", "ops/hooks/{hook_id}/rotate"): 16_384,
}
COSTS = {
    "performance": PERFORMANCE_UNITS,
    "account/export": EXPORT_UNITS,
    "ops/accounts/{account_id}/export": EXPORT_UNITS,
}
SUCCESSES = {
    ("POST", "signals"): 201,
    ("POST", "license/rotate"): 201,
    ("POST", "hooks"): 201,
    ("POST", "ops/licenses/{license_id}/keys"): 201,
    ("POST", "ops/licenses/{license_id}/hooks"): 201,
    ("POST", "ops/keys/{public_id}/rotate"): 201,
    ("POST", "destinations"): 201,
    ("DELETE", "destinations/{destination_id}"): 204,
    ("POST", "destinations/{destination_id}/test"): 202,
    ("POST", "destinations/{destination_id}/replay"): 202,
    ("POST", "ops/notifications/{notification_id}/retry"): 204,
}


def test_every_route_is_in_this_test() -> None:
    assert {(route.method, route.path): route.scope for route in declared_routes()} == {
        **{route: scope for route, (scope, _) in ADMITTING.items()},
        **dict.fromkeys(PUBLIC, "public"),
    }, "add a row for each route to tests/support/requests.py"


def test_the_scopes_documented_are_those_asked_for() -> None:
    paths: dict[str, Any] = document(STRATEGIES)["paths"]
    for (method, path), (scope, _) in ADMITTING.items():
        described = paths[f"/{path}"][method.lower()]
        assert described["security"] == [{"apiKey": []}]
        # tests/unit/functions/test_costs.py looks at the sentence on the cost, which may follow.
        assert described["description"].startswith(f"Needs a key with the scope `{scope}`.")
    for method, path in PUBLIC:
        described = paths[f"/{path}"][method.lower()]
        assert described["security"] == []
        assert "description" not in described


@pytest.mark.parametrize(("method", "path"), ROUTES)
async def test_a_key_with_the_scope_is_let_in_and_told_its_quota(api: Api, method: str, path: str) -> None:
    scope, given = ADMITTING[method, path]
    cost = COSTS.get(path, 1)
    answered = await api.call(method, path, key=await api.key(scope, limit=cost + 6), **given)
    assert answered.status == SUCCESSES.get((method, path), 200)
    is_file = path.endswith("/export")
    assert answered.headers["content-type"] == f"application/{'zip' if is_file else 'json'}"
    assert answered.headers["ratelimit"].startswith('"default";r=6;t=')
    assert answered.headers["ratelimit-policy"] == f'"default";q={cost + 6};w=60'
    assert answered.headers["x-request-id"]
    assert api.services.counters.process_totals()["requests"] == 1
    assert not any(name.startswith("refused.") for name in api.counts)


@pytest.mark.parametrize(("method", "path"), ROUTES)
async def test_no_other_scope_will_do(api: Api, method: str, path: str) -> None:
    scope, given = ADMITTING[method, path]
    others: list[Scope] = [other for other in ALL_SCOPES if other != scope]
    answered = await api.call(method, path, key=await api.key(*others), **given)
    assert (answered.status, answered.code) == (403, "scope_missing")
    assert f"the scope {scope};" in answered.json["detail"]
    assert api.counts == {"refused.scope_missing": 1}


@pytest.mark.parametrize(("method", "path"), ROUTES)
async def test_a_key_is_needed_before_anything_else_is_judged(api: Api, method: str, path: str) -> None:
    answered = await api.call(method, path, content=b"{", headers={"content-type": "text/xml"}, colour="red")
    assert (answered.status, answered.code) == (401, "key_missing")
    assert answered.headers["www-authenticate"] == 'Bearer realm="Signal Cloud"'
    assert "ratelimit" not in answered.headers
    assert api.counts == {"refused.key_missing": 1}


@pytest.mark.parametrize(("method", "path"), ROUTES)
async def test_a_key_that_has_used_up_its_limit_is_refused(api: Api, method: str, path: str) -> None:
    scope, given = ADMITTING[method, path]
    key = await api.key(scope, limit=1)
    await api.call(method, path, key=key, **given)
    answered = await api.call(method, path, key=key, **given)
    assert (answered.status, answered.code) == (429, "rate_limited")
    assert answered.headers["retry-after"] == "60"
    assert answered.headers["ratelimit"] == '"default";r=0;t=60'
    assert answered.headers["ratelimit-policy"] == '"default";q=1;w=60'
    assert api.counts["refused.rate_limited"] == 1


@pytest.mark.parametrize(("method", "path"), WITHOUT_REDIS)
async def test_without_the_cache_requests_pass_uncounted(api: Api, method: str, path: str) -> None:
    scope, given = ADMITTING[method, path]
    key = await api.key(scope, limit=1)
    api.redis.away = True
    times = 1 if (method, path) in ONCE else 2
    for _ in range(times):
        answered = await api.call(method, path, key=key, **given)
        assert answered.status < 300
        assert "ratelimit" not in answered.headers
    assert api.counts["limiter_open"] == times


@pytest.mark.parametrize(("method", "path"), ROUTES)
async def test_without_cache_and_key_store_nobody_is_let_in(api: Api, method: str, path: str) -> None:
    scope, given = ADMITTING[method, path]
    key = await api.key(scope)
    api.redis.away = api.key_store.away = True
    answered = await api.call(method, path, key=key, **given)
    assert (answered.status, answered.code) == (503, "key_store_unavailable")
    assert api.counts == {"requests_failed": 1}


@pytest.mark.parametrize(("method", "path"), WITH_BODY)
@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"content": b"{"}, (400, "malformed_json")),
        ({"content": b""}, (400, "malformed_json")),
        ({"content": b"\xff"}, (400, "malformed_json")),
        ({"content": b"[]"}, (422, "validation_failed")),
        ({"headers": {"content-type": "application/xml"}}, (415, "unsupported_media_type")),
        ({"headers": {"content-type": "multipart/form-data; boundary=x"}}, (415, "unsupported_media_type")),
    ],
)
async def test_a_body_that_is_no_json_is_refused(
    api: Api, method: str, path: str, changed: dict[str, Any], told: tuple[int, str]
) -> None:
    scope, given = ADMITTING[method, path]
    answered = await api.call(method, path, key=await api.key(scope), **(given | changed))
    assert (answered.status, answered.code) == told
    assert "ratelimit" in answered.headers, "a refused body counts against the limit"
    # A mistake of the caller is no failure of ours, and no refusal of the caller.
    assert not {"requests_failed", f"refused.{told[1]}"} & set(api.counts)


@pytest.mark.parametrize(("method", "path"), WITH_BODY)
@pytest.mark.parametrize(
    "content_type",
    [
        "application/json",
        "Application/JSON; charset=utf-8",
        "",
        "text/plain;charset=UTF-8",
        "application/x-www-form-urlencoded",
    ],
)
async def test_what_parses_is_taken_under_the_labels_that_clients_use(
    api: Api, method: str, path: str, content_type: str
) -> None:
    scope, given = ADMITTING[method, path]
    headers = {"content-type": content_type}
    answered = await api.call(method, path, key=await api.key(scope), headers=headers, **given)
    assert answered.status == SUCCESSES.get((method, path), 200)


@pytest.mark.parametrize(("method", "path"), WITH_BODY)
async def test_a_field_that_nobody_asked_for_is_named(api: Api, method: str, path: str) -> None:
    scope, given = ADMITTING[method, path]
    body = given["body"] | {"colour": "red"}
    answered = await api.call(method, path, key=await api.key(scope), body=body)
    assert (answered.status, answered.code, answered.fields) == (422, "unknown_field", ["colour"])


@pytest.mark.parametrize("path", ["trades", "performance", "signals"])
async def test_a_parameter_that_nobody_asked_for_is_named(api: Api, path: str) -> None:
    answered = await api.call("GET", path, key=await api.key("bot"), symbol="ES", colour="red")
    assert (answered.status, answered.code, answered.fields) == (422, "unknown_field", ["colour"])


async def test_a_key_ends_with_its_license(api: Api) -> None:
    key = await api.key("bot")
    licenses = api.services.license_service("tester")
    for change, code, status in (
        (licenses.suspend_license, "license_suspended", 403),
        (licenses.revoke_license, "license_revoked", 403),
    ):
        await change(key.key.license_id)
        answered = await api.call("GET", "license", key=key)
        assert (answered.status, answered.code) == (status, code)
    await licenses.revoke_key(key.key.public_id)
    answered = await api.call("GET", "license", key=key)
    assert (answered.status, answered.code) == (401, "key_revoked")


def test_every_body_has_a_limit_which_the_document_states() -> None:
    declared = {
        (route.method, route.path): route.body.max_bytes
        for route in declared_routes()
        if route.body is not None
    }
    assert declared == LIMITS
    paths: dict[str, Any] = document(STRATEGIES)["paths"]
    for (method, path), limit in LIMITS.items():
        described = paths[f"/{path}"][method.lower()]["requestBody"]["description"]
        assert described.startswith(f"At most {limit} bytes, unpacked.")
        assert "gzip or deflate" in described


@pytest.mark.parametrize(("method", "path"), WITH_BODY)
async def test_a_body_over_the_limit_of_its_route_is_refused_with_the_limit(
    api: Api, method: str, path: str
) -> None:
    scope, _ = ADMITTING[method, path]
    limit = LIMITS[method, path]
    key = await api.key(scope)
    answered = await api.call(method, path, key=key, content=b" " * (limit + 1))
    assert (answered.status, answered.code) == (413, "body_too_large")
    assert f"at most {limit} bytes" in answered.json["detail"]
    answered = await api.call(method, path, key=key, content=b" " * limit)
    assert (answered.status, answered.code) == (400, "malformed_json")


class Unread(func.HttpRequest):
    """A request whose body must not be read."""

    def get_body(self) -> bytes:
        raise AssertionError("the body was read before the caller was known")


async def refused_unread(method: str, path: str, authorization: str | None) -> str:
    """The code of the refusal of a request whose body nobody may read."""
    headers = {} if authorization is None else {"authorization": authorization}
    request = Unread(method=method, url=f"http://localhost/api/{path}", headers=headers, body=b"")
    response = await function_of(method, path)[1](request)
    return str(json.loads(response.get_body())["code"])


@pytest.mark.parametrize(("method", "path"), WITH_BODY)
async def test_no_body_is_read_before_its_key_is_known(api: Api, method: str, path: str) -> None:
    scope, given = ADMITTING[method, path]
    invented = f"Bearer {new_key('Zz99Zz')}"
    assert await refused_unread(method, path, None) == "key_missing"
    assert await refused_unread(method, path, "Bearer sc_live_mistyped") == "key_malformed"
    assert await refused_unread(method, path, invented) == "key_unknown"
    assert await refused_unread(method, path, invented) == "key_unknown", "known to be unknown"
    others: list[Scope] = [other for other in ALL_SCOPES if other != scope]
    without_scope = f"Bearer {(await api.key(*others)).plain}"
    for _ in range(2):  # a key that this process has never seen, and then one that it knows
        assert await refused_unread(method, path, without_scope) == "scope_missing"
    known = await api.key(scope)
    assert (await api.call(method, path, key=known, **given)).status < 300
    await api.services.license_service("tester").suspend_license(known.key.license_id)
    await api.call(method, path, key=known, **given)
    assert await refused_unread(method, path, f"Bearer {known.plain}") == "license_suspended"
    never_seen = await api.key(scope)
    await api.services.license_service("tester").revoke_key(never_seen.key.public_id)
    assert await refused_unread(method, path, f"Bearer {never_seen.plain}") == "key_revoked"


async def test_an_event_is_not_read_before_its_sender_is_known(api: Api) -> None:
    headers = {"ce-type": "azure.webpubsub.sys.connect", "ce-hub": "signals", "ce-connectionid": "c-1"}
    for proof in ({}, {"ce-signature": "sha256=" + "0" * 64}):
        request = Unread(
            method="POST", url="http://localhost/api/ws/events", headers=headers | proof, body=b""
        )
        response = await function_of("POST", "ws/events")[1](request)
        assert (response.status_code, json.loads(response.get_body())["code"]) == (401, "key_unknown")


async def test_another_tenants_web_pubsub_is_heard_at_no_route_and_its_events_are_refused(api: Api) -> None:
    """Its addresses pass the network rule, whose service tag covers all customers of Azure.

    The service asks each address for consent first (OPTIONS), and sends nothing to one that does not give it.
    """
    asks = {"webhook-request-origin": "another.webpubsub.azure.com"}
    for path in {route.path for route in declared_routes()} - {"ws/events"}:
        answered = await api.call("OPTIONS", path, headers=asks)
        assert (answered.status, answered.code) == (405, "method_not_allowed")
        assert "webhook-allowed-origin" not in answered.headers
    answered = await api.call("OPTIONS", "ws/events", headers=asks)
    assert (answered.status, answered.code) == (422, "validation_failed")
    assert "webhook-allowed-origin" not in answered.headers
    event = {
        "ce-type": "azure.webpubsub.sys.connect",
        "ce-hub": "signals",
        "ce-connectionid": "c-1",
        "ce-signature": "sha256=" + hmac.new(b"another key", b"c-1", "sha256").hexdigest(),
        "authorization": "Bearer eyJhbGciOiJSUzI1NiJ9.e30.c2ln",
    }
    for (method, path), (_, given) in ADMITTING.items():
        answered = await api.call(method, path, headers=event, **given)
        assert (answered.status, answered.code) == (401, "key_malformed")
    answered = await api.call("POST", "ws/events", headers=event, body={"claims": {}})
    assert (answered.status, answered.code) == (401, "key_unknown")
    assert not api.counts.get("connections_opened")
