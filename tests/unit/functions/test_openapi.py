"""The document describes exactly the functions that exist, and every reference in it leads somewhere."""

import json
import re
from typing import Any

import msgspec

from functions.openapi import SESSION_ID, document
from functions.web.preferences import PREFER
from functions.web.routes import allowed_methods, declared_routes
from shared.domain.confidence.strategy import Feature, StrategyCatalog
from shared.domain.patterns import published
from shared.domain.trading.trades import TRADE_ID_PATTERN
from shared.version import VERSION
from tests.support.api import Api
from tests.support.app import functions
from tests.support.requests import ADMITTING
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


def test_bodies_of_items_say_how_many_they_may_have() -> None:
    schemas: dict[str, Any] = document(STRATEGIES)["components"]["schemas"]
    for name, field, most in (("BarsRequest", "bars", 5_000), ("TradesRequest", "trades", 500)):
        array = schemas[name]["properties"][field]
        assert (array["type"], array["minItems"], array["maxItems"]) == ("array", 1, most)


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
    assert set(allowed_methods("Trades/")) == {"GET", "HEAD", "POST"}
    assert allowed_methods("nothing/here") == ()


def test_allowed_methods_of_a_path_with_a_parameter_are_those_of_its_route() -> None:
    assert allowed_methods("trades/my-1") == allowed_methods("/TRADES/a.b:c/") == ("DELETE",)
    assert allowed_methods("trades/my-1/more") == ()


def test_the_parameter_of_a_path_is_described_as_one() -> None:
    described, _ = document(STRATEGIES)["paths"]["/trades/{trade_id}"]["delete"]["parameters"]
    assert (described["in"], described["required"], described["example"]) == ("path", True, "my-1")
    assert described["schema"]["pattern"] == published(TRADE_ID_PATTERN)


def test_the_money_of_trades_and_performance_is_described() -> None:
    schemas: dict[str, Any] = document(STRATEGIES)["components"]["schemas"]
    for kind in ("Trade", "StoredTrade"):
        assert "USD before fees" in schemas[kind]["properties"]["pnl"]["description"]
        assert "whole round trip in USD" in schemas[kind]["properties"]["fees"]["description"]
    for kind in ("Performance", "SymbolPerformance"):
        told = schemas[kind]["properties"]
        assert "before fees" in told["pnl"]["description"]
        for name in ("wins", "net_pnl", "average_win", "average_loss", "max_drawdown"):
            assert "pnl - fees" in msgspec.json.encode(told[name]).decode(), name


def test_a_body_is_required_unless_all_of_it_may_be_left_out() -> None:
    paths: dict[str, Any] = document(STRATEGIES)["paths"]
    required = {
        (method, path): operation["requestBody"]["required"]
        for path, operations in paths.items()
        for method, operation in operations.items()
        if "requestBody" in operation
    }
    assert required == {
        ("post", "/ml/get_confidence"): True,
        ("post", "/ml/get_confidence/batch"): True,
        ("post", "/trades"): True,
        ("post", "/signals"): True,
        ("post", "/bars"): True,
        ("post", "/webhooks/stripe"): True,
        ("post", "/webhooks/whop"): True,
        ("post", "/ws/negotiate"): False,
        ("post", "/sessions"): True,
        ("post", "/license/rotate"): False,
        ("post", "/claims"): True,
        ("post", "/ws/events"): True,
        ("post", "/destinations"): True,
        ("post", "/destinations/{destination_id}/replay"): True,
        ("post", "/hooks/{secret}"): True,
        ("post", "/hooks"): True,
        ("post", "/hooks/{hook_id}/rotate"): False,
        ("post", "/ops/licenses"): True,
        ("patch", "/ops/licenses/{license_id}"): True,
        ("post", "/ops/licenses/{license_id}/extend"): True,
        ("post", "/ops/licenses/{license_id}/keys"): False,
        ("post", "/ops/keys/{public_id}/rotate"): False,
        ("post", "/ops/licenses/bulk"): True,
        ("post", "/ops/accounts/{account_id}/erase"): True,
        ("post", "/ops/licenses/{license_id}/hooks"): True,
        ("post", "/ops/hooks/{hook_id}/rotate"): False,
    }


def test_a_body_is_one_of_its_kinds() -> None:
    paths: dict[str, Any] = document(STRATEGIES)["paths"]

    def schema(path: str) -> Any:
        return paths[path]["post"]["requestBody"]["content"]["application/json"]["schema"]

    assert schema("/bars") == {"$ref": "#/components/schemas/BarsRequest"}
    assert schema("/trades") == {
        "anyOf": [{"$ref": "#/components/schemas/TradesRequest"}, {"$ref": "#/components/schemas/Trade"}]
    }
    states = {"anyOf": [{"$ref": f"#/components/schemas/MarketState_{name}"} for name in STRATEGIES]}
    assert schema("/ml/get_confidence") == states
    assert schema("/ml/get_confidence/batch") == {
        "type": "object",
        "properties": {"states": {"type": "array", "items": states, "minItems": 1, "maxItems": 100}},
        "required": ["states"],
        "additionalProperties": False,
    }


def test_operations_are_named_and_summarised() -> None:
    operations = {
        operation["operationId"]: operation
        for methods in document(STRATEGIES)["paths"].values()
        for operation in methods.values()
    }
    assert len(operations) == len(declared_routes()), "two operations have the same name"
    assert all(re.fullmatch(r"[a-z][A-Za-z]+", name) for name in operations)
    assert all(operation["summary"] for operation in operations.values())
    assert {"getConfidence", "postTrades", "getSignals", "negotiate"} <= set(operations)
    assert operations["getSignals"]["summary"] == "Signals of one symbol in sequence order"


def test_problems_stand_under_their_status() -> None:
    responses: dict[str, Any] = document(STRATEGIES)["paths"]["/signals"]["post"]["responses"]
    assert {status: told["description"] for status, told in responses.items()} == {
        "201": "Published",
        "200": (
            "Published before: under the same Idempotency-Key, or without a key the same alert in the last "
            "minute"
        ),
        "400": "malformed_json",
        "401": "key_missing, key_malformed, key_unknown, key_revoked, key_expired",
        "403": "license_suspended, license_expired, license_revoked, scope_missing, symbol_not_licensed",
        "409": "conflict",
        "413": "body_too_large",
        "415": "unsupported_media_type",
        "422": "validation_failed, unknown_field",
        "429": "rate_limited",
        "503": "key_store_unavailable, database_unavailable",
    }
    content = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    assert all(told["content"] == content for status, told in responses.items() if int(status) >= 400)
    empty = document(STRATEGIES)["paths"]["/ws/events"]["post"]["responses"]["204"]
    assert empty == {
        "description": "Connection accepted, or event recorded",
        "headers": {"X-Request-Id": {"$ref": "#/components/headers/X-Request-Id"}},
    }


async def test_every_header_that_an_answer_has_is_described(api: Api) -> None:
    """Beside those that HTTP gives to every answer, and those of CORS."""
    of_http = {"content-type", "cache-control", "x-content-type-options", "vary"}
    sometimes = {"preference-applied", "accept-encoding", "content-disposition"}
    described: dict[str, Any] = document(STRATEGIES)
    units = {(route.method, route.path): route.cost.units for route in declared_routes()}
    for (method, path), (scope, given) in ADMITTING.items():
        operation = described["paths"][f"/{path}"][method.lower()]
        key = await api.key(scope, limit=units[method, path])
        fresh = await api.key(scope)
        packed = {"headers": {"content-encoding": "br", "prefer": "handling=strict"}}
        for used, changed in ((key, {}), (key, {}), (None, {}), (fresh, packed)):
            answered = await api.call(method, path, key=used, **(given | changed))
            told = operation["responses"][str(answered.status)]["headers"]
            assert set(told) <= set(described["components"]["headers"])
            names = {name.lower() for name in told}
            assert names - sometimes <= set(answered.headers) - of_http <= names


def test_the_document_names_what_it_is() -> None:
    described = document(STRATEGIES)
    assert described["openapi"] == "3.1.0"
    assert described["info"]["title"] == "Signal Cloud"
    assert described["info"]["version"] == VERSION
    assert described["servers"] == [{"url": "/api"}]
    assert described["components"]["securitySchemes"] == {
        "apiKey": {"type": "http", "scheme": "bearer", "bearerFormat": "sc_live_..."}
    }
    assert document(STRATEGIES) is described, "it is made once a process"


def test_every_kind_of_feature_is_described() -> None:
    schemas: dict[str, Any] = document(STRATEGIES)["components"]["schemas"]
    bounce, reversal = schemas["MarketState_vwap_bounce"], schemas["MarketState_capitulation_reversal"]
    assert (bounce["type"], bounce["additionalProperties"]) == ("object", False)
    assert bounce["title"] == STRATEGIES["vwap_bounce"].title
    assert bounce["properties"]["strategy"] == {"const": "vwap_bounce"}
    assert bounce["properties"]["symbol"] == {"enum": ["ES", "NQ", "CL", "YM", "RTY"]}
    assert bounce["properties"]["signal_type"] == {"enum": ["LONG", "SHORT"]}
    assert bounce["properties"]["rsi"]["type"] == "number"
    assert bounce["properties"]["atr"]["type"] == ["number", "null"]
    assert reversal["required"][0] == "strategy"
    assert reversal["properties"]["reversal_candle"]["type"] == "boolean"
    assert reversal["properties"]["regime"]["enum"] == list(
        next(
            each for each in STRATEGIES["capitulation_reversal"].features if each.name == "regime"
        ).categories
    )
    for strategy in STRATEGIES.values():
        properties = schemas[f"MarketState_{strategy.name}"]["properties"]
        for feature in strategy.features:
            assert properties[feature.name]["description"] == (
                f"{feature.description} {feature.unit}" if feature.unit else feature.description
            )


def test_an_optional_category_may_be_null() -> None:
    feature = Feature(
        name="session", type="category", description="When.", categories=("rth", "eth"), optional=True
    )
    strategy = msgspec.structs.replace(STRATEGIES.default, features=(feature,))
    schemas: dict[str, Any] = document(StrategyCatalog([strategy]))["components"]["schemas"]
    assert schemas["MarketState_vwap_bounce"]["properties"]["session"] == {
        "description": "When.",
        "enum": ["rth", "eth", None],
    }


def test_every_call_of_a_bot_may_name_its_session() -> None:
    paths: dict[str, Any] = document(STRATEGIES)["paths"]
    for (method, path), (scope, _) in ADMITTING.items():
        operation = paths[f"/{path}"][method.lower()]
        assert (SESSION_ID in operation.get("parameters", ())) == (scope == "bot")
        assert ("session_lost" in operation["responses"]["403"]["description"]) == (scope == "bot")


def test_every_parameter_is_described() -> None:
    described = {
        (path, method, parameter["name"]): parameter["description"]
        for path, operations in document(STRATEGIES)["paths"].items()
        for method, operation in operations.items()
        for parameter in operation.get("parameters", ())
        if parameter != SESSION_ID
    }
    own = "The id of one of the account's destinations."
    assert all(described.values())
    assert {named: text for named, text in described.items() if not named[0].startswith("/ops/")} == {
        ("/destinations/{destination_id}", "delete", "destination_id"): own,
        **{
            (f"/destinations/{{destination_id}}/{action}", "post", "destination_id"): own
            for action in ("test", "secret", "replay")
        },
        ("/notifications", "get", "after"): "next_after of the previous page.",
        ("/notifications", "get", "limit"): "At most this many.",
        ("/claim/{token}", "get", "token"): "The last part of the claim link.",
        ("/claim/{token}", "post", "token"): "The last part of the claim link.",
        ("/license/keys/{own_public_id}", "delete", "own_public_id"): (
            "The public id of a key: the six characters after its prefix."
        ),
        ("/license/keys/{own_public_id}", "delete", "confirm"): "true ends the key of this request, too.",
        ("/signals", "get", "symbol"): "One symbol.",
        ("/signals", "get", "after"): "The last sequence that the bot has; returns later signals.",
        ("/signals", "get", "limit"): "At most this many.",
        ("/signals", "post", "idempotency-key"): (
            "The publisher's name for this signal, whatever its symbol. The same name with the same content "
            "returns the same signal; with other content it is a conflict. Without a name, the same "
            "strategy, symbol, side, kind and price within a minute is the same signal."
        ),
        ("/bars", "post", "prefer"): PREFER["description"],
        ("/trades", "post", "prefer"): PREFER["description"],
        ("/trades", "get", "symbol"): "One symbol.",
        ("/trades", "get", "since"): "Trades with exit_at from this time on.",
        ("/trades", "get", "until"): "Trades with exit_at before this time.",
        ("/trades", "get", "cursor"): "next_cursor of the previous page.",
        ("/trades", "get", "limit"): "At most this many.",
        ("/trades/{trade_id}", "delete", "trade_id"): (
            "The trade_id under which the account has reported the trade."
        ),
        ("/performance", "get", "symbol"): "One symbol.",
        ("/performance", "get", "since"): "Trades with exit_at from this time on.",
        ("/performance", "get", "until"): "Trades with exit_at before this time.",
        ("/sessions/{session_id}", "delete", "session_id"): "The session_id of a session.",
        ("/hooks/{secret}", "post", "secret"): "The secret in the hook's address: sch_...",
        ("/hooks/{hook_id}/rotate", "post", "hook_id"): "The hook's id, which is not its secret.",
        ("/hooks/{hook_id}/end", "post", "hook_id"): "The hook's id, which is not its secret.",
    }
