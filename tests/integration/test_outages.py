"""Nothing that is away makes a request a 500: what each outage answers, through the real triggers."""

import asyncio
import json
from collections.abc import AsyncIterator

import azure.functions as func
import pytest

from shared import container as composition
from shared.container import Container
from shared.domain.access.keys import new_key
from shared.settings import Settings
from tests.support.app import functions

# Nothing listens on port 1, and who asks is refused at once.
AWAY = Settings(
    database_url="postgresql://nobody:nothing@127.0.0.1:1/none",
    database_role="signal_functions",
    database_pool_size=2,
    redis_url="redis://127.0.0.1:1/0",
    tables_connection_string=(
        "DefaultEndpointsProtocol=http;AccountName=a;AccountKey=YQ==;TableEndpoint=http://127.0.0.1:1/a;"
    ),
    webpubsub_connection_string="Endpoint=http://127.0.0.1:1;AccessKey=0123456789abcdef0123456789abcdef;Version=1.0;",
    webpubsub_hub="signals",
    api_key_pepper="p" * 32,
    market_clock="wall",
    log_level="INFO",
)
KEY = new_key("abc123")
STATE = {"symbol": "ES", "signal_type": "LONG", "vwap_distance": 2.1, "rsi": 35}


@pytest.fixture
async def everything_away() -> AsyncIterator[Container]:
    loop = asyncio.get_running_loop()
    made = composition._containers[loop] = Container(AWAY)
    yield made
    await made.close()


async def call(name: str, method: str, path: str, body: object = None, key: str = "") -> func.HttpResponse:
    request = func.HttpRequest(
        method=method,
        url=f"http://localhost/api/{path}",
        headers={"Authorization": f"Bearer {key}"} if key else {},
        body=json.dumps(body).encode() if body is not None else b"",
    )
    response = await functions()[name].get_user_function()(request)
    assert isinstance(response, func.HttpResponse)
    return response


@pytest.mark.usefixtures("everything_away")
async def test_liveness_needs_nothing() -> None:
    assert (await call("get_health", "GET", "health")).status_code == 200


@pytest.mark.usefixtures("everything_away")
async def test_readiness_names_each_dependency_and_leaks_no_address() -> None:
    response = await call("get_readiness", "GET", "health/ready")
    document = json.loads(response.get_body())
    assert response.status_code == 503
    assert document["status"] == "fail"
    assert {name: check["status"] for name, check in document["checks"].items()} == {
        "database": "fail",
        "key_store": "fail",
        "cache": "warn",
        "realtime": "warn",
        "outbox": "fail",
        "feeds": "fail",
        "calendar": "pass",
    }
    assert "127.0.0.1" not in response.get_body().decode()


@pytest.mark.usefixtures("everything_away")
@pytest.mark.parametrize(
    ("name", "method", "path", "body"),
    [
        ("get_license", "GET", "license", None),
        ("post_trades", "POST", "trades", {}),
        ("negotiate", "POST", "ws/negotiate", {}),
    ],
)
async def test_an_unknown_key_stays_closed_but_retryable(
    name: str, method: str, path: str, body: object
) -> None:
    response = await call(name, method, path, body, key=KEY)
    problem = json.loads(response.get_body())
    assert (response.status_code, problem["code"]) == (503, "key_store_unavailable")
    assert int(response.headers["retry-after"]) >= 1
    assert response.headers["x-request-id"] == problem["request_id"]


@pytest.mark.usefixtures("everything_away")
async def test_a_confidence_is_retryable_and_its_key_is_judged_first() -> None:
    response = await call("get_confidence", "POST", "ml/get_confidence", STATE, key=KEY)
    assert (response.status_code, json.loads(response.get_body())["code"]) == (503, "key_store_unavailable")
    response = await call("get_confidence", "POST", "ml/get_confidence", STATE)
    assert (response.status_code, json.loads(response.get_body())["code"]) == (401, "key_missing")
