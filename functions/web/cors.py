"""Lets web pages of chosen origins read answers (CORS, https://fetch.spec.whatwg.org/#http-cors-protocol).

Off unless the setting CORS_ORIGINS lists origins. A page sets the Authorization header itself, so no answer
allows credentials such as cookies. CORS refuses nobody: a request without a listed origin is answered as
ever, and a browser does not show the answer to a page of another origin.

preflight.py answers the question that a browser asks before a request.
"""

from collections.abc import Mapping, Sequence

# What a page may read beside the headers that every page may.
EXPOSED = (
    "Accept-Encoding",
    "Allow",
    "Preference-Applied",
    "RateLimit",
    "RateLimit-Policy",
    "Retry-After",
    "WWW-Authenticate",
    "X-RateLimit-Limit",
    "X-RateLimit-Remaining",
    "X-RateLimit-Reset",
    "X-Request-Id",
)
_EXPOSED = ", ".join(EXPOSED)


def allow_origin(answer: dict[str, str], origins: Sequence[str], request: Mapping[str, str]) -> None:
    """Adds to the headers of an answer whether the page that sent the request may read it."""
    add_vary(answer, "Origin")
    if is_allowed(origins, request):
        answer["access-control-allow-origin"] = request["origin"]
        answer["access-control-expose-headers"] = _EXPOSED


def is_allowed(origins: Sequence[str], request: Mapping[str, str]) -> bool:
    """Whether a page of a listed origin sent the request; browsers write an origin in one exact form."""
    return "origin" in request and request["origin"] in origins


def add_vary(answer: dict[str, str], name: str) -> None:
    """Tells caches that the request's header `name` chose this answer."""
    answer["vary"] = f"{answer['vary']}, {name}" if "vary" in answer else name
