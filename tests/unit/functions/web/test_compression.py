"""Which answers are compressed, and for whom."""

import gzip
import json
import random
from collections.abc import AsyncIterator

import azure.functions as func
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.web.answers import Answer, Response, response_of
from functions.web.call import Call
from functions.web.compression import ABOVE_BYTES, INLINE_BYTES, accepts_gzip, compress, gzipped
from functions.web.endpoint import endpoint
from shared.domain.access.plans import Overrides
from tests.support.api import Answered, Api
from tests.support.requests import TRADE

GZIP = {"accept-encoding": "gzip"}


@pytest.fixture
async def api() -> AsyncIterator[Api]:
    made = Api()
    yield made
    made.forget()


@pytest.mark.parametrize(
    "header",
    [
        "gzip",
        "GZIP",
        "x-gzip",
        "gzip, deflate, br, zstd",
        "br;q=1.0, gzip;q=0.8, *;q=0.1",
        "*",
        "gzip;q=0.001",
        "gzip ; q=0.5",
        "deflate,gzip;Q=1",
        "identity;q=0.5, gzip;q=0.5",
        "gzip;q=1.000",
        "*;q=0, gzip",
    ],
)
def test_these_callers_accept_gzip(header: str) -> None:
    assert accepts_gzip(header)


@pytest.mark.parametrize(
    "header",
    [
        "",
        " ",
        "identity",
        "br",
        "deflate, br",
        "gzip;q=0",
        "gzip;q=0.000",
        "*;q=0",
        "gzip;q=0, *",
        "identity, gzip;q=0.5",
        "gzip;q=yes",
        "gzip;q=",
        "gzip;q=-1",
        "gzip;level=9",
        "gzipped",
        "not gzip",
        "gzip;q=\u0661",
        "gzip," + "x" * 1_000,
    ],
)
def test_these_do_not(header: str) -> None:
    assert not accepts_gzip(header)


@given(st.text(max_size=60))
def test_no_header_is_too_strange_to_be_read(header: str) -> None:
    assert accepts_gzip(header) in (True, False)


@given(st.binary(max_size=3_000))
def test_what_was_compressed_can_be_read(body: bytes) -> None:
    assert gzip.decompress(gzipped(body)) == body
    assert gzipped(body) == gzipped(body)


@pytest.mark.parametrize("size", [INLINE_BYTES - 100, INLINE_BYTES + 100])
async def test_large_bodies_are_compressed_beside_the_loop_and_come_out_the_same(size: int) -> None:
    body = (b'{"price":"6543.25"}' * size)[:size]
    response = response_of(Answer(body, headers={"vary": "Origin"}), "id-1", None)
    await compress(response, GZIP)
    assert gzip.decompress(response.get_body()) == body
    assert response.headers["content-encoding"] == "gzip"
    assert response.headers["vary"] == "Origin, Accept-Encoding"


async def test_what_does_not_get_smaller_is_sent_as_it_is() -> None:
    body = random.Random(1).randbytes(ABOVE_BYTES + 1)
    response = Response(body, 200, {"content-type": "application/octet-stream"})
    await compress(response, GZIP)
    assert response.get_body() == body
    assert "content-encoding" not in response.headers
    assert response.headers["vary"] == "Accept-Encoding"


async def page(api: Api, trades: int, method: str = "GET", **headers: str) -> Answered:
    key = await api.key("bot")
    report = {"trades": [TRADE | {"trade_id": f"t-{number}"} for number in range(trades)]}
    assert (await api.call("POST", "trades", key=key, body=report)).status == 200
    return await api.call(method, "trades", key=key, headers={"x-request-id": "id-1", **headers})


async def test_an_answer_over_a_kibibyte_is_compressed_when_asked(api: Api) -> None:
    plain = await page(api, 20)
    assert len(plain.body) > ABOVE_BYTES
    assert "content-encoding" not in plain.headers
    assert plain.headers["vary"] == "Accept-Encoding", "a cache must not mix up the two"
    request = await api.call("GET", "trades", key=await api.key("bot"), headers=GZIP)
    assert request.headers["content-encoding"] == "gzip"
    assert len(request.body) < len(plain.body) / 4
    assert gzip.decompress(request.body) == plain.body


async def test_small_answers_are_sent_as_they_are(api: Api) -> None:
    answered = await page(api, 1, **GZIP)
    assert len(answered.body) <= ABOVE_BYTES
    assert not {"content-encoding", "vary"} & set(answered.headers)
    assert answered.json["trades"]


@pytest.mark.parametrize(("size", "compressed"), [(1_024, False), (1_025, True)])
async def test_the_bound_is_exact(api: Api, size: int, compressed: bool) -> None:
    async def show(call: Call) -> Answer:
        return Answer(b"x" * size)

    request = func.HttpRequest(method="GET", url="http://localhost/api/x", headers=GZIP, body=b"")
    response = await endpoint(show, None)(request)
    assert ("content-encoding" in response.headers) == compressed


async def test_head_says_what_get_would_send(api: Api) -> None:
    read = await page(api, 20, **GZIP)
    looked = await page(api, 20, "HEAD", **GZIP)
    assert looked.body == b""
    assert looked.headers["content-encoding"] == "gzip"
    assert int(looked.headers["content-length"]) == len(read.body)


async def test_problems_are_compressed_too(api: Api) -> None:
    report = {"trades": [TRADE | {"quantity": 0} for _ in range(40)]}
    headers = {"accept-encoding": "gzip", "x-request-id": "id-1", "prefer": "handling=strict"}
    key = await api.key("bot")
    answered = await api.call("POST", "trades", key=key, body=report, headers=headers)
    assert answered.status == 422
    assert answered.headers["content-encoding"] == "gzip"
    assert json.loads(gzip.decompress(answered.body))["errors"]


async def test_the_document_is_compressed(api: Api) -> None:
    plain = await api.call("GET", "openapi.json")
    packed = await api.call("GET", "openapi.json", headers=GZIP)
    assert gzip.decompress(packed.body) == plain.body
    assert packed.headers["cache-control"] == "public, max-age=300"
    assert packed.headers["vary"] == "Accept-Encoding"


async def test_a_client_access_url_is_never_compressed(api: Api) -> None:
    """The token in it is a secret, and the symbols beside it are the caller's text (BREACH)."""
    symbols = [f"S{number}" for number in range(100)]
    licenses = api.services.license_service("tester")
    license_ = await licenses.create_license(
        "acct-1", overrides=Overrides(symbols=tuple(symbols)), may_be_unserved=True
    )
    key = await licenses.create_key(license_.license_id)
    answered = await api.call("POST", "ws/negotiate", key=key, headers=GZIP)
    assert len(answered.body) > ABOVE_BYTES
    assert not {"content-encoding", "vary"} & set(answered.headers)
    assert msgspec.json.decode(answered.body)["url"]
