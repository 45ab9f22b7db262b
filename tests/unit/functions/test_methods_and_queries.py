"""Every route: HEAD beside GET, the quota on refusals, and no query parameter that it does not declare."""

from typing import Any

import pytest

from functions.web.declaration import Route
from functions.web.parameters import parameters_of
from functions.web.routes import allowed_methods, declared_routes
from tests.support.api import Answered, Api
from tests.support.requests import ADMITTING

pytestmark = pytest.mark.usefixtures("reported")

# An OPTIONS asks about the address, and not for what parameters choose.
ASKING = [
    pytest.param(route, id=f"{route.method} {route.path}")
    for route in declared_routes()
    if route.method != "OPTIONS"
]
LIMITED = [
    pytest.param(route, id=f"{route.method} {route.path}")
    for route in declared_routes()
    if route.scope != "public"
]
READABLE = [pytest.param(route, id=route.path) for route in declared_routes() if route.method == "GET"]
pytestmark = pytest.mark.usefixtures("reported")
# The body states how long each dependency took, or which licenses there are, of which each request makes one.
TIMED = ("health/ready", "ops/licenses", "account/export")
QUERIED = [
    pytest.param(route, each.name, id=f"{route.method} {route.path} {each.name}")
    for route in declared_routes()
    if route.parameters is not None
    for each in parameters_of(route.parameters)
    if each.place == "query"
]
QUOTA = (
    "ratelimit",
    "ratelimit-policy",
    "x-ratelimit-limit",
    "x-ratelimit-remaining",
    "x-ratelimit-reset",
)


async def ask(api: Api, route: Route, method: str | None = None, query: str = "", **changed: Any) -> Answered:
    """The answer to a good request of the route, under a fresh key, but for what is `changed`."""
    scope, given = ADMITTING.get((route.method, route.path), ("public", {}))
    key = None if scope == "public" else await api.key(scope)
    return await api.call(method or route.method, route.path + query, **({"key": key} | given | changed))


@pytest.mark.parametrize("route", READABLE)
async def test_head_has_the_headers_of_get_and_no_body(api: Api, route: Route) -> None:
    same: dict[str, Any] = {"headers": {"x-request-id": "id-1"}}
    read, looked = await ask(api, route, **same), await ask(api, route, "HEAD", **same)
    assert (read.status, looked.status, looked.body) == (200, 200, b"")
    length = int(looked.headers.pop("content-length"))
    assert length == len(read.body) or route.path in TIMED
    assert looked.headers == read.headers


@pytest.mark.parametrize("route", READABLE)
async def test_head_is_refused_as_get_is(api: Api, route: Route) -> None:
    for fault in ({"query": "?colour=red"}, {"key": None}, {"key": "sc_live_mistyped"}):
        changed: dict[str, Any] = {"headers": {"x-request-id": "id-1"}} | fault
        read, looked = await ask(api, route, **changed), await ask(api, route, "HEAD", **changed)
        assert (looked.status, looked.body) == (read.status, b"")
        length = int(looked.headers.pop("content-length"))
        assert length == len(read.body) or (read.status == 200 and route.path in TIMED)
        assert looked.headers == read.headers


async def test_head_of_what_is_not_there_has_no_body_either(api: Api) -> None:
    for path, status in (("nothing/here", 404), ("ml/get_confidence", 405)):
        answered = await api.call("HEAD", path)
        assert (answered.status, answered.body) == (status, b"")
        assert answered.headers["content-type"] == "application/problem+json"
        assert int(answered.headers["content-length"]) > 100
    assert answered.headers["allow"] == "POST"


async def test_head_takes_from_the_limit_as_get_does(api: Api) -> None:
    key = await api.key("bot", limit=2)
    statuses = [(await api.call("HEAD", "license", key=key)).status for _ in range(3)]
    assert statuses == [200, 200, 429]


def test_head_is_listed_wherever_get_is() -> None:
    for route in declared_routes():
        methods = allowed_methods(route.path)
        assert ("HEAD" in methods) == ("GET" in methods)


@pytest.mark.parametrize("route", ASKING)
@pytest.mark.parametrize("query", ["?dry_run=true", "?dry_run", "?dry_run=", "?code=abc", "?x=1&y=2", "?=1"])
async def test_a_query_parameter_that_a_route_does_not_declare_is_refused(
    api: Api, route: Route, query: str
) -> None:
    answered = await ask(api, route, query=query)
    assert (answered.status, answered.code) == (422, "unknown_field")
    assert answered.fields == {"?x=1&y=2": ["x", "y"], "?=1": ["?"], "?code=abc": ["code"]}.get(
        query, ["dry_run"]
    )
    assert all(error["code"] == "unknown_field" for error in answered.json["errors"])
    assert ("ratelimit" in answered.headers) == (route.scope != "public")
    # Nothing has happened.
    assert api.hub.sent == []
    assert not {"trades_recorded", "bars_received", "signals_published", "negotiated"} & set(api.counts)


@pytest.mark.parametrize(("route", "name"), QUERIED)
async def test_a_parameter_given_twice_is_named(api: Api, route: Route, name: str) -> None:
    given = ADMITTING[route.method, route.path][1]
    others = "".join(f"&{other}={value}" for other, value in given.items() if other != name)
    for values in (("1", "1"), ("1", "2"), ("", ""), ("ES", "NQ")):
        query = f"?{name}={values[0]}&{name}={values[1]}{others}"
        key = await api.key(ADMITTING[route.method, route.path][0])
        answered = await api.call(route.method, route.path + query, key=key)
        assert answered.status == 422
        told = [error for error in answered.json["errors"] if "more than once" in error["message"]]
        assert [error["field"] for error in told] == [name]


async def test_other_spellings_of_a_parameter_are_other_parameters(api: Api) -> None:
    key = await api.key("bot")
    answered = await api.call("GET", "signals?symbol=ES&Symbol=NQ", key=key)
    assert (answered.status, answered.fields) == (422, ["Symbol"])
    answered = await api.call("GET", "signals?%73ymbol=ES&symbol=ES", key=key)
    assert (answered.status, answered.fields) == (422, ["symbol"])


@pytest.mark.parametrize("route", LIMITED)
async def test_a_key_that_counts_is_told_its_quota_whatever_the_answer(api: Api, route: Route) -> None:
    """test_documented_answers.py causes every documented problem and looks for the same headers."""
    others = [scope for scope in ("bot", "publisher", "feeder", "ops") if scope != route.scope]
    refused = await ask(api, route, key=await api.key(*others, limit=30))  # type: ignore[arg-type]
    accepted = await ask(api, route, key=await api.key(ADMITTING[route.method, route.path][0], limit=30))
    cost = route.cost.units
    for answered in (refused, accepted):
        told = [answered.headers[name] for name in QUOTA]
        t = told[-1]
        assert told == [f'"default";r={30 - cost};t={t}', '"default";q=30;w=60', "30", str(30 - cost), t]
        assert 0 < int(t) <= 60
    assert refused.code == "scope_missing"
    assert set(QUOTA).isdisjoint((await ask(api, route, key=None)).headers)
