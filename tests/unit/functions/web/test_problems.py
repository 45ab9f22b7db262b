"""How an error becomes problem JSON."""

import inspect
import json

import msgspec
import pytest

from functions.web.problems import STATUS_OF_CODE, our_fault, problem_answer
from shared import errors
from shared.domain.access.rate_limit import RateState, rate_limited
from shared.errors import (
    CacheUnavailable,
    FieldError,
    KeyMissing,
    MethodNotAllowed,
    SignalCloudError,
    ValidationFailed,
)

CODED = [
    kind
    for _, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, SignalCloudError) and hasattr(kind, "code") and kind is not errors.ConfigurationError
]


def test_every_code_in_the_tree_has_its_status() -> None:
    codes = {kind.code for kind in CODED} | {"unknown_field"}
    assert codes == set(STATUS_OF_CODE)
    for code in STATUS_OF_CODE:
        assert code in (errors.__doc__ or ""), f"{code} is missing in the drawing of the tree"


@pytest.mark.parametrize("kind", CODED, ids=lambda kind: kind.__name__)
def test_a_problem_says_its_code_in_every_part(kind: type[SignalCloudError]) -> None:
    error = kind.__new__(kind)
    SignalCloudError.__init__(error, "What happened.")
    if isinstance(error, MethodNotAllowed):
        error.allow = ("GET", "POST")
    answer = problem_answer(error, "id-1")
    problem = json.loads(msgspec.json.encode(answer.value))
    assert problem == {
        "type": f"urn:signal-cloud:problem:{kind.code}",
        "title": kind.code.capitalize().replace("_", " "),
        "status": STATUS_OF_CODE[kind.code],
        "detail": "What happened.",
        "code": kind.code,
        "request_id": "id-1",
    }
    assert (answer.status, answer.content_type) == (STATUS_OF_CODE[kind.code], "application/problem+json")


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("malformed_json", 400),
        ("key_unknown", 401),
        ("scope_missing", 403),
        ("not_found", 404),
        ("method_not_allowed", 405),
        ("conflict", 409),
        ("body_too_large", 413),
        ("batch_too_large", 413),
        ("unsupported_media_type", 415),
        ("validation_failed", 422),
        ("unknown_field", 422),
        ("rate_limited", 429),
        ("internal", 500),
    ],
)
def test_each_kind_of_problem_has_its_own_status(code: str, status: int) -> None:
    assert STATUS_OF_CODE[code] == status
    of_one_kind = {
        "key_": 401,
        "license_": 403,
    }
    for prefix, expected in of_one_kind.items():
        same = {name: each for name, each in STATUS_OF_CODE.items() if name.startswith(prefix)}
        assert {each for name, each in same.items() if not name.endswith("unavailable")} == {expected}
    assert {each for name, each in STATUS_OF_CODE.items() if name.endswith("_unavailable")} == {503}


def test_bad_fields_are_named() -> None:
    found = FieldError("rsi", "out_of_range", "Expected from 0 to 100.")
    answer = problem_answer(ValidationFailed((found,)), "id-1")
    assert json.loads(msgspec.json.encode(answer.value))["errors"] == [
        {"field": "rsi", "code": "out_of_range", "message": "Expected from 0 to 100."}
    ]


def test_headers_say_what_to_do_next() -> None:
    assert problem_answer(rate_limited(RateState(3, 0, 7.2)), "").headers == {"retry-after": "8"}
    assert problem_answer(MethodNotAllowed("Use GET.", allow=("GET", "HEAD")), "").headers == {
        "allow": "GET, HEAD"
    }
    assert problem_answer(KeyMissing("Send a key."), "").headers == {
        "www-authenticate": 'Bearer realm="Signal Cloud"'
    }
    assert problem_answer(CacheUnavailable("Try again.", retry_after_s=0), "").headers == {"retry-after": "1"}
    assert problem_answer(our_fault(), "").headers == {}


def test_what_is_internal_is_logged_for_outages_and_never_sent(caplog: pytest.LogCaptureFixture) -> None:
    outage = CacheUnavailable("Try again.", internal="10.0.0.7")
    assert b"10.0.0.7" not in msgspec.json.encode(problem_answer(outage, "id-1").value)
    assert caplog.messages == ["cache_unavailable, request id-1: 10.0.0.7"]
    problem_answer(KeyMissing("Send a key.", internal="of the caller"), "id-2")
    problem_answer(CacheUnavailable("Try again."), "id-3")
    assert len(caplog.messages) == 1
