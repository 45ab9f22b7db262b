"""The OpenAPI 3.1 document, made from the same types that decode requests and encode answers."""

from collections.abc import Mapping
from functools import cache
from typing import Any

import msgspec

from functions.confidence import ConfidenceBatch
from functions.realtime import NegotiateRequest
from functions.signals import MAX_IDEMPOTENCY_KEY
from functions.trades import TradesRequest
from functions.web import HEALTH_TYPE, JSON_TYPE, PROBLEM_TYPE, STATUS_OF_CODE, Problem
from shared.domain.access.hub_events import ConnectRequest
from shared.domain.confidence.answers import ConfidenceAnswer
from shared.domain.confidence.market_state import MAX_STATES_PER_REQUEST, Feature, all_strategies
from shared.domain.limits import MAX_SEQUENCE
from shared.domain.market.bars import SYMBOL_PATTERN
from shared.domain.market.messages import SignalMessage
from shared.domain.trading.performance import Performance
from shared.domain.trading.trades import Trade
from shared.services import signals, trades
from shared.services.health import Readiness
from shared.services.licenses import OwnLicense
from shared.services.realtime import ClientAccess
from shared.services.signals import BarsReport, BarsRequest, SignalPage, SignalRequest
from shared.services.status import Status
from shared.services.trades import TradePage, TradeReport
from shared.version import VERSION


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """One method on one route: who may call it, what goes in and what comes out."""

    method: str
    path: str
    id: str
    summary: str
    scope: str | None
    answer: Any
    body: tuple[Any, ...] = ()
    body_required: bool = True
    parameters: tuple[str, ...] = ()
    # By status: what each says beside the problems of `codes`.
    statuses: tuple[tuple[int, str], ...] = ((200, "Done"),)
    media_type: str = JSON_TYPE
    codes: tuple[str, ...] = ()


_KEY_CODES = tuple(code for code in STATUS_OF_CODE if code.startswith(("key_", "license_")))
_ADMISSION = (*_KEY_CODES, "scope_missing", "rate_limited", "key_store_unavailable")
_BODY = ("malformed_json", "validation_failed", "unknown_field", "body_too_large", "unsupported_media_type")
_WRITE = (*_ADMISSION, *_BODY, "symbol_not_licensed", "database_unavailable")
_READ = (*_ADMISSION, "validation_failed", "unknown_field", "database_unavailable")

# Stand for the flat bodies that the strategies' feature schemas describe, and for a batch of them.
MARKET_STATE = "MarketState"
MARKET_STATES = "MarketStates"


def _limit(most: int) -> dict[str, Any]:
    schema = {"type": "integer", "minimum": 1, "maximum": most, "default": 100}
    return {"name": "limit", "description": "How many at most.", "schema": schema}


_SYMBOL: dict[str, Any] = {
    "description": "One symbol.",
    "schema": {"type": "string", "pattern": SYMBOL_PATTERN},
    "example": "ES",
}
PARAMETERS: dict[str, dict[str, Any]] = {
    "symbol": _SYMBOL,
    "symbol!": _SYMBOL | {"required": True},
    "after": {
        "description": "The last sequence already seen; signals behind it are returned.",
        "schema": {"type": "integer", "minimum": 0, "maximum": MAX_SEQUENCE, "default": 0},
    },
    "limit": _limit(trades.MAX_PAGE),
    "signals_limit": _limit(signals.MAX_PAGE),
    "idempotency-key": {
        "in": "header",
        "description": "The publisher's own name for this signal; sent again, it gives the same signal.",
        "schema": {"type": "string", "minLength": 1, "maxLength": MAX_IDEMPOTENCY_KEY},
    },
    "since": {
        "description": "Trades with exit_at from this time on.",
        "schema": {"type": "string", "format": "date-time"},
    },
    "until": {
        "description": "Trades with exit_at before this time.",
        "schema": {"type": "string", "format": "date-time"},
    },
    "cursor": {"description": "next_cursor of the page before.", "schema": {"type": "string"}},
}

OPERATIONS = (
    Operation(
        method="post",
        path="/ml/get_confidence",
        id="getConfidence",
        summary="The confidence for one market state",
        scope="bot",
        body=(MARKET_STATE,),
        answer=ConfidenceAnswer,
        codes=_WRITE,
    ),
    Operation(
        method="post",
        path="/ml/get_confidence/batch",
        id="getConfidenceBatch",
        summary="The confidences for 1 to 100 market states, in their order",
        scope="bot",
        body=(MARKET_STATES,),
        answer=ConfidenceBatch,
        codes=(*_WRITE, "batch_too_large"),
    ),
    Operation(
        method="post",
        path="/trades",
        id="postTrades",
        summary="Report 1 to 500 trades, or one bare; idempotent by trade_id",
        scope="bot",
        body=(TradesRequest, Trade),
        answer=TradeReport,
        codes=(*_WRITE, "batch_too_large"),
    ),
    Operation(
        method="get",
        path="/trades",
        id="getTrades",
        summary="Own trades, latest exit first",
        scope="bot",
        parameters=("symbol", "since", "until", "cursor", "limit"),
        answer=TradePage,
        codes=_READ,
    ),
    Operation(
        method="get",
        path="/performance",
        id="getPerformance",
        summary="Own win rate, pnl, drawdown and calibration",
        scope="bot",
        parameters=("symbol", "since", "until"),
        answer=Performance,
        codes=_READ,
    ),
    Operation(
        method="get",
        path="/signals",
        id="getSignals",
        summary="Signals of one symbol in sequence order",
        scope="bot",
        parameters=("symbol!", "after", "signals_limit"),
        answer=SignalPage,
        codes=(*_READ, "symbol_not_licensed"),
    ),
    Operation(
        method="post",
        path="/signals",
        id="postSignals",
        summary="Publish a signal; once for each Idempotency-Key",
        scope="publisher",
        body=(SignalRequest,),
        parameters=("idempotency-key",),
        answer=SignalMessage,
        statuses=((201, "Published"), (200, "The Idempotency-Key made this signal before")),
        codes=(*_WRITE, "conflict"),
    ),
    Operation(
        method="post",
        path="/bars",
        id="postBars",
        summary="Send up to 5,000 bars of one symbol",
        scope="feeder",
        body=(BarsRequest,),
        answer=BarsReport,
        codes=(*_WRITE, "batch_too_large"),
    ),
    Operation(
        method="post",
        path="/ws/negotiate",
        id="negotiate",
        summary="A client access URL for the hub",
        scope="bot",
        body=(NegotiateRequest,),
        body_required=False,
        answer=ClientAccess,
        codes=(*_ADMISSION, *_BODY, "symbol_not_licensed"),
    ),
    Operation(
        method="post",
        path="/ws/events",
        id="postHubEvents",
        summary="For Web PubSub: connect, connected and disconnected, as CloudEvents it proves to be its own",
        scope=None,
        body=(ConnectRequest,),
        answer=None,
        statuses=((204, "Let in, or taken note of"),),
        codes=("key_unknown", "key_revoked", *_BODY, "realtime_unavailable"),
    ),
    Operation(
        method="options",
        path="/ws/events",
        id="allowHubEvents",
        summary="For Web PubSub: whether its events are welcome",
        scope=None,
        answer=None,
        codes=("validation_failed",),
    ),
    Operation(
        method="get",
        path="/license",
        id="getLicense",
        summary="Own plan, symbols, limits, expiry and usage",
        scope="bot",
        answer=OwnLicense,
        codes=_ADMISSION,
    ),
    Operation(
        method="get",
        path="/status",
        id="getStatus",
        summary="What the system did and how it stands",
        scope="ops",
        answer=Status,
        codes=(*_ADMISSION, "database_unavailable"),
    ),
    Operation(
        method="get",
        path="/health",
        id="getHealth",
        summary="Liveness",
        scope=None,
        answer=dict[str, str],
        media_type=HEALTH_TYPE,
    ),
    Operation(
        method="get",
        path="/health/ready",
        id="getReadiness",
        summary="Every dependency, with its latency; 503 when one fails",
        scope=None,
        answer=Readiness,
        statuses=((200, "Ready"), (503, "A check fails that nothing works without")),
        media_type=HEALTH_TYPE,
    ),
    Operation(
        method="get",
        path="/openapi.json",
        id="getOpenapi",
        summary="This document",
        scope=None,
        answer=dict[str, Any],
    ),
)


def allowed_methods(path: str) -> tuple[str, ...]:
    """The methods that `path` (below /api, without a leading slash) answers to; empty if there is none."""
    wanted = f"/{path.strip('/').lower()}"
    return tuple(each.method.upper() for each in OPERATIONS if each.path.lower() == wanted)


@cache
def document() -> dict[str, Any]:
    """The whole document, made once a process."""
    kinds = {kind for each in OPERATIONS for kind in (each.answer, *each.body)} - {
        MARKET_STATE,
        MARKET_STATES,
        None,
    } | {Problem}
    ordered = sorted(kinds, key=str)
    made, components = msgspec.json.schema_components(ordered, ref_template="#/components/schemas/{name}")
    states = _state_schemas()
    refs = {kind: dict(schema) for kind, schema in zip(ordered, made, strict=True)}
    one = {"anyOf": [{"$ref": f"#/components/schemas/{name}"} for name in states]}
    many = {"type": "array", "items": one, "minItems": 1, "maxItems": MAX_STATES_PER_REQUEST}
    refs[MARKET_STATE] = one
    refs[MARKET_STATES] = {
        "type": "object",
        "properties": {"states": many},
        "required": ["states"],
        "additionalProperties": False,
    }
    paths: dict[str, dict[str, Any]] = {}
    for each in OPERATIONS:
        paths.setdefault(each.path, {})[each.method] = _operation(each, refs)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Signal Cloud",
            "version": VERSION,
            "description": "Trading signals, calibrated confidences and trade records for bots.",
        },
        "servers": [{"url": "/api"}],
        "paths": paths,
        "components": {
            "schemas": components | states,
            "securitySchemes": {
                "apiKey": {"type": "http", "scheme": "bearer", "bearerFormat": "sc_live_..."}
            },
        },
    }


def _state_schemas() -> dict[str, dict[str, Any]]:
    """One flat request body per strategy, from its feature schema."""
    schemas: dict[str, dict[str, Any]] = {}
    for strategy in all_strategies().values():
        properties: dict[str, Any] = {
            "strategy": {"const": strategy.name},
            "symbol": {"enum": list(strategy.symbols)},
            "signal_type": {"enum": ["LONG", "SHORT"]},
        }
        properties |= {feature.name: _feature_schema(feature) for feature in strategy.features}
        required = [feature.name for feature in strategy.features if not feature.optional]
        schemas[f"MarketState_{strategy.name}"] = {
            "title": strategy.title,
            "type": "object",
            "properties": properties,
            "required": [*([] if strategy.default else ["strategy"]), "symbol", "signal_type", *required],
            "additionalProperties": False,
        }
    return schemas


def _feature_schema(feature: Feature) -> dict[str, Any]:
    schema: dict[str, Any] = {"description": f"{feature.description} {feature.unit}".strip()}
    if feature.type == "category":
        return schema | {"enum": [*feature.categories, *([None] if feature.optional else [])]}
    schema["type"] = [feature.type, "null"] if feature.optional else feature.type
    if feature.range is not None:
        schema |= {"minimum": feature.range[0], "maximum": feature.range[1]}
    return schema


def _operation(each: Operation, refs: Mapping[Any, dict[str, Any]]) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": each.id,
        "summary": each.summary,
        "responses": {
            str(status): _response(refs.get(each.answer), description, each.media_type)
            for status, description in each.statuses
        }
        | _problems(each.codes),
        "security": [{"apiKey": []}] if each.scope else [],
    }
    if each.scope:
        described["description"] = f"Needs a key with the scope `{each.scope}`."
    if each.parameters:
        described["parameters"] = [
            {"name": name.rstrip("!"), "in": "query", **PARAMETERS[name]} for name in each.parameters
        ]
    if each.body:
        schemas = [refs[kind] for kind in each.body]
        content = {"application/json": {"schema": schemas[0] if len(schemas) == 1 else {"anyOf": schemas}}}
        described["requestBody"] = {"required": each.body_required, "content": content}
    return described


def _response(schema: Mapping[str, Any] | None, description: str, media_type: str) -> dict[str, Any]:
    if schema is None:
        return {"description": description}
    return {"description": description, "content": {media_type: {"schema": schema}}}


def _problems(codes: tuple[str, ...]) -> dict[str, Any]:
    by_status: dict[int, list[str]] = {}
    for code in codes:
        by_status.setdefault(STATUS_OF_CODE[code], []).append(code)
    content = {PROBLEM_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {
        str(status): {"description": ", ".join(names), "content": content}
        for status, names in sorted(by_status.items())
    }
