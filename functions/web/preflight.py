"""Answers CORS preflights: before a page's request, a browser asks with OPTIONS whether it may send it.

A preflight has no key, so it counts against no limit. Every path answers it, also one that does not exist:
the request itself then gets the problem that says what is wrong, which a page could not read otherwise.
"""

from functools import cache

from functions.web.answers import Answer
from functions.web.call import Call
from functions.web.cors import is_allowed
from functions.web.parameters import parameters_of
from functions.web.routes import allowed_methods, declared_routes

# Chrome remembers an answer for two hours at most, other browsers for longer.
MAX_AGE_S = 7_200
# What a page may send to every route, beside the headers that routes declare as parameters.
_SENT = (
    *("Authorization", "Content-Encoding", "Content-Type", "Prefer", "Session-Id"),
    *("Traceparent", "X-Request-Id"),
)


def preflight_answer(call: Call, path: str) -> Answer | None:
    """The answer to a preflight for `path` (below /api); None if the request is none, or CORS is off.

    A page of an origin that is not listed gets an answer that allows nothing.
    """
    origins = call.services.settings.cors_origins
    if not origins or call.request.method != "OPTIONS" or not _is_preflight(call):
        return None
    if not is_allowed(origins, call.headers):
        return Answer(b"", 204)
    return Answer(
        b"",
        204,
        headers={
            "access-control-allow-methods": ", ".join(allowed_methods(path) or _all_methods()),
            "access-control-allow-headers": ", ".join(_sent_headers()),
            "access-control-max-age": str(MAX_AGE_S),
        },
    )


def _is_preflight(call: Call) -> bool:
    return "origin" in call.headers and "access-control-request-method" in call.headers


@cache
def _all_methods() -> tuple[str, ...]:
    return tuple(dict.fromkeys(method for route in declared_routes() for method in route.methods))


@cache
def _sent_headers() -> tuple[str, ...]:
    declared = (
        each for route in declared_routes() if route.parameters for each in parameters_of(route.parameters)
    )
    return tuple(sorted({*_SENT, *(each.name.title() for each in declared if each.place == "header")}))
