"""What requests cost of the rate limit: as the route declares, or by the size of the body."""

import re
from typing import Any

import pytest

from functions.web.declaration import Cost
from functions.web.routes import declared_routes
from tests.support.api import Answered, Api
from tests.support.places import ROOT
from tests.support.requests import STATE, TRADE


def trades(count: int, first: int = 0) -> dict[str, Any]:
    return {"trades": [TRADE | {"trade_id": f"t-{n}"} for n in range(first, first + count)]}


def left(answered: Answered) -> int:
    """The rest of the limit that an answer states."""
    return int(answered.headers["ratelimit"].partition("r=")[2].partition(";")[0])


@pytest.mark.parametrize(
    ("method", "path", "given", "cost"),
    [
        ("GET", "license", {}, 1),
        ("GET", "trades", {}, 1),
        ("GET", "performance", {}, 5),
        ("POST", "trades", {"body": TRADE}, 1),
        ("POST", "trades", {"body": trades(50)}, 1),
        ("POST", "trades", {"body": trades(51)}, 2),
        ("POST", "trades", {"body": trades(500)}, 10),
        ("POST", "ml/get_confidence", {"body": STATE}, 1),
        ("POST", "ml/get_confidence/batch", {"body": {"states": [STATE] * 10}}, 1),
        ("POST", "ml/get_confidence/batch", {"body": {"states": [STATE] * 11}}, 2),
        ("POST", "ml/get_confidence/batch", {"body": {"states": [STATE] * 100}}, 10),
    ],
)
async def test_a_request_takes_its_cost_from_the_limit(
    api: Api, method: str, path: str, given: dict[str, Any], cost: int
) -> None:
    key = await api.key("bot", limit=30)
    answered = await api.call(method, path, key=key, **given)
    assert (answered.status, left(answered)) == (200, 30 - cost)
    again = await api.call("GET", "license", key=key)
    assert again.json["requests_remaining"] == 30 - cost - 1


async def test_a_body_that_costs_more_than_is_left_is_refused_and_records_nothing(api: Api) -> None:
    key = await api.key("bot", limit=10)
    assert (await api.call("POST", "trades", key=key, body=trades(200))).status == 200
    refused = await api.call("POST", "trades", key=key, body=trades(350, first=200))
    assert (refused.status, refused.code) == (429, "rate_limited")
    assert "needs 7 of the limit of 10 requests" in refused.json["detail"]
    assert len(api.stores.trades.recorded) == 200
    # It cost its first unit, but none of the others.
    assert left(refused) == 5
    assert (await api.call("POST", "trades", key=key, body=trades(250, first=200))).status == 200
    refused = await api.call("GET", "license", key=key)
    assert (refused.status, left(refused)) == (429, 0)


@pytest.mark.parametrize(
    ("limit", "before", "count"), [(10, 1, 500), (10, 9, 350), (10, 4, 400), (3, 2, 100)]
)
async def test_a_bot_that_waits_as_long_as_it_is_told_is_admitted_at_once(
    api: Api, limit: int, before: int, count: int
) -> None:
    key = await api.key("bot", limit=limit)
    for _ in range(before):
        await api.call("GET", "license", key=key)
        api.clock.forward(3)
    refused = await api.call("POST", "trades", key=key, body=trades(count))
    assert refused.status == 429
    # The window includes its ends, so a microsecond more is needed, which passes on the way.
    api.clock.forward(int(refused.headers["retry-after"]) + 1e-6)
    assert (await api.call("POST", "trades", key=key, body=trades(count))).status == 200


async def test_a_route_that_costs_more_than_is_left_is_refused_and_costs_nothing(api: Api) -> None:
    key = await api.key("bot", limit=6)
    for _ in range(2):
        await api.call("GET", "license", key=key)
    refused = await api.call("GET", "performance", key=key)
    assert (refused.status, left(refused)) == (429, 4)
    assert int(refused.headers["retry-after"]) == 60
    for _ in range(4):
        assert (await api.call("GET", "license", key=key)).status == 200
    assert (await api.call("GET", "license", key=key)).status == 429


@pytest.mark.parametrize("limit", [1, 2, 4])
@pytest.mark.parametrize(
    ("method", "path", "body"), [("GET", "performance", None), ("POST", "trades", trades(500))]
)
async def test_a_cost_above_the_whole_limit_takes_the_whole_limit(
    api: Api, limit: int, method: str, path: str, body: Any
) -> None:
    key = await api.key("bot", limit=limit)
    answered = await api.call(method, path, key=key, body=body)
    assert (answered.status, left(answered)) == (200, 0)
    assert (await api.call("GET", "license", key=key)).status == 429


async def test_while_the_limiter_is_open_nothing_is_charged(api: Api) -> None:
    key = await api.key("bot", limit=2)
    await api.call("GET", "license", key=key)
    api.redis.away = True
    answered = await api.call("POST", "trades", key=key, body=trades(500))
    assert (answered.status, "ratelimit" in answered.headers) == (200, False)


async def test_a_license_record_that_expires_between_both_calls_is_read_again(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = await api.key("bot", limit=30)
    await api.call("GET", "license", key=key)
    take, calls = api.redis.take_request, 0

    async def forgetful(*given: Any, **costs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 2:
            api.redis.records.clear()
        return await take(*given, **costs)

    monkeypatch.setattr(api.redis, "take_request", forgetful)
    answered = await api.call("POST", "trades", key=key, body=trades(500))
    assert (answered.status, left(answered)) == (200, 30 - 1 - 10)


def test_the_readme_lists_what_costs_more_than_one() -> None:
    table = (ROOT / "README.md").read_text(encoding="utf-8").partition("| costs | request |")[2]
    found = re.findall(r"^\| (.+) \| (.+) \|$", table.partition("\n\n")[0], re.MULTILINE)
    rows = {request: cost for cost, request in found}
    assert rows.pop("every other one") == "1"
    assert rows == {
        f"`{route.method} {route.path}`": (
            f"1 for each {route.cost.per_unit} {route.cost.items}, or part of them"
            if route.cost.per_unit
            else str(route.cost.units)
        )
        for route in declared_routes()
        if route.cost != Cost()
    }


async def test_the_document_states_what_costs_more_than_one(api: Api) -> None:
    paths = (await api.call("GET", "openapi.json")).json["paths"]
    told = {
        f"{route.method} {route.path}": paths[f"/{route.path}"][route.method.lower()].get("description", "")
        for route in declared_routes()
    }
    assert {name: text.partition("`. ")[2] for name, text in told.items() if "Costs" in text} == {
        "GET performance": "Costs 5 requests of the rate limit.",
        "GET account/export": "Costs 20 requests of the rate limit.",
        "GET ops/accounts/{account_id}/export": "Costs 20 requests of the rate limit.",
        "POST trades": "Costs 1 request of the rate limit for each 50 trades, or part of them.",
        "POST ml/get_confidence/batch": (
            "Costs 1 request of the rate limit for each 10 states, or part of them."
        ),
    }
