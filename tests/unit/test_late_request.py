"""The local host's request shows whatever the worker's own would."""

from typing import Any

import pytest
from azure.functions.http import HttpRequest
from hypothesis import given
from hypothesis import strategies as st

from local.host.http1 import Request
from local.host.late_request import LateRequest, query_params, request_url

MEMBERS = {name for name in dir(HttpRequest) if not name.startswith("_")}
ADDRESS = "127.0.0.1:7071"
NAMES = st.from_regex(r"[a-z][a-z-]{0,8}", fullmatch=True)
TEXTS = st.text(st.characters(codec="latin-1", exclude_characters="\r\n"), max_size=12)


def told(request: HttpRequest, member: str) -> Any:
    value = getattr(request, member)
    try:
        found = value() if callable(value) else value
    except ValueError as error:
        return str(error)
    return dict(found) if hasattr(found, "items") else found


@st.composite
def received(draw: st.DrawFn) -> Request:
    request = Request()
    request.method = draw(st.sampled_from(["GET", "POST"]))
    request.path = draw(st.from_regex(r"/[a-z%/ ]{0,12}", fullmatch=True))
    request.query = draw(st.sampled_from(["", "a=1&A=2&b=", "x=%20y"]))
    request.headers = draw(st.dictionaries(NAMES, TEXTS, max_size=4))
    if draw(st.booleans()):
        request.headers["host"] = "bots.example"
    if draw(st.booleans()):
        request.headers["content-type"] = "application/x-www-form-urlencoded"
    request.body = draw(st.sampled_from([b"", b"{", b'{"a": 1}', b"a=1&b=2", b"\xff"]))
    return request


@given(received())
def test_every_member_tells_what_the_worker_request_tells(request: Request) -> None:
    whole = HttpRequest(
        request.method,
        request_url("http", request.headers.get("host", ADDRESS), request.path, request.query),
        headers=request.headers,
        params=query_params(request.query),
        route_params={"symbol": "ES"},
        body_type="bytes",
        body=request.body,
    )
    late = LateRequest(request, {"symbol": "ES"}, ADDRESS)
    assert {member: told(late, member) for member in MEMBERS} == {
        member: told(whole, member) for member in MEMBERS
    }
    assert all(late.headers[name.upper()] == value for name, value in request.headers.items())


@pytest.mark.parametrize("member", sorted(MEMBERS))
def test_no_member_is_left_to_a_base_that_was_never_made(member: str) -> None:
    assert member in vars(LateRequest)
