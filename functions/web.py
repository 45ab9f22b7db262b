"""The seam between Azure Functions' HTTP types and ours: one place for errors, ids, headers and encoding.

A trigger is an `async def handler(call: Call) -> Answer` under `@endpoint`. It admits the caller,
decodes, makes one service call and answers; whatever it raises becomes RFC 9457 problem JSON.
"""

import itertools
import logging
import re
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

import azure.functions as func
import msgspec
from opentelemetry.trace import Span

from shared.container import Container, container
from shared.domain.bars import SYMBOL_PATTERN
from shared.domain.decoding import MAX_ERRORS, decode
from shared.domain.licenses import Grant, Scope
from shared.domain.limits import AWARE_TIME
from shared.domain.rate_limit import (
    RateLimitReached,
    RateState,
    rate_fields,
    retry_after_s,
)
from shared.errors import (
    BodyTooLarge,
    ConfigurationError,
    FieldError,
    MethodNotAllowed,
    SignalCloudError,
    UnsupportedMediaType,
    ValidationFailed,
)
from shared.services.counters import REFUSED
from shared.services.trades import symbol_not_licensed
from shared.telemetry import begin as begin_trace
from shared.telemetry import end as end_trace

MAX_BODY_BYTES = 1024 * 1024
PROBLEM_TYPE = "application/problem+json"
JSON_TYPE = "application/json"
HEALTH_TYPE = "application/health+json"
OUR_FAULT = "Something failed on our side; try again."

STATUS_OF_CODE = {
    "malformed_json": 400,
    "validation_failed": 422,
    "unknown_field": 422,
    "body_too_large": 413,
    "batch_too_large": 413,
    "unsupported_media_type": 415,
    "key_missing": 401,
    "key_malformed": 401,
    "key_unknown": 401,
    "key_revoked": 401,
    "key_expired": 401,
    "scope_missing": 403,
    "symbol_not_licensed": 403,
    "license_suspended": 403,
    "license_expired": 403,
    "license_revoked": 403,
    "not_found": 404,
    "method_not_allowed": 405,
    "conflict": 409,
    "rate_limited": 429,
    "internal": 500,
    "database_unavailable": 503,
    "cache_unavailable": 503,
    "key_store_unavailable": 503,
    "realtime_unavailable": 503,
}

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_SYMBOL = re.compile(SYMBOL_PATTERN)
_encoder = msgspec.json.Encoder()
# Request ids need only differ: one random part a process, and a count.
_id_base = secrets.token_hex(8)
_id_count = itertools.count()

log = logging.getLogger(__name__)


class Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    """An RFC 9457 problem; `code` is stable, `errors` names each bad field."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    request_id: str
    errors: tuple[FieldError, ...] = ()


class Answer(msgspec.Struct, frozen=True, gc=False):
    """What a trigger answers: a value to encode as JSON, or ready bytes."""

    value: Any
    status: int = 200
    content_type: str = JSON_TYPE
    headers: dict[str, str] | None = None


class Response(func.HttpResponse):
    """A response whose headers are a plain dict, names in lower case.

    The base class copies headers into a werkzeug list, one checked call a header: about an eighth of all
    that a cached confidence costs. The worker only asks `in`, sets items and reads `items()`.
    """

    # In the place of the base's properties, whose values its constructor would set.
    __slots__ = ("body", "headers", "mimetype", "status_code")
    body: bytes
    headers: Any
    mimetype: str
    status_code: int
    charset = "utf-8"

    def __init__(self, body: bytes, status: int, headers: dict[str, str]) -> None:
        # The base's constructor is what this class is there to avoid.
        self.body = body
        self.status_code = status
        self.headers = headers
        self.mimetype = headers["content-type"]

    def get_body(self) -> bytes:
        return self.body


class Call:
    """One request on its way through a trigger."""

    __slots__ = ("grant", "headers", "rate", "request", "request_id", "services")

    def __init__(
        self, request: func.HttpRequest, headers: Mapping[str, str], services: Container, request_id: str
    ) -> None:
        self.request = request
        self.headers = headers
        self.services = services
        self.request_id = request_id
        self.rate: RateState | None = None
        self.grant: Grant | None = None

    async def admit(self, scope: Scope) -> Grant:
        """The grant of the presented key; raises Unauthenticated, Forbidden, RateLimited, Unavailable."""
        admitted = await self.services.access.admit(self.header("authorization"), scope)
        self.rate, self.grant = admitted.rate, admitted.grant
        return admitted.grant

    def header(self, name: str) -> str | None:
        """The header `name`, in lower case, or None."""
        # Not `get`: the worker's own takes two calls, and a header asked for here is nearly always there.
        try:
            return self.headers[name]
        except KeyError:
            return None

    def body(self) -> bytes:
        """The JSON body; raises BodyTooLarge or UnsupportedMediaType."""
        body = self.request.get_body()
        if len(body) > MAX_BODY_BYTES:
            raise BodyTooLarge(f"A body holds at most {MAX_BODY_BYTES} bytes, this one {len(body)}.")
        given = self.header("content-type")
        if given == JSON_TYPE or given is None:
            return body
        media_type = given.split(";", 1)[0].strip().lower()
        # curl -d and some bots label JSON as a form; what counts is that the body parses.
        if media_type not in (JSON_TYPE, "", "application/x-www-form-urlencoded", "text/plain"):
            raise UnsupportedMediaType(f"Send {JSON_TYPE}, not {media_type[:64]}.")
        return body

    def decoded[T](self, kind: type[T]) -> T:
        return decode(self.body(), kind)

    def query(self, *known: str) -> "Query":
        """The query parameters, of which only `known` are accepted."""
        return Query(self.request.params, known)

    def licensed_symbol(self, symbol: str, field: str = "symbol") -> str:
        """`symbol` if the admitted license covers it; raises Forbidden."""
        assert self.grant is not None
        if symbol not in self.grant.license.symbols:
            raise symbol_not_licensed({symbol: field}, self.grant.license.symbols)
        return symbol


class Query:
    """Typed access to query parameters; every bad one is reported together by `done`."""

    def __init__(self, params: Any, known: Sequence[str]) -> None:
        self._params = params
        strangers = [name for name in params if name not in known]
        self._problems = [
            FieldError(name[:64], "unknown_field", f"Known parameters: {', '.join(known) or 'none'}.")
            for name in strangers[:MAX_ERRORS]
        ]

    def text(self, name: str, max_length: int = 200) -> str | None:
        value = self._params.get(name)
        if value is not None and len(value) > max_length:
            self._problems.append(FieldError(name, "out_of_range", f"At most {max_length} characters."))
            return None
        return value or None

    def symbol(self, name: str = "symbol", *, required: bool = False) -> str:
        """The symbol, or an empty text where an optional one is not given."""
        value = self._params.get(name) or ""
        if required and not value:
            self._problems.append(FieldError(name, "missing", "This parameter is required, such as ES."))
        elif value and not _SYMBOL.fullmatch(value):
            self._problems.append(FieldError(name, "invalid_format", "Expected a symbol such as ES."))
        return value

    def integer(self, name: str, default: int, low: int, high: int) -> int:
        raw = self._params.get(name)
        if raw is None:
            return default
        if not (raw.isascii() and raw.isdigit() and len(raw) <= 18 and low <= int(raw) <= high):
            message = f"Expected a whole number from {low} to {high}."
            self._problems.append(FieldError(name, "out_of_range", message))
            return default
        return int(raw)

    def time(self, name: str) -> datetime | None:
        raw = self._params.get(name)
        if not raw:
            return None
        try:
            # A plus sign that a caller forgot to escape arrives as a blank.
            value = datetime.fromisoformat(raw.replace(" ", "+"))
        except ValueError:
            value = None
        if value is None or value.tzinfo is None:
            self._problems.append(FieldError(name, "invalid_format", AWARE_TIME))
            return None
        return value

    def done(self) -> None:
        """Raises ValidationFailed if any parameter was bad."""
        if self._problems:
            raise ValidationFailed(tuple(self._problems), "The query has parameters that cannot be accepted.")


Handler = Callable[[Call], Awaitable[Answer]]


def endpoint(handler: Handler) -> Callable[[func.HttpRequest], Awaitable[func.HttpResponse]]:
    """`handler` as Azure Functions wants it: a coroutine function from HttpRequest to HttpResponse."""

    async def run(req: func.HttpRequest) -> func.HttpResponse:
        # Taken once, for the worker's type makes a property of it.
        headers = req.headers
        request_id = _request_id(headers)
        call: Call | None = None
        trace: Span | None = None
        code = ""
        try:
            call = Call(req, headers, container(), request_id)
            call.services.counters.add("requests")
            trace = begin_trace(req)
            answer = await handler(call)
        except ConfigurationError as error:
            log.error("this deployment is misconfigured, request %s: %s", request_id, error.detail)  # noqa: TRY400 - says it all
            code, answer = "internal", _problem(SignalCloudError(OUR_FAULT), request_id)
        except SignalCloudError as error:
            if call is not None and isinstance(error, RateLimitReached):
                call.rate = error.rate
            code, answer = error.code, _problem(error, request_id)
        except Exception as error:
            # The last line of defence: a defect of ours, told without its insides.
            log.exception("unhandled error, request %s", request_id)
            code, answer = "internal", _problem(SignalCloudError(OUR_FAULT), request_id)
            if trace is not None:
                trace.record_exception(error)
        if code and call is not None:
            _count(call, code)
        if trace is not None:
            end_trace(trace, request_id, answer.status, code)
        return _response(answer, request_id, call)

    # Not functools.wraps: the worker would follow __wrapped__ and look for a parameter named `call`.
    run.__name__, run.__qualname__ = handler.__name__, handler.__qualname__
    run.__module__, run.__doc__ = handler.__module__, handler.__doc__
    return run


def _count(call: Call, code: str) -> None:
    """Notes a refusal or a failure of ours; other problems are the caller's own affair."""
    status = STATUS_OF_CODE[code]
    if status in (401, 403, 429):
        call.services.counters.add(f"{REFUSED}{code}")
    elif status >= 500:
        call.services.counters.add("requests_failed")


def _request_id(headers: Mapping[str, str]) -> str:
    # Nearly always missing, and the mapping would raise and catch an exception.
    if "x-request-id" in headers:
        given = headers["x-request-id"]
        if _REQUEST_ID.fullmatch(given):
            return given
    return f"{_id_base}-{next(_id_count)}"


def _problem(error: SignalCloudError, request_id: str) -> Answer:
    status = STATUS_OF_CODE[error.code]
    if status >= 500 and error.internal:
        log.warning("%s, request %s: %s", error.code, request_id, error.internal)
    headers = {}
    if error.retry_after_s is not None:
        headers["retry-after"] = str(retry_after_s(error.retry_after_s))
    if isinstance(error, MethodNotAllowed):
        headers["allow"] = ", ".join(error.allow)
    if status == 401:
        headers["www-authenticate"] = 'Bearer realm="Signal Cloud"'
    problem = Problem(
        type=f"urn:signal-cloud:problem:{error.code}",
        title=error.code.replace("_", " ").capitalize(),
        status=status,
        detail=error.detail,
        code=error.code,
        request_id=request_id,
        errors=error.errors,
    )
    return Answer(problem, status, PROBLEM_TYPE, headers)


def _response(answer: Answer, request_id: str, call: Call | None) -> func.HttpResponse:
    headers = {
        "x-request-id": request_id,
        "content-type": answer.content_type,
        "x-content-type-options": "nosniff",
        "cache-control": "no-store",
    }
    if answer.headers:
        headers |= answer.headers
    if call is not None and call.rate is not None:
        headers["ratelimit"], headers["ratelimit-policy"] = rate_fields(call.rate)
    value = answer.value
    return Response(value if isinstance(value, bytes) else _encoder.encode(value), answer.status, headers)
