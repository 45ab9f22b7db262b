"""The document describes exactly the functions that exist, and every reference in it leads somewhere."""

import json
import re
from typing import Any

import msgspec

from functions.openapi import document
from functions.web.routes import allowed_methods, declared_routes
from tests.support.app import functions
from tests.support.strategies import STRATEGIES


def served() -> set[tuple[str, str]]:
    found = set()
    for function in functions().values():
        trigger: Any = function.get_trigger()
        if trigger is None or trigger.type != "httpTrigger" or "{*" in trigger.route:
            continue
        methods = {getattr(method, "value", method) for method in trigger.methods}
        found |= {(method.lower(), f"/{trigger.route}") for method in methods if method.lower() != "head"}
    return found


def test_every_function_is_described_and_nothing_else() -> None:
    assert {(route.method.lower(), f"/{route.path}") for route in declared_routes()} == served()


def test_every_reference_leads_to_a_schema() -> None:
    text = msgspec.json.encode(document(STRATEGIES)).decode()
    schemas = json.loads(text)["components"]["schemas"]
    names = set(re.findall(r'"#/components/schemas/([^"]+)"', text))
    assert names
    assert names <= set(schemas)


def test_market_states_follow_the_strategies() -> None:
    schemas: dict[str, Any] = document(STRATEGIES)["components"]["schemas"]
    state = schemas["MarketState_vwap_bounce"]
    assert state["required"] == ["symbol", "signal_type", "vwap_distance", "rsi"]
    assert (state["properties"]["rsi"]["minimum"], state["properties"]["rsi"]["maximum"]) == (0, 100)


def test_limits_and_answers_are_those_of_the_routes() -> None:
    paths: dict[str, Any] = document(STRATEGIES)["paths"]

    def parameters(path: str, method: str) -> dict[str, Any]:
        return {each["name"]: each for each in paths[path][method]["parameters"]}

    assert parameters("/trades", "get")["limit"]["schema"]["maximum"] == 500
    assert parameters("/signals", "get")["limit"]["schema"]["maximum"] == 1_000
    assert parameters("/signals", "post")["idempotency-key"]["in"] == "header"
    assert {"200", "201"} <= set(paths["/signals"]["post"]["responses"])
    ready = paths["/health/ready"]["get"]["responses"]
    assert [list(ready[status]["content"]) for status in ("200", "503")] == [["application/health+json"]] * 2


def test_allowed_methods_ignore_case_and_slashes() -> None:
    assert set(allowed_methods("Trades/")) == {"GET", "POST"}
    assert allowed_methods("nothing/here") == ()
