"""Web pages of listed origins: every route answers their preflight, and they may read every answer."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from functions.web.cors import EXPOSED
from functions.web.declaration import Route
from functions.web.routes import allowed_methods, declared_routes
from tests.support.api import SETTINGS, Answered, Api
from tests.support.requests import ADMITTING

PAGE, OTHER_PAGE = "https://app.example.com", "http://localhost:3000"
STRANGE = [
    "https://evil.example.com",
    "https://app.example.com:444",
    "http://app.example.com",
    "null",
    "*",
    "",
]
PATHS = sorted({route.path for route in declared_routes()})
PREFLIGHT = {
    "origin": PAGE,
    "access-control-request-method": "POST",
    "access-control-request-headers": "authorization,content-type",
}


@pytest.fixture
async def api() -> AsyncIterator[Api]:
    made = Api(replace(SETTINGS, cors_origins=(PAGE, OTHER_PAGE)))
    yield made
    made.forget()


def listed(answered: Answered, name: str) -> list[str]:
    return answered.headers[name].split(", ")


@pytest.mark.parametrize("path", [*PATHS, "nothing/here"])
async def test_every_path_answers_a_preflight_without_a_key(api: Api, path: str) -> None:
    answered = await api.call("OPTIONS", path, headers=PREFLIGHT)
    assert (answered.status, answered.body) == (204, b"")
    assert answered.headers["access-control-allow-origin"] == PAGE
    assert answered.headers["access-control-max-age"] == "7200"
    assert "Origin" in listed(answered, "vary")
    assert set(listed(answered, "access-control-allow-methods")) >= set(allowed_methods(path))
    sent = {name.lower() for name in listed(answered, "access-control-allow-headers")}
    assert {"authorization", "content-type", "content-encoding", "idempotency-key", "x-request-id"} <= sent
    assert "access-control-allow-credentials" not in answered.headers
    assert "ratelimit" not in answered.headers
    assert api.counts == {}
    assert api.redis.admits == 0, "a preflight takes from no limit"


async def test_a_preflight_allows_the_methods_of_its_path(api: Api) -> None:
    for path, methods in (
        ("trades", "POST, GET, HEAD"),
        ("license", "GET, HEAD"),
        ("ml/get_confidence", "POST"),
    ):
        answered = await api.call("OPTIONS", path, headers=PREFLIGHT)
        assert set(methods.split(", ")) <= set(listed(answered, "access-control-allow-methods"))
    assert "GET" not in listed(answered, "access-control-allow-methods")


@pytest.mark.parametrize("origin", STRANGE)
async def test_a_page_of_another_origin_is_allowed_nothing(api: Api, origin: str) -> None:
    for path in ("trades", "ws/events", "nothing/here"):
        answered = await api.call("OPTIONS", path, headers=PREFLIGHT | {"origin": origin})
        assert answered.status == 204
        assert [name for name in answered.headers if name.startswith("access-control-")] == []
        assert answered.headers["vary"] == "Origin"
    answered = await api.call("GET", "license", key=await api.key("bot"), headers={"origin": origin})
    assert answered.status == 200, "CORS refuses nobody"
    assert [name for name in answered.headers if name.startswith("access-control-")] == []
    assert answered.headers["vary"] == "Origin"


@pytest.mark.parametrize(
    "route", [pytest.param(route, id=f"{route.method} {route.path}") for route in declared_routes()]
)
async def test_a_page_may_read_every_answer_and_every_problem(api: Api, route: Route) -> None:
    scope, given = ADMITTING.get((route.method, route.path), ("public", {}))
    given = {"headers": {"origin": OTHER_PAGE}} | given
    key = None if scope == "public" else await api.key(scope, limit=20)
    for changed in ({}, {"key": None}, {"key": "sc_live_mistyped"}, {"colour": "red"}, {"content": b"{"}):
        answered = await api.call(route.method, route.path, **({"key": key} | given | changed))
        assert answered.headers["access-control-allow-origin"] == OTHER_PAGE
        assert listed(answered, "access-control-expose-headers") == list(EXPOSED)
        assert "Origin" in listed(answered, "vary")


async def test_problems_that_no_route_makes_can_be_read_too(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: dict[str, Any] = {"headers": {"origin": PAGE}}
    assert (await api.call("GET", "nothing/here", **sent)).headers["access-control-allow-origin"] == PAGE
    answered = await api.call("DELETE", "license", **sent)
    assert (answered.status, answered.headers["access-control-allow-origin"]) == (405, PAGE)
    monkeypatch.setattr(api.services.trades, "usage", None)  # a defect
    answered = await api.call("GET", "license", key=await api.key("bot"), **sent)
    assert (answered.status, answered.headers["access-control-allow-origin"]) == (500, PAGE)
    key = await api.key("bot")
    api.redis.away = api.key_store.away = True
    answered = await api.call("GET", "license", key=key, **sent)
    assert (answered.status, answered.headers["access-control-allow-origin"]) == (503, PAGE)


async def test_every_header_that_an_answer_sets_can_be_read(api: Api) -> None:
    """Beside those that every page may read: https://fetch.spec.whatwg.org/#cors-safelisted-response-header-name"""
    free = {"cache-control", "content-length", "content-type"}
    not_for_pages = {"vary", "content-encoding", "x-content-type-options"}
    key = await api.key("bot", limit=1)
    seen: set[str] = set()
    for method, path, used in (
        ("GET", "license", key),
        ("GET", "license", key),
        ("GET", "license", None),
        ("PUT", "license", None),
        ("GET", "openapi.json", None),
    ):
        answered = await api.call(method, path, key=used, headers={"accept-encoding": "gzip", "origin": PAGE})
        seen |= {name for name in answered.headers if not name.startswith("access-control-")}
    assert seen - free - not_for_pages <= {name.lower() for name in EXPOSED}


async def test_an_options_that_is_no_preflight_is_answered_as_before(api: Api) -> None:
    for headers in ({}, {"origin": PAGE}, {"access-control-request-method": "GET"}):
        assert (await api.call("OPTIONS", "trades", headers=headers)).status == 405
    asks = {"webhook-request-origin": "127.0.0.1:8080"}
    answered = await api.call("OPTIONS", "ws/events", headers=asks)
    assert (answered.status, answered.headers["webhook-allowed-origin"]) == (200, "127.0.0.1:8080")


async def test_without_origins_cors_is_off() -> None:
    off = Api()
    try:
        for path in PATHS:
            answered = await off.call("OPTIONS", path, headers=PREFLIGHT)
            assert answered.status in (405, 422)
            assert not any(name.startswith("access-control-") for name in answered.headers)
        answered = await off.call("GET", "health", headers={"origin": PAGE})
        assert not {"vary", "access-control-allow-origin"} & set(answered.headers)
    finally:
        off.forget()
