"""A web page's requests to our app on the local host, with CORS_ORIGINS set and no server behind the app."""

from collections.abc import Iterator

import httpx
import pytest

from tests.support.hosting import RunningHost, running_host, write_app
from tests.support.places import ROOT
from tests.support.unreachable import UNREACHABLE

PAGE = "https://app.example.com"
OUR_APP = f"""
import runpy

app = runpy.run_path({str(ROOT / "function_app.py")!r})["app"]
"""


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHost]:
    directory = write_app(tmp_path_factory.mktemp("app"), OUR_APP)
    environment = UNREACHABLE | {"CORS_ORIGINS": f"{PAGE},http://localhost:3000"}
    with running_host(directory, "http", "--port", "0", environment=environment) as running:
        yield running


@pytest.fixture
def page(host: RunningHost) -> Iterator[httpx.Client]:
    with host.client() as client:
        client.headers["Origin"] = PAGE
        yield client


@pytest.mark.parametrize("path", ["trades", "ml/get_confidence", "ws/events", "license", "nothing/here"])
def test_a_preflight_is_answered_over_http(page: httpx.Client, path: str) -> None:
    asks = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
    answer = page.options(f"/api/{path}", headers=asks)
    assert (answer.status_code, answer.content) == (204, b"")
    assert answer.headers["access-control-allow-origin"] == PAGE
    assert "Authorization" in answer.headers["access-control-allow-headers"]
    assert "Origin" in answer.headers["vary"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "health", 200),
        ("HEAD", "health", 200),
        ("GET", "health?x=1", 422),
        ("GET", "license", 401),
        ("GET", "nothing/here", 404),
        ("PUT", "trades", 405),
        ("GET", "health/ready", 503),
    ],
)
def test_a_page_can_read_answers_and_problems(
    page: httpx.Client, method: str, path: str, status: int
) -> None:
    answer = page.request(method, f"/api/{path}")
    assert answer.status_code == status
    assert answer.headers["access-control-allow-origin"] == PAGE
    assert "X-Request-Id" in answer.headers["access-control-expose-headers"]
    page.headers["Origin"] = "https://evil.example.com"
    assert "access-control-allow-origin" not in page.request(method, f"/api/{path}").headers
