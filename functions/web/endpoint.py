"""Runs a handler for one request: assigns an id, counts and traces it, and turns errors into answers."""

import itertools
import logging
import re
import secrets
from collections.abc import Awaitable, Callable, Mapping

import azure.functions as func
from opentelemetry.trace import Span

from functions.web.answers import response_of, without_body
from functions.web.call import Call
from functions.web.compression import ABOVE_BYTES, compress
from functions.web.cors import allow_origin
from functions.web.declaration import PUBLIC, Handler, Route
from functions.web.problems import STATUS_OF_CODE, our_fault, problem_answer
from shared.container import container
from shared.domain.access.rate_limit import RateState
from shared.errors import ConfigurationError, SignalCloudError
from shared.metrics import REFUSED, Count
from shared.telemetry import begin as begin_trace
from shared.telemetry import end as end_trace

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
# Request ids need only differ from each other: a random part per process, and a count.
_id_base = secrets.token_hex(8)
_id_count = itertools.count()

log = logging.getLogger(__name__)


def endpoint(
    handler: Handler, route: Route | None
) -> Callable[[func.HttpRequest], Awaitable[func.HttpResponse]]:
    """`handler` as Azure Functions requires it: a coroutine function from HttpRequest to HttpResponse."""
    scope = None if route is None or route.scope == PUBLIC else route.scope
    arguments = None if route is None or route.admits_in_service else route.arguments
    may_be_head = route is None or route.method == "GET"
    holds_secret = route is not None and route.holds_secret
    # A route without a body never reads one.
    max_body_bytes = 0 if route is None or route.body is None else route.body.max_bytes

    async def run(req: func.HttpRequest) -> func.HttpResponse:
        # The dict behind the worker's mapping, which takes two calls for a look-up; names are in lower case.
        headers = req.headers.__http_headers__
        request_id = _request_id(headers)
        call: Call | None = None
        trace: Span | None = None
        code = ""
        try:
            call = Call(req, headers, container(), scope, max_body_bytes, refuses_query=arguments is None)
            call.services.counters.add(Count.REQUESTS)
            trace = begin_trace(req)
            value = await (handler(call) if arguments is None else handler(*await arguments(call)))
            answer = value if route is None else route.encoded(value)
        except ConfigurationError as error:
            log.error("this deployment is misconfigured, request %s: %s", request_id, error.detail)  # noqa: TRY400 - the detail says it all
            if route is not None and route.if_misconfigured is not None:
                answer = route.if_misconfigured(error)
            else:
                code, answer = "internal", problem_answer(our_fault(), request_id)
        except SignalCloudError as error:
            if call is not None and error.quota is not None:
                call.rate = RateState(*error.quota)
            code = error.code
            answer = problem_answer(error, request_id, call.handling if call is not None else None)
        except Exception as error:
            # A defect in our code. The log gets the details, the caller does not.
            log.exception("unhandled error, request %s", request_id)
            code, answer = "internal", problem_answer(our_fault(), request_id)
            if trace is not None:
                trace.record_exception(error)
        if code and call is not None:
            _count_problem(call, code)
        if trace is not None:
            end_trace(trace, request_id, answer.status, code)
        response = response_of(answer, request_id, call.rate if call is not None else None)
        if call is not None and call.services.settings.cors_origins:
            allow_origin(response.headers, call.services.settings.cors_origins, headers)
        if len(response.body) > ABOVE_BYTES and not holds_secret:
            await compress(response, headers)
        return without_body(response) if may_be_head and req.method == "HEAD" else response

    # Not functools.wraps, because the worker would follow __wrapped__ and expect the handler's parameters.
    run.__name__, run.__qualname__ = handler.__name__, handler.__qualname__
    run.__module__, run.__doc__ = handler.__module__, handler.__doc__
    return run


def _count_problem(call: Call, code: str) -> None:
    """Counts refusals (401, 403, 429) and our failures (5xx), but no other problem of the request."""
    status = STATUS_OF_CODE[code]
    if status in (401, 403, 429):
        call.services.counters.add(f"{REFUSED}{code}")
    elif status >= 500:
        call.services.counters.add(Count.REQUESTS_FAILED)


def _request_id(headers: Mapping[str, str]) -> str:
    given = headers.get("x-request-id")
    if given is not None and _REQUEST_ID.fullmatch(given):
        return given
    return f"{_id_base}-{next(_id_count)}"
