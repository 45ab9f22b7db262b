"""Builds the OpenAPI 3.1 document from the declared routes."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from functions.schemas import schemas_of
from functions.web.declaration import PUBLIC, Route
from functions.web.parameters import parameter_schema, parameters_of
from functions.web.preferences import PREFER
from functions.web.problems import PROBLEM_TYPE, STATUS_OF_CODE, Problem
from functions.web.routes import declared_routes
from shared.domain.access.sessions import NOTICED_WITHIN_S
from shared.domain.confidence.market_state import MAX_STATES_PER_REQUEST
from shared.domain.confidence.strategy import Feature, Strategy, StrategyCatalog
from shared.domain.patterns import with_published_patterns
from shared.version import VERSION

_ABOUT = """\
Trading signals, calibrated confidences and trade records for bots.

Each GET also answers HEAD, at the same cost. Answers over 1 KiB are compressed with gzip for callers that
accept it, except those that hold a secret. A query parameter that a route does not list, or that is given
twice, is refused. Web pages may call the API from the origins that its operator lists: every path then
answers a CORS preflight with 204, without a key and without counting against a limit.
"""
# What a request that counts against a limit is told, whatever the answer; absent while nothing counts.
_HEADERS: dict[str, tuple[str, str]] = {
    "X-Request-Id": ("string", "Names this request in our log; a valid one of the caller is kept."),
    "RateLimit": (
        "string",
        '`"default";r=<requests left>;t=<seconds until the quota next grows>` of the key; if the plan has '
        'them, then `"burst"` while it refuses, and `"license"` of all keys of the license.',
    ),
    "RateLimit-Policy": (
        "string",
        '`"default";q=<requests>;w=<window in seconds>`; then `"burst"`, `"license"` if the plan has them.',
    ),
    "X-RateLimit-Limit": ("integer", "Requests in a window of 60 seconds, as q of RateLimit-Policy."),
    "X-RateLimit-Remaining": ("integer", "Requests left, as r of RateLimit."),
    "X-RateLimit-Reset": ("integer", "Seconds from now until the quota next grows, as t of RateLimit."),
    "Retry-After": ("integer", "Seconds to wait before the same request may succeed."),
    "WWW-Authenticate": ("string", "The scheme that is expected: Bearer."),
    "Accept-Encoding": ("string", "The codings that a body may have, if its own is not accepted."),
    "Content-Disposition": ("string", "The name under which to save the answer, if it is a file."),
    "Preference-Applied": ("string", "What was applied of the header Prefer, such as handling=strict."),
}
# Every route of bots takes it.
SESSION_ID: dict[str, Any] = {
    "name": "session-id",
    "in": "header",
    "description": (
        "The session that the running bot holds: the call renews it. If another bot has its place since, "
        f"calls are refused (session_lost) within {NOTICED_WITHIN_S} seconds."
    ),
    "schema": {"type": "string"},
}
_QUOTA = [name for name in _HEADERS if "RateLimit" in name]


@lru_cache(1)
def document(strategies: StrategyCatalog) -> dict[str, Any]:
    """The whole document, built once per process."""
    routes = declared_routes()
    kinds: set[Any] = {Problem}
    for route in routes:
        kinds |= {kind for kind in (route.answer, *_body_kinds(route)) if _is_type(kind)}
    sent = [kind for route in routes for kind in _body_kinds(route) if _is_type(kind)]
    schemas, components = schemas_of(sorted(kinds, key=str), sent)
    states = {f"MarketState_{strategy.name}": _state_schema(strategy) for strategy in strategies.values()}
    schemas |= _flat_bodies(list(states))
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(f"/{route.path}", {})[route.method.lower()] = _operation(route, schemas)
    described = {
        "openapi": "3.1.0",
        "info": {
            "title": "Signal Cloud",
            "version": VERSION,
            "description": _ABOUT,
        },
        "servers": [{"url": "/api"}],
        "paths": paths,
        "components": {
            "schemas": components | states,
            "headers": {
                name: {"description": description, "schema": {"type": kind}}
                for name, (kind, description) in _HEADERS.items()
            },
            "securitySchemes": {
                "apiKey": {"type": "http", "scheme": "bearer", "bearerFormat": "sc_live_..."}
            },
        },
    }
    published: dict[str, Any] = with_published_patterns(described)
    return published


def _body_kinds(route: Route) -> tuple[Any, ...]:
    return () if route.body is None else route.body.kinds


def _is_type(kind: Any) -> bool:
    """Whether msgspec describes `kind`: not for None, nor for the name of a schema that is built here."""
    return kind is not None and not isinstance(kind, str)


def _flat_bodies(states: list[str]) -> dict[Any, dict[str, Any]]:
    """The schemas of bodies with one market state, and with a batch of them, for all strategies."""
    one = {"anyOf": [{"$ref": f"#/components/schemas/{name}"} for name in states]}
    many = {"type": "array", "items": one, "minItems": 1, "maxItems": MAX_STATES_PER_REQUEST}
    return {
        "MarketState": one,
        "MarketStates": {
            "type": "object",
            "properties": {"states": many},
            "required": ["states"],
            "additionalProperties": False,
        },
    }


def _state_schema(strategy: Strategy) -> dict[str, Any]:
    """The schema of one strategy's market state, from its features."""
    properties: dict[str, Any] = {
        "strategy": {"const": strategy.name},
        "symbol": {"enum": list(strategy.symbols)},
        "signal_type": {"enum": ["LONG", "SHORT"]},
    }
    properties |= {feature.name: _feature_schema(feature) for feature in strategy.features}
    required = [feature.name for feature in strategy.features if not feature.optional]
    return {
        "title": strategy.title,
        "type": "object",
        "properties": properties,
        "required": [*([] if strategy.default else ["strategy"]), "symbol", "signal_type", *required],
        "additionalProperties": False,
    }


def _feature_schema(feature: Feature) -> dict[str, Any]:
    schema: dict[str, Any] = {"description": f"{feature.description} {feature.unit}".strip()}
    if feature.type == "category":
        return schema | {"enum": [*feature.categories, *([None] if feature.optional else [])]}
    schema["type"] = [feature.type, "null"] if feature.optional else feature.type
    if feature.range is not None:
        schema |= {"minimum": feature.range[0], "maximum": feature.range[1]}
    return schema


def _operation(route: Route, schemas: Mapping[Any, dict[str, Any]]) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": route.operation_id,
        "summary": route.summary,
        "responses": {
            str(status): _response(route, status, description, schemas.get(route.answer))
            for status, description in route.statuses
        }
        | _problems(route),
        "security": [] if route.scope == PUBLIC else [{"apiKey": []}],
    }
    if route.scope != PUBLIC:
        needs = f"Needs a key with the scope `{route.scope}`."
        described["description"] = f"{needs} {route.cost.text}".rstrip()
    if route.parameters is not None:
        described["parameters"] = [parameter_schema(each) for each in parameters_of(route.parameters)]
    if route.body is not None and route.body.in_part:
        described.setdefault("parameters", []).append(PREFER)
    if route.scope == "bot":
        described.setdefault("parameters", []).append(SESSION_ID)
    if route.body is not None:
        kinds = [schemas[kind] for kind in route.body.kinds]
        content = {"application/json": {"schema": kinds[0] if len(kinds) == 1 else {"anyOf": kinds}}}
        described["requestBody"] = {
            "description": (
                f"At most {route.body.max_bytes} bytes, unpacked. JSON in UTF-8; Content-Encoding may be "
                "gzip or deflate. An object gives each name once."
            ),
            "required": route.body.required,
            "content": content,
        }
    return described


def _response(
    route: Route, status: int, description: str, schema: Mapping[str, Any] | None
) -> dict[str, Any]:
    described = {"description": description, "headers": _headers(route, status)}
    content: dict[str, Any] = {} if schema is None else {route.media_type: {"schema": schema}}
    content |= {media_type: {} for media_type in route.files}
    return described | {"content": content} if content else described


def _problems(route: Route) -> dict[str, Any]:
    by_status: dict[int, list[str]] = {}
    for code in route.problems:
        by_status.setdefault(STATUS_OF_CODE[code], []).append(code)
    content = {PROBLEM_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {
        str(status): {
            "description": ", ".join(names),
            "headers": _headers(route, status),
            "content": content,
        }
        for status, names in sorted(by_status.items())
    }


def _headers(route: Route, status: int) -> dict[str, Any]:
    """The headers that an answer with this status may have, beside those of every HTTP answer."""
    names = ["X-Request-Id"]
    if route.scope != PUBLIC and status != 401:
        names += _QUOTA
    if status in (429, 503):
        names.append("Retry-After")
    if status == 401:
        names.append("WWW-Authenticate")
    if status < 300 and route.files:
        names.append("Content-Disposition")
    if status == 415:
        names.append("Accept-Encoding")
    if status != 401 and route.body is not None and route.body.in_part:
        names.append("Preference-Applied")
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}
