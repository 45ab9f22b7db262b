"""HEAD, compression, quotas and refused queries of the running stack, as common clients meet them."""

import gzip
import http.client
import socket
from urllib.parse import urlsplit
from uuid import uuid4

import httpx
import pytest

from tests.e2e.test_http_api import a_trade
from tests.support.running import RunningStack

READABLE = ("/license", "/trades", "/performance", "/signals?symbol=ES", "/health", "/openapi.json")
CHANGING = {"date", "ratelimit", "x-ratelimit-remaining", "x-ratelimit-reset", "content-length"}


@pytest.mark.parametrize("path", READABLE)
def test_head_answers_as_get_does_but_for_the_body(stack: RunningStack, path: str) -> None:
    headers = {"x-request-id": uuid4().hex}
    with stack.client("bot") as client:
        read, looked = client.get(path, headers=headers), client.head(path, headers=headers)
    assert (looked.status_code, looked.content) == (200, b"")
    fixed = [
        {name: value for name, value in each.headers.items() if name not in CHANGING}
        for each in (read, looked)
    ]
    assert fixed[0] == fixed[1]
    assert read.headers.keys() == looked.headers.keys()
    if path != "/license":  # which states how many requests are left
        assert read.headers["content-length"] == looked.headers["content-length"]


def test_a_connection_can_be_used_again_after_a_head(stack: RunningStack) -> None:
    """A client that does not ignore the body of a HEAD would take a body for the next answer."""
    address = urlsplit(stack.base_url)
    asked = b"HEAD /api/openapi.json HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip\r\n\r\n"
    with socket.create_connection((address.hostname, address.port), 10) as connection:
        for _ in range(3):
            connection.sendall(asked)
            answer = http.client.HTTPResponse(connection, method="HEAD")
            answer.begin()
            assert (answer.status, answer.headers["content-encoding"]) == (200, "gzip")
            assert int(answer.headers["content-length"]) > 1_024


def test_long_answers_are_compressed_for_clients_that_ask(stack: RunningStack) -> None:
    with stack.client("bot") as client:
        client.post("/trades", json={"trades": [a_trade() for _ in range(20)]})
        plain = client.get("/trades", headers={"Accept-Encoding": "identity"})
        packed = client.get("/trades", headers={"Accept-Encoding": "gzip;q=0.9, br"})
        raw = client.send(
            client.build_request("GET", "/trades", headers={"Accept-Encoding": "gzip"}), stream=True
        )
        body = b"".join(raw.iter_raw())
    assert "content-encoding" not in plain.headers
    assert packed.headers["content-encoding"] == raw.headers["content-encoding"] == "gzip"
    assert packed.json() == plain.json()
    assert gzip.decompress(body) == plain.content
    assert len(body) < len(plain.content) / 3


def test_a_signal_is_not_published_by_a_query_that_asks_for_less(stack: RunningStack) -> None:
    signal = {"symbol": "YM", "side": "LONG", "price": "43000"}
    with stack.client("publisher") as publisher, stack.client("bot") as bot:
        before = bot.get("/signals", params={"symbol": "YM"}).json()["last_sequence"]
        refused = publisher.post("/signals?dry_run=true", json=signal)
        assert (refused.status_code, refused.json()["code"]) == (422, "unknown_field")
        assert [error["field"] for error in refused.json()["errors"]] == ["dry_run"]
        assert bot.get("/signals", params={"symbol": "YM"}).json()["last_sequence"] == before
        twice = bot.get("/signals?symbol=YM&symbol=ES")
    assert (twice.status_code, twice.json()["errors"][0]["field"]) == (422, "symbol")
    assert httpx.get(f"{stack.base_url}/api/health?x=1").status_code == 422


def test_a_key_without_the_scope_is_told_its_quota_under_both_names(stack: RunningStack) -> None:
    made = stack.new_key("--requests-per-minute", "7")
    headers = {"Authorization": f"Bearer \t {made['key']}"}
    refused = httpx.get(f"{stack.base_url}/api/status", headers=headers)
    assert (refused.status_code, refused.json()["code"]) == (403, "scope_missing")
    assert refused.headers["ratelimit-policy"] == '"default";q=7;w=60'
    assert refused.headers["ratelimit"].startswith('"default";r=6;t=')
    assert [refused.headers[f"x-ratelimit-{name}"] for name in ("limit", "remaining")] == ["7", "6"]
    assert 0 < int(refused.headers["x-ratelimit-reset"]) <= 60


def test_without_a_setting_no_page_of_another_origin_may_ask(stack: RunningStack) -> None:
    headers = {"Origin": "https://app.example.com", "Access-Control-Request-Method": "POST"}
    answer = httpx.options(f"{stack.base_url}/api/trades", headers=headers)
    assert answer.status_code == 405
    assert not any(name.startswith("access-control-") for name in answer.headers)
