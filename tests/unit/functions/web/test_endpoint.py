"""What the seam to Azure Functions promises of every answer."""

import asyncio
import inspect
import json
from collections.abc import AsyncIterator

import azure.functions as func
import pytest

from functions.web.answers import Answer
from functions.web.call import Call
from functions.web.endpoint import endpoint
from shared import container as composition
from shared.container import Container
from shared.errors import ConfigurationError, DatabaseUnavailable
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
    async def fails(call: Call) -> Answer:
        raise error

    response = await endpoint(fails, None)(request())
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
