"""What a hostile or unlucky request gets at the seam, before any service sees it."""

import json
from typing import Any

import azure.functions as func
import msgspec
import pytest

from functions import web
from functions.realtime import NegotiateRequest
from functions.trades import _trades
from functions.web import Answer, Call, endpoint
from shared.domain.decoding import MAX_ERRORS
from shared.errors import ConfigurationError, MalformedJson, ValidationFailed


def call(body: bytes = b"", params: dict[str, str] | None = None) -> Call:
    request = func.HttpRequest(method="POST", url="http://localhost/api/x", params=params or {}, body=body)
    services: Any = None  # none is reached
    return Call(request, services, "id")


@pytest.mark.parametrize(
    "body", [b'{"a":' + b"[" * 100_000, b'{"trades":' + b"[" * 100_000 + b"]" * 100_000 + b"}", b"\xff"]
)
def test_trades_nested_without_end_are_malformed(body: bytes) -> None:
    with pytest.raises(MalformedJson):
        _trades(call(body))


def test_the_number_of_unknown_parameters_told_is_bounded() -> None:
    query = call(params={f"p{n}": "1" for n in range(5_000)}).query("symbol")
    with pytest.raises(ValidationFailed) as refused:
        query.done()
    assert (refused.value.code, len(refused.value.errors)) == ("unknown_field", MAX_ERRORS)


def test_more_symbols_than_a_license_holds_are_refused_at_once() -> None:
    symbols = [f"A{n}" for n in range(100_000)]
    with pytest.raises(ValidationFailed) as refused:
        call(msgspec.json.encode({"symbols": symbols})).decoded(NegotiateRequest)
    assert [(error.field, error.code) for error in refused.value.errors] == [("symbols", "out_of_range")]


async def test_a_misconfigured_deployment_says_why_to_the_log_alone(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def unusable() -> None:
        raise ConfigurationError("API_KEY_PEPPER is not set")

    async def never(_: Call) -> Answer:
        raise AssertionError("no request may get here")

    monkeypatch.setattr(web, "container", unusable)
    response = await endpoint(never)(func.HttpRequest(method="GET", url="http://localhost/api/x", body=b""))
    problem = json.loads(response.get_body())
    assert (response.status_code, problem["code"]) == (500, "internal")
    assert "PEPPER" not in response.get_body().decode()
    assert "API_KEY_PEPPER is not set" in caplog.text
