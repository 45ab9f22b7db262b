"""What the seam to Azure Functions promises of every answer, and how a query is read."""

import asyncio
import inspect
import json
from collections.abc import AsyncIterator

import azure.functions as func
import pytest

from functions.web.problems import STATUS_OF_CODE, Answer, Call, Query, endpoint
from shared import container as composition
from shared import errors
from shared.container import Container
from shared.errors import ConfigurationError, SignalCloudError, Unavailable, ValidationFailed
from shared.settings import Settings


@pytest.fixture(autouse=True)
async def no_services() -> AsyncIterator[None]:
    settings = Settings("", "", 1, "redis://127.0.0.1:1", "", "", "signals", "p" * 32, "wall", "INFO")
    made = composition._containers[asyncio.get_running_loop()] = Container(settings)
    yield
    await made.close()


def request(**headers: str) -> func.HttpRequest:
    return func.HttpRequest(method="GET", url="/api/x", headers=headers, params={}, body=b"")


async def answered(error: Exception) -> tuple[func.HttpResponse, dict[str, object]]:
    @endpoint
    async def fails(call: Call) -> Answer:
        raise error

    response = await fails(request())
    return response, json.loads(response.get_body())


async def test_a_defect_is_told_without_its_insides_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    response, problem = await answered(KeyError("secret of ours"))
    assert (response.status_code, problem["code"]) == (500, "internal")
    assert "secret" not in response.get_body().decode()
    assert "secret of ours" in caplog.text
    assert str(problem["request_id"]) in caplog.text


@pytest.mark.parametrize("error", [KeyError("x"), ConfigurationError("x"), Unavailable("x")])
async def test_whatever_is_our_fault_is_counted(error: Exception) -> None:
    await answered(error)
    assert composition.container().counters.process_totals()["requests_failed"] == 1


async def test_what_is_internal_of_an_outage_goes_to_the_log_alone(caplog: pytest.LogCaptureFixture) -> None:
    response, problem = await answered(Unavailable("Try again.", internal="10.0.0.7", retry_after_s=0.2))
    assert (response.status_code, problem["detail"]) == (503, "Try again.")
    assert response.headers["retry-after"] == "1"
    assert "10.0.0.7" not in response.get_body().decode()
    assert "10.0.0.7" in caplog.text


def test_every_code_in_the_tree_has_its_status() -> None:
    kinds = [kind for _, kind in inspect.getmembers(errors, inspect.isclass)]
    codes = {kind.code for kind in kinds if issubclass(kind, SignalCloudError)} - {"configuration_invalid"}
    assert codes <= set(STATUS_OF_CODE)
    for code in set(STATUS_OF_CODE) - {"internal"}:
        assert code in (errors.__doc__ or ""), f"{code} is missing in the drawing of the tree"


def test_an_endpoint_is_what_the_worker_expects() -> None:
    @endpoint
    async def named(call: Call) -> Answer:
        """Its text."""
        return Answer({})

    assert inspect.iscoroutinefunction(named)
    assert list(inspect.signature(named).parameters) == ["req"]
    assert (named.__name__, named.__doc__) == ("named", "Its text.")


def test_a_query_reports_every_bad_parameter_together() -> None:
    sent = {"symbol": "es", "limit": "1e3", "since": "2025-01-01", "colour": "red"}
    query = Query(sent, ("symbol", "limit", "since"))
    query.symbol()
    query.integer("limit", 100, 1, 500)
    query.time("since")
    with pytest.raises(ValidationFailed) as caught:
        query.done()
    assert {error.field for error in caught.value.errors} == {"symbol", "limit", "since", "colour"}


def test_a_plus_that_was_not_escaped_is_read_as_meant() -> None:
    query = Query({"since": "2025-01-01T00:00:00 02:00"}, ("since",))
    found = query.time("since")
    query.done()
    assert found is not None
    assert found.isoformat() == "2025-01-01T00:00:00+02:00"
