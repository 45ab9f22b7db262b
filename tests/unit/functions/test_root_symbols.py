"""A caller that sends a contract in place of a root gets the root, on every route that takes a symbol."""

import json
from typing import Any

import msgspec
import pytest

from functions.openapi import document
from functions.web.routes import declared_routes
from shared.domain.access.plans import Overrides
from tests.support.api import Answered, Api
from tests.support.requests import ADMITTING, BARS, SIGNAL, STATE, TRADE
from tests.support.strategies import STRATEGIES

# For each route that takes a symbol: its request with that symbol, and the field that is named then.
ASKING: dict[tuple[str, str], tuple[Any, str]] = {
    ("POST", "ml/get_confidence"): (lambda symbol: {"body": STATE | {"symbol": symbol}}, "symbol"),
    ("POST", "ml/get_confidence/batch"): (
        lambda symbol: {"body": {"states": [STATE, STATE | {"symbol": symbol}]}},
        "states[1].symbol",
    ),
    ("POST", "trades"): (lambda symbol: {"body": TRADE | {"symbol": symbol}}, "symbol"),
    ("GET", "trades"): (lambda symbol: {"symbol": symbol}, "symbol"),
    ("GET", "performance"): (lambda symbol: {"symbol": symbol}, "symbol"),
    ("GET", "signals"): (lambda symbol: {"symbol": symbol}, "symbol"),
    ("POST", "signals"): (lambda symbol: {"body": SIGNAL | {"symbol": symbol}}, "symbol"),
    ("POST", "bars"): (lambda symbol: {"body": BARS | {"symbol": symbol}}, "symbol"),
    ("POST", "hooks"): (lambda symbol: {"body": {"name": "c", "symbols": [symbol]}}, "symbols[0]"),
    ("POST", "ws/negotiate"): (lambda symbol: {"body": {"symbols": ["NQ", symbol]}}, "symbols[1]"),
    ("POST", "sessions"): (
        lambda symbol: {"body": {"instance": "bot-1", "symbols": ["NQ", symbol]}},
        "symbols[1]",
    ),
}
WRITTEN = {
    "ESZ5": "ES",
    "ESZ25": "ES",
    "/ES": "ES",
    "ES1!": "ES",
    "ES1": "ES",
    "@ES": "ES",
    "ES=F": "ES",
    "ES 12-25": "ES",
    "es": "ES",
    " ES": "ES",
    "MES": "ES",
    "MESZ5": "ES",
    "M2K": "RTY",
    "NQH6": "NQ",
    "nq": "NQ",
    "CME_MINI:NQ1!": "NQ",
}


def test_every_route_that_takes_a_symbol_is_here() -> None:
    described: dict[str, Any] = json.loads(msgspec.json.encode(document(STRATEGIES)))

    def names_symbols(part: Any) -> bool:
        if isinstance(part, dict):
            if "$ref" in part:
                return names_symbols(described["components"]["schemas"][part["$ref"].rpartition("/")[2]])
            is_one = part.get("name") in ("symbol", "symbols") or {"symbol", "symbols"} & set(
                part.get("properties", ())
            )
            return bool(is_one) or any(map(names_symbols, part.values()))
        return isinstance(part, list) and any(map(names_symbols, part))

    taking = {
        (route.method, route.path)
        for route in declared_routes()
        if not route.path.startswith("ops/")  # operators know the roots
        for operation in [described["paths"][f"/{route.path}"][route.method.lower()]]
        if names_symbols(operation.get("parameters")) or names_symbols(operation.get("requestBody"))
    }
    assert taking == set(ASKING)


async def ask(api: Api, route: tuple[str, str], symbol: str, *licensed: str) -> Answered:
    request, _ = ASKING[route]
    scope, _ = ADMITTING[route]
    key = await api.key(scope, symbols=licensed or ("ES", "NQ"))
    return await api.call(*route, key=key, **request(symbol))


@pytest.mark.parametrize("route", ASKING, ids=" ".join)
@pytest.mark.parametrize("symbol", WRITTEN)
async def test_the_root_is_told(api: Api, route: tuple[str, str], symbol: str) -> None:
    answered = await ask(api, route, symbol)
    assert (answered.status, answered.code) == (422, "validation_failed"), answered.body
    (error,) = answered.json["errors"]
    assert error["field"].endswith(ASKING[route][1])
    assert error["code"] in ("unknown_value", "invalid_format")
    assert error["message"].endswith(f"send {WRITTEN[symbol]}.")
    assert "license" not in answered.body.decode()


@pytest.mark.parametrize("route", ASKING, ids=" ".join)
async def test_a_root_outside_of_the_license_is_told_as_that(api: Api, route: tuple[str, str]) -> None:
    answered = await ask(api, route, "ES", "NQ")
    if route[1] in ("trades", "performance") and route[0] == "GET":
        assert answered.status == 200, "trades from before a license was changed are still the account's"
    else:
        assert (answered.status, answered.code) == (403, "symbol_not_licensed")


async def test_a_contract_that_the_license_covers_is_served_as_it_is(api: Api) -> None:
    licenses = api.services.license_service("tester")
    license_ = await licenses.create_license(
        "acct-1", overrides=Overrides(symbols=("MES",)), may_be_unserved=True
    )
    for method, path in ASKING:
        if path.startswith("ml/"):
            continue  # strategies name their own symbols
        scope, _ = ADMITTING[method, path]
        key = await licenses.create_key(license_.license_id, (scope,))
        given = {
            "ws/negotiate": {"symbols": ["MES"]},
            "sessions": {"instance": "bot-1", "symbols": ["MES"]},
        }.get(path)
        request = {"body": given} if given else ASKING[method, path][0]("MES")
        assert (await api.call(method, path, key=key, **request)).status in (200, 201)
