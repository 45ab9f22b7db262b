"""What can be declared as a route, and which methods an address answers to."""

from collections.abc import Iterator
from typing import Any

import pytest

from functions.web import routes as module
from functions.web.answers import Answer
from functions.web.call import Call
from functions.web.declaration import ADMISSION, BODY, PUBLIC, READ, WRITE
from functions.web.problems import STATUS_OF_CODE
from functions.web.routes import Routes, allowed_methods, declared_routes


@pytest.fixture(autouse=True)
def declared(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a test declares is forgotten after it."""
    monkeypatch.setattr(module, "_declared", list(module._declared))
    yield


async def show_things(call: Call) -> Answer:
    """Shows things."""
    return Answer({})


def declare(**changed: Any) -> Any:
    return Routes().get("things", **({"scope": "bot", "summary": "", "answer": None} | changed))(show_things)


def test_a_route_without_a_scope_cannot_be_declared() -> None:
    with pytest.raises(TypeError, match="scope"):
        Routes().get("things", summary="", answer=None)  # type: ignore[call-arg]  # the mistake under test
    for scope in (None, "", "everybody"):
        with pytest.raises(TypeError, match="GET things must declare a scope or PUBLIC"):
            declare(scope=scope)
    assert all(route.path != "things" for route in declared_routes())


@pytest.mark.parametrize("scope", ["bot", "publisher", "feeder", "ops", PUBLIC])
def test_a_scope_or_public_can_be_declared(scope: str) -> None:
    declare(scope=scope)
    assert declared_routes()[-1].scope == scope


def test_a_problem_that_has_no_status_cannot_be_declared() -> None:
    with pytest.raises(TypeError, match="unknown problem codes: strange, stranger"):
        declare(problems=("stranger", "conflict", "strange"))


def test_a_route_is_registered_under_the_name_of_its_handler() -> None:
    routes = Routes()
    routes.get("things", scope=PUBLIC, summary="", answer=None)(show_things)
    routes.post("things", scope=PUBLIC, summary="", answer=None)(show_things)
    first, second = routes.blueprint._function_builders
    for builder, methods in ((first, ["GET", "HEAD"]), (second, ["POST"])):
        function: Any = builder._function
        assert function.get_function_name() == "show_things"
        trigger = function.get_trigger()
        assert trigger.route == "things"
        assert [getattr(each, "value", each) for each in trigger.methods] == methods


def test_what_a_declaration_leaves_out() -> None:
    declare()
    route = declared_routes()[-1]
    assert (route.statuses, route.media_type) == (((200, "Done"),), "application/json")
    assert route.problems == ("unknown_field", "session_lost")
    assert (route.parameters, route.body) == (None, None)
    assert not route.admits_in_service
    assert not route.holds_secret
    assert route.if_misconfigured is None
    assert (route.function, route.operation_id) == ("show_things", "showThings")


def test_allowed_methods_are_in_the_order_of_declaration() -> None:
    routes = Routes()
    for declared in (routes.options, routes.get, routes.post):
        declared("Some/Things", scope=PUBLIC, summary="", answer=None)(show_things)
    assert allowed_methods("/some/things/") == ("OPTIONS", "GET", "HEAD", "POST")
    assert allowed_methods("some") == ()


def test_a_path_with_a_parameter_is_any_path_of_its_form() -> None:
    Routes().delete("things/{name}/parts", scope=PUBLIC, summary="", answer=None)(show_things)
    assert allowed_methods("Things/a.b:c/parts") == ("DELETE",)
    for other in ("things//parts", "things/a/parts/b", "things/a", "thingsXa/parts"):
        assert allowed_methods(other) == ()


def test_the_usual_problems() -> None:
    assert ADMISSION == (
        "key_missing",
        "key_malformed",
        "key_unknown",
        "key_revoked",
        "key_expired",
        "license_suspended",
        "license_expired",
        "license_revoked",
        "scope_missing",
        "rate_limited",
        "key_store_unavailable",
    )
    assert BODY == (
        "malformed_json",
        "validation_failed",
        "unknown_field",
        "body_too_large",
        "unsupported_media_type",
    )
    assert set(WRITE) == {*ADMISSION, *BODY, "symbol_not_licensed", "database_unavailable"}
    assert set(READ) == {*ADMISSION, "validation_failed", "unknown_field", "database_unavailable"}
    assert {*WRITE, *READ} <= set(STATUS_OF_CODE)
