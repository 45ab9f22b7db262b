"""What the seam to Azure Functions promises of every answer."""

import asyncio
import inspect
import json
import re
from collections.abc import AsyncIterator, Callable
from types import SimpleNamespace
from typing import Annotated, Any

import azure.functions as func
import msgspec
import pytest

from functions.web import routes as module
from functions.web.answers import Answer
from functions.web.call import Call
from functions.web.declaration import PUBLIC, Body, json_body
from functions.web.endpoint import endpoint
from functions.web.routes import Routes, declared_routes
from shared import container as composition
from shared.container import Container
from shared.domain.access.rate_limit import RateState, rate_limited
from shared.errors import (
    ConfigurationError,
    Conflict,
    DatabaseUnavailable,
    KeyMissing,
    NotFound,
    ScopeMissing,
    SignalCloudError,
    ValidationFailed,
)
from shared.settings import Settings


@pytest.fixture(autouse=True)
async def no_services() -> AsyncIterator[None]:
    settings = Settings("", "", 1, "redis://127.0.0.1:1", "", "", "signals", "p" * 32, "wall", "INFO")
    made = composition._containers[asyncio.get_running_loop()] = Container(settings)
    yield
    await made.close()


def request(**headers: str) -> func.HttpRequest:
    return func.HttpRequest(method="GET", url="/api/x", headers=headers, body=b"")


async def answered(error: Exception, **headers: str) -> tuple[func.HttpResponse, dict[str, object]]:
    async def fails(call: Call) -> Answer:
        raise error

    response = await endpoint(fails, None)(request(**headers))
    return response, json.loads(response.get_body())


async def test_a_defect_is_told_without_its_insides_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    response, problem = await answered(KeyError("secret of ours"))
    assert (response.status_code, problem["code"]) == (500, "internal")
    assert "secret" not in response.get_body().decode()
    assert "secret of ours" in caplog.text
    assert str(problem["request_id"]) in caplog.text


@pytest.mark.parametrize("error", [KeyError("x"), ConfigurationError("x"), DatabaseUnavailable("x")])
async def test_whatever_is_our_fault_is_counted(error: Exception) -> None:
    await answered(error)
    assert composition.container().counters.process_totals()["requests_failed"] == 1


async def test_what_is_internal_of_an_outage_goes_to_the_log_alone(caplog: pytest.LogCaptureFixture) -> None:
    response, problem = await answered(
        DatabaseUnavailable("Try again.", internal="10.0.0.7", retry_after_s=0.2)
    )
    assert (response.status_code, problem["detail"]) == (503, "Try again.")
    assert response.headers["retry-after"] == "1"
    assert "10.0.0.7" not in response.get_body().decode()
    assert "10.0.0.7" in caplog.text


def test_an_endpoint_is_what_the_worker_expects() -> None:
    async def named(call: Call) -> Answer:
        """Its text."""
        return Answer({})

    run = endpoint(named, None)
    assert inspect.iscoroutinefunction(run)
    assert list(inspect.signature(run).parameters) == ["req"]
    assert (run.__name__, run.__qualname__, run.__doc__) == ("named", named.__qualname__, "Its text.")
    assert run.__module__ == __name__


@pytest.fixture(autouse=True)
def declared(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test declares is forgotten after it."""
    monkeypatch.setattr(module, "_declared", list(module._declared))


async def served(handler: Callable[..., Any], req: func.HttpRequest, **declared: Any) -> func.HttpResponse:
    """What a public route with that handler answers."""
    options = {"scope": PUBLIC, "summary": "", "answer": None} | declared
    Routes().get("things", **options)(handler)
    response: func.HttpResponse = await endpoint(handler, declared_routes()[-1])(req)
    return response


async def test_a_value_is_answered_with_the_first_status_that_is_declared() -> None:
    async def show(call: Call) -> dict[str, int]:
        return {"a": 1}

    response = await served(show, request(), statuses=((201, "Made"), (200, "Known")), media_type="text/x")
    assert (response.status_code, response.get_body()) == (201, b'{"a":1}')
    assert response.headers["content-type"] == "text/x"


async def test_nothing_is_answered_without_content() -> None:
    async def drop(call: Call) -> None:
        return None

    response = await served(drop, request(), statuses=((204, "Dropped"),))
    assert (response.status_code, response.get_body()) == (204, b"")


async def test_an_answer_is_sent_as_it_is() -> None:
    async def show(call: Call) -> Answer:
        return Answer({}, 418, headers={"x-a": "b"})

    response = await served(show, request())
    assert (response.status_code, response.headers["x-a"]) == (418, "b")


async def test_a_handler_gets_its_parameters_then_its_body() -> None:
    class Parameters(msgspec.Struct):
        limit: Annotated[int, msgspec.Meta(ge=1, le=9)] = 5

    async def show(call: Call, *given: Any) -> list[Any]:
        return list(given)

    req = func.HttpRequest(method="POST", url="/api/x?limit=7", headers={}, body=b"[1]")
    both = await served(show, req, parameters=Parameters, body=json_body(list[int], 100))
    assert json.loads(both.get_body()) == [{"limit": 7}, [1]]
    req = func.HttpRequest(method="POST", url="/api/x", headers={}, body=b"[1]")
    alone = await served(show, req, body=json_body(list[int], 100))
    assert json.loads(alone.get_body()) == [[1]]
    by_itself = await served(show, req, body=Body(kinds=(int,), max_bytes=100))
    assert json.loads(by_itself.get_body()) == []


async def test_an_empty_body_stands_for_an_empty_object_if_none_is_required() -> None:
    async def show(call: Call, body: Any) -> Any:
        return body

    req = func.HttpRequest(method="POST", url="", headers={}, params={}, body=b"")
    optional = await served(show, req, body=json_body(dict[str, int], 100, required=False))
    assert (optional.status_code, optional.get_body()) == (200, b"{}")
    required = await served(show, req, body=json_body(dict[str, int], 100))
    assert (required.status_code, json.loads(required.get_body())["code"]) == (400, "malformed_json")


@pytest.mark.parametrize("given", ["a", "a" * 64, "A.b_c-9"])
async def test_a_request_id_of_the_caller_is_kept(given: str) -> None:
    response, problem = await answered(DatabaseUnavailable("x"), **{"x-request-id": given})
    assert response.headers["x-request-id"] == problem["request_id"] == given


@pytest.mark.parametrize("given", [None, "", "a" * 65, "a b", "a\n"])
async def test_another_request_id_is_made_and_is_never_the_same(given: str | None) -> None:
    headers = {} if given is None else {"x-request-id": given}
    first, _ = await answered(DatabaseUnavailable("x"), **headers)
    second, _ = await answered(DatabaseUnavailable("x"), **headers)
    made = [response.headers["x-request-id"] for response in (first, second)]
    assert given not in made
    assert made[0] != made[1]
    assert all(re.fullmatch(r"[A-Za-z0-9._-]{1,64}", one) for one in made)


@pytest.mark.parametrize(
    ("error", "counts"),
    [
        (KeyMissing("x"), {"refused.key_missing": 1}),
        (ScopeMissing("x"), {"refused.scope_missing": 1}),
        (rate_limited(RateState(3, 0, 7.0)), {"refused.rate_limited": 1}),
        (NotFound("x"), {}),
        (Conflict("x"), {}),
        (ValidationFailed(()), {}),
        (DatabaseUnavailable("x"), {"requests_failed": 1}),
    ],
)
async def test_refusals_are_counted_by_code_and_our_failures_together(
    error: SignalCloudError, counts: dict[str, int]
) -> None:
    await answered(error)
    assert composition.container().counters.process_totals() == {"requests": 1, **counts}


async def test_a_caller_over_its_limit_is_told_its_quota() -> None:
    response, problem = await answered(rate_limited(RateState(3, 0, 7.2)))
    assert (response.status_code, problem["code"]) == (429, "rate_limited")
    assert response.headers["ratelimit"] == '"default";r=0;t=8'
    assert response.headers["ratelimit-policy"] == '"default";q=3;w=60'
    assert response.headers["retry-after"] == "8"


async def test_a_refusal_that_counts_tells_the_quota_and_another_does_not() -> None:
    refused = ScopeMissing("x")
    refused.quota = 3, 1, 7.2, ()
    response, _ = await answered(refused)
    assert response.headers["ratelimit"] == '"default";r=1;t=8'
    response, _ = await answered(NotFound("x"))
    assert "ratelimit" not in response.headers


async def test_wrong_settings_are_logged_and_not_told(caplog: pytest.LogCaptureFixture) -> None:
    response, problem = await answered(ConfigurationError("REDIS_URL is not set"))
    assert (response.status_code, problem["code"]) == (500, "internal")
    assert "REDIS_URL" not in response.get_body().decode()
    assert "misconfigured" in caplog.text
    assert "REDIS_URL is not set" in caplog.text


async def test_a_request_that_is_traced_is_traced_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    failed: list[Exception] = []
    ended: list[tuple[Any, ...]] = []
    span = SimpleNamespace(record_exception=failed.append)
    monkeypatch.setattr("functions.web.endpoint.begin_trace", lambda req: span)
    monkeypatch.setattr("functions.web.endpoint.end_trace", lambda *given: ended.append(given))
    defect = KeyError("x")
    told = [(await answered(error))[1]["request_id"] for error in (NotFound("x"), defect)]
    assert failed == [defect]
    assert ended == [(span, told[0], 404, "not_found"), (span, told[1], 500, "internal")]
