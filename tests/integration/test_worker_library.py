"""Microsoft's own worker library loads and calls our app, and agrees with the local host about it."""

import json
import runpy
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import azure.functions as func
import pytest

from local.host.configuration import read_host_configuration
from local.host.indexing import Index, index_app
from tests.support.hosting import host_environment, running_host, write_app
from tests.support.places import ROOT
from tests.support.unreachable import UNREACHABLE

# Liveness must not need any server.
_SETTINGS = UNREACHABLE | {"CORS_ORIGINS": "https://app.example.com"}

SAMPLE = """
import asyncio
import azure.functions as func

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)

@app.route(route="greet/{name}", methods=["POST"])
async def greet(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
    text = f"{req.get_body().decode()} {req.route_params['name']} {req.params.get('end', '')}"
    return func.HttpResponse(text, status_code=201, headers={"x-request-id": req.headers["X-Request-Id"]})

@app.route(route="boom")
def boom(req: func.HttpRequest) -> func.HttpResponse:
    raise LookupError("no luck")

@app.timer_trigger(arg_name="timer", schedule="%EVERY%", run_on_startup=False)
@app.retry(strategy="fixed_delay", max_retry_count="2", delay_interval="00:00:01")
async def tick(timer: func.TimerRequest) -> None:
    pass
"""


def drive(directory: Path, invocations: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.worker_library", str(directory), json.dumps(invocations)],
        cwd=ROOT,
        env=host_environment(_SETTINGS),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    report: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return report


def http(method: str, url: str, body: bytes = b"", **more: Any) -> dict[str, Any]:
    return {"method": method, "url": url, "body": {"string": body.decode()}, **more}


def test_the_sample_app_is_indexed_loaded_and_called(tmp_path: Path) -> None:
    wanted = http(
        "POST",
        "http://localhost/api/greet/Ada?end=!",
        b"hello",
        params={"name": "Ada"},
        query={"end": "!"},
        headers={"x-request-id": "r-1"},
    )
    report = drive(
        write_app(tmp_path, SAMPLE),
        {"greet/{name}": wanted, "boom": http("GET", "http://localhost/api/boom")},
    )
    assert report["initialised"], report["reason"]
    assert sorted(report["loaded"]) == ["boom", "greet", "tick"]
    assert report["functions"]["tick"][0]["schedule"] == "%EVERY%"
    greeted = report["answers"]["greet/{name}"]
    assert (greeted["status"], greeted["body"]) == ("201", "hello Ada !")
    assert greeted["headers"] == {"x-request-id": "r-1", "content-type": "text/plain; charset=utf-8"}
    assert (report["answers"]["boom"]["succeeded"], report["answers"]["boom"]["reason"]) == (
        False,
        "LookupError: no luck",
    )


def test_the_local_host_answers_as_the_library_does(tmp_path: Path) -> None:
    directory = write_app(tmp_path, SAMPLE)
    environment = {**_SETTINGS, "EVERY": "0 0 0 1 1 *"}
    with (
        running_host(directory, "http", "--port", "0", environment=environment) as host,
        host.client() as client,
    ):
        answer = client.post("/api/greet/Ada?end=!", content=b"hello", headers={"X-Request-Id": "r-1"})
        assert (answer.status_code, answer.text) == (201, "hello Ada !")
        assert answer.headers["x-request-id"] == "r-1"
        assert answer.headers["content-type"] == "text/plain; charset=utf-8"
        assert client.get("/api/boom").status_code == 500


def test_the_library_refuses_an_app_that_cannot_be_imported(tmp_path: Path) -> None:
    report = drive(write_app(tmp_path, "import nowhere_to_be_found\n"), {})
    assert not report["initialised"]
    assert "nowhere_to_be_found" in report["reason"]


@pytest.fixture(scope="module")
def own_report() -> dict[str, Any]:
    page = {"origin": "https://app.example.com", "access-control-request-method": "POST"}
    return drive(
        ROOT,
        {
            "health": http("GET", "http://localhost/api/health"),
            "health/ready": http("HEAD", "http://localhost/api/health/ready?x=1&x=2"),
            "openapi.json": http(
                "HEAD", "http://localhost/api/openapi.json", headers={"accept-encoding": "gzip"}
            ),
            "{*path}": http(
                "OPTIONS", "http://localhost/api/trades", headers=page, params={"path": "trades"}
            ),
        },
    )


@pytest.fixture(scope="module")
def own_index() -> Index:
    # An app of its own: azure-functions indexes one only once, and other tests have had theirs.
    app = runpy.run_path(str(ROOT / "function_app.py"))["app"]
    assert isinstance(app, func.FunctionApp)
    return index_app(app, read_host_configuration(ROOT), _SETTINGS)


def test_the_library_finds_every_function_of_our_app_with_its_route(
    own_report: dict[str, Any], own_index: Index
) -> None:
    assert own_report["initialised"], own_report["reason"]
    triggers = {name: bindings[0] for name, bindings in own_report["functions"].items()}
    routes = {
        name: (f"api/{trigger['route']}", frozenset(trigger["methods"]))
        for name, trigger in triggers.items()
        if trigger["type"] == "httpTrigger"
    }
    assert routes == {route.name: (route.template.text, route.methods) for route in own_index.http_routes}
    timers = {name for name, trigger in triggers.items() if trigger["type"] == "timerTrigger"}
    assert timers == {timer.function.name for timer in own_index.timers}
    assert sorted(own_report["loaded"]) == sorted(routes.keys() | timers)
    assert {"api/health", "api/trades", "api/ml/get_confidence", "api/ws/negotiate"} <= {
        template for template, _ in routes.values()
    }


def test_the_library_sends_a_head_without_a_body(own_report: dict[str, Any]) -> None:
    answer = own_report["answers"]["openapi.json"]
    assert (answer["status"], answer["body"]) == ("200", "")
    assert answer["headers"]["content-encoding"] == "gzip"
    assert int(answer["headers"]["content-length"]) > 1_024
    refused = own_report["answers"]["health/ready"]
    assert (refused["status"], refused["body"]) == ("422", "")
    assert refused["headers"]["content-type"] == "application/problem+json"


def test_the_library_lets_the_app_answer_a_preflight(own_report: dict[str, Any]) -> None:
    answer = own_report["answers"]["{*path}"]
    assert (answer["status"], answer["body"]) == ("204", "")
    assert answer["headers"]["access-control-allow-origin"] == "https://app.example.com"
    assert "POST" in answer["headers"]["access-control-allow-methods"]


def test_the_library_calls_our_health_function(own_report: dict[str, Any]) -> None:
    answer = own_report["answers"]["health"]
    assert answer["succeeded"], answer["reason"]
    assert answer["status"] == "200"
    assert answer["headers"]["x-request-id"]
    assert json.loads(answer["body"])
