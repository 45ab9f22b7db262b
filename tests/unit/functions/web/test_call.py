"""One request on its way: its body, its headers and its caller."""

import azure.functions as func
import pytest

from functions.web.call import Call
from shared.domain.access.licenses import Scope
from shared.errors import BodyTooLarge, KeyMissing, UnsupportedMediaType
from tests.support.api import Api


def call_of(
    api: Api,
    body: bytes = b"",
    headers: dict[str, str] | None = None,
    scope: Scope | None = "bot",
    max_body_bytes: int = 1_024,
) -> Call:
    request = func.HttpRequest(method="POST", url="", headers=headers or {}, params={}, body=body)
    return Call(request, request.headers, api.services, scope, max_body_bytes)


async def test_a_body_holds_up_to_the_limit_of_its_route(api: Api) -> None:
    assert len(call_of(api, b"x" * 1_024).read_body()) == 1_024
    with pytest.raises(BodyTooLarge, match="at most 1024 bytes; this one has 1025"):
        call_of(api, b"x" * 1_025).read_body()


async def test_another_media_type_is_named_but_not_at_length(api: Api) -> None:
    with pytest.raises(UnsupportedMediaType) as refused:
        call_of(api, b"", {"content-type": "Image/" + "x" * 100}).read_body()
    assert refused.value.detail == "Send application/json, not image/" + "x" * 58 + "."


async def test_headers_are_read_in_any_case_and_may_be_absent(api: Api) -> None:
    call = call_of(api, headers={"X-Name": "value"})
    assert call.header("x-name") == "value"
    assert call.header("x-other") is None


async def test_an_admitted_call_has_a_grant_and_a_quota(api: Api) -> None:
    key = await api.key("bot", limit=7)
    call = call_of(api, headers={"authorization": f"Bearer {key.plain}"})
    assert call.rate is None
    with pytest.raises(RuntimeError, match="has not been admitted"):
        _ = call.grant
    admitted = await call.admit(confidence_key="confidence:x")
    assert call.grant is admitted.grant
    assert call.grant.key == key.key
    assert admitted.cache_result is not None
    assert call.rate is not None
    assert (call.rate.limit, call.rate.remaining) == (7, 6)


async def test_a_caller_that_is_refused_has_no_grant(api: Api) -> None:
    call = call_of(api)
    with pytest.raises(KeyMissing):
        await call.admit()
    with pytest.raises(RuntimeError):
        _ = call.grant


async def test_a_public_route_admits_nobody(api: Api) -> None:
    with pytest.raises(RuntimeError, match="cannot admit a caller"):
        await call_of(api, scope=None).admit()
