"""Declares routes: one decorator registers, admits, decodes, encodes and documents.

    routes = Routes()

    @routes.get("license", scope="bot", summary="...", answer=OwnLicense, problems=ADMISSION)
    async def get_license(call: Call) -> OwnLicense: ...

The handler gets the call, then the parameters and the body, if the route declares them. Each GET also answers
HEAD, and a query parameter that a route does not declare is refused. The handler returns an
Answer, or a value that is encoded with the first of the declared statuses. Its errors become problem JSON.
A route must declare a scope or PUBLIC.
"""

import re
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, Literal, NotRequired, TypedDict, Unpack, get_args

import azure.functions as func

from functions.web.answers import Answer
from functions.web.declaration import PUBLIC, QUERY, Body, Cost, Handler, Route
from functions.web.endpoint import endpoint
from functions.web.problems import STATUS_OF_CODE
from shared.domain.access.licenses import Scope
from shared.errors import ConfigurationError


class Declaration(TypedDict):
    """What a route declares; the fields are those of Route."""

    scope: Scope | Literal["public"]
    summary: str
    answer: Any
    statuses: NotRequired[tuple[tuple[int, str], ...]]
    media_type: NotRequired[str]
    files: NotRequired[tuple[str, ...]]
    problems: NotRequired[tuple[str, ...]]
    parameters: NotRequired[Any]
    body: NotRequired[Body]
    cost: NotRequired[Cost]
    admits_in_service: NotRequired[bool]
    if_misconfigured: NotRequired[Callable[[ConfigurationError], Answer]]
    holds_secret: NotRequired[bool]


class Routes:
    """The routes of one area, and the blueprint that holds them."""

    def __init__(self) -> None:
        self.blueprint = func.Blueprint()

    def get(self, path: str, **declared: Unpack[Declaration]) -> Callable[[Handler], Any]:
        return self._declare("GET", path, declared)

    def post(self, path: str, **declared: Unpack[Declaration]) -> Callable[[Handler], Any]:
        return self._declare("POST", path, declared)

    def patch(self, path: str, **declared: Unpack[Declaration]) -> Callable[[Handler], Any]:
        return self._declare("PATCH", path, declared)

    def delete(self, path: str, **declared: Unpack[Declaration]) -> Callable[[Handler], Any]:
        return self._declare("DELETE", path, declared)

    def options(self, path: str, **declared: Unpack[Declaration]) -> Callable[[Handler], Any]:
        return self._declare("OPTIONS", path, declared)

    def _declare(self, method: str, path: str, declared: Declaration) -> Callable[[Handler], Any]:
        scope = declared.get("scope")
        if scope not in (*get_args(Scope), PUBLIC):
            raise TypeError(f"{method} {path} must declare a scope or PUBLIC, got {scope!r}")
        unknown = set(declared.get("problems", ())) - set(STATUS_OF_CODE)
        if unknown:
            raise TypeError(f"{method} {path} declares unknown problem codes: {', '.join(sorted(unknown))}")

        def register(handler: Handler) -> Any:
            # Every route refuses query parameters that it does not declare.
            of_all = () if method == "OPTIONS" else QUERY
            # Every call of a bot may name its session.
            of_bots = ("session_lost",) if scope == "bot" else ()
            problems = dict.fromkeys((*declared.get("problems", ()), *of_all, *of_bots))
            given = declared | {"problems": tuple(problems)}
            route = Route(method=method, path=path, function=handler.__name__, **given)
            _declared.append(route)
            return register_function(self.blueprint, path, route.methods, handler, route)

        return register


_declared: list[Route] = []


def declared_routes() -> Sequence[Route]:
    """Every declared route, in the order of declaration."""
    return tuple(_declared)


def allowed_methods(path: str) -> tuple[str, ...]:
    """The methods of the routes at `path` (below /api); empty if there is none."""
    wanted = path.strip("/")
    found = (route for route in _declared if _path_pattern(route.path).fullmatch(wanted))
    return tuple(method for route in found for method in route.methods)


@cache
def _path_pattern(template: str) -> re.Pattern[str]:
    """Matches the paths of a route, whose parameters are whole parts in braces. The host ignores case."""
    parts = ("[^/]+" if part.startswith("{") else re.escape(part) for part in template.split("/"))
    return re.compile("/".join(parts), re.IGNORECASE)


def register_function(
    blueprint: func.Blueprint, path: str, methods: Sequence[str], handler: Handler, route: Route | None = None
) -> Any:
    """Registers `handler` under its own name; without `route`, it is a fallback that is not documented."""
    run = endpoint(handler, route)
    return blueprint.function_name(handler.__name__)(blueprint.route(path, methods=list(methods))(run))
