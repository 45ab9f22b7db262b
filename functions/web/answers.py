"""Encodes a handler's answer as the response that Azure Functions expects."""

import math
from functools import lru_cache
from typing import Any

import azure.functions as func
import msgspec

from shared.domain.access.rate_limit import WINDOW_S, LimitState, RateState
from shared.domain.plain_json import encode

JSON_TYPE = "application/json"
HEALTH_TYPE = "application/health+json"

_POLICY = '"default"'  # the name of the policy, as a structured field's string
_SECONDS = tuple(str(seconds) for seconds in range(WINDOW_S + 1))


class Answer(msgspec.Struct, frozen=True, gc=False):
    """A handler's answer: a value to encode as JSON, or bytes to send as they are."""

    value: Any
    status: int = 200
    content_type: str = JSON_TYPE
    headers: dict[str, str] | None = None


class Response(func.HttpResponse):
    """A response whose headers are a plain dict, with names in lower case.

    The base class copies headers into a werkzeug list with one checked call per header, which costs a quarter
    of what the app may spend on a cached confidence. The worker only uses `in`, sets items and reads
    `items()`.
    """

    # These replace the properties of the base class, whose values its constructor would set.
    __slots__ = ("body", "headers", "mimetype", "status_code")
    body: bytes
    headers: Any
    mimetype: str
    status_code: int
    charset = "utf-8"

    def __init__(self, body: bytes, status: int, headers: dict[str, str]) -> None:
        # Does not call the base constructor; avoiding its cost is the purpose of this class.
        self.body = body
        self.status_code = status
        self.headers = headers
        self.mimetype = headers["content-type"]

    def get_body(self) -> bytes:
        return self.body


def response_of(answer: Answer, request_id: str, rate: RateState | None) -> Response:
    """The response for `answer`, with the headers that every response has."""
    headers = {
        "x-request-id": request_id,
        "content-type": answer.content_type,
        "x-content-type-options": "nosniff",
        "cache-control": "no-store",
    }
    if answer.headers:
        headers |= answer.headers
    if rate is not None:
        add_rate_fields(headers, rate)
    value = answer.value
    return Response(value if isinstance(value, bytes) else encode(value), answer.status, headers)


def without_body(response: Response) -> Response:
    """The answer to a HEAD: the headers of the GET, with the length of its body, but not the body."""
    response.headers["content-length"] = str(len(response.body))
    response.body = b""
    return response


def add_rate_fields(headers: dict[str, str], rate: RateState) -> None:
    """Adds the quota, under the names of draft-ietf-httpapi-ratelimit-headers and under the older ones.

    `RateLimit`: the client may send r requests now, and the quota next grows in t seconds, rounded up, so
    that a client that waits t seconds is admitted. `RateLimit-Policy`: q requests in any w seconds. A quota
    grows one microsecond after a whole window; that time passes on the way to the client, so t is at most w.

    `X-RateLimit-Limit` is q, `X-RateLimit-Remaining` r, and `X-RateLimit-Reset` t: seconds from now, not a
    time, because a bot's clock may be wrong. Some services send a time under this name; a client that takes
    ours for one does not wait at all, and Retry-After of the refusal tells it. If all keys of the license
    together have less left than the key, these three are of the license's limit.
    """
    t = _SECONDS[math.ceil(rate.reset_s) if rate.reset_s < WINDOW_S else WINDOW_S]
    headers["ratelimit"] = f"{_POLICY};r={rate.remaining};t={t}"
    headers["ratelimit-policy"], headers["x-ratelimit-limit"] = _policy(rate.limit)
    headers["x-ratelimit-remaining"] = str(rate.remaining)
    headers["x-ratelimit-reset"] = t
    for other in rate.others:
        _add_limit(headers, rate, other)


def _add_limit(headers: dict[str, str], rate: RateState, other: LimitState) -> None:
    """Adds one more limit, under its name as the name of its policy."""
    headers["ratelimit-policy"] += f', "{other.name}";q={other.limit};w={other.window_s}'
    if other.remaining is None:
        return
    t = _SECONDS[min(math.ceil(other.reset_s), other.window_s)]
    headers["ratelimit"] += f', "{other.name}";r={other.remaining};t={t}'
    if other.name == "license" and other.remaining < rate.remaining:
        headers["x-ratelimit-limit"] = str(other.limit)
        headers["x-ratelimit-remaining"] = str(other.remaining)
        headers["x-ratelimit-reset"] = t


@lru_cache(1_024)
def _policy(limit: int) -> tuple[str, str]:
    return f"{_POLICY};q={limit};w={WINDOW_S}", str(limit)
