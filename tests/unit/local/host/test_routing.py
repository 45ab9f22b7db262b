"""Routing as the functions host does it: name order, templates, constraints, refusals."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.host.configuration import HostError
from local.host.routing import Router, Template, make_route


def router(*functions: tuple[str, str | None, list[str] | None], prefix: str = "api") -> Router[str]:
    return Router([make_route(name, route, methods, prefix, name) for name, route, methods in functions])


@pytest.mark.parametrize(
    ("template", "path", "expected"),
    [
        ("trades", "/trades", {}),
        ("trades", "/TRADES", {}),
        ("trades", "/trades/", {}),
        ("trades", "/trades//", None),
        ("trades", "//trades", None),
        ("trades", "/trades/1", None),
        ("ml/get_confidence", "/ml/Get_Confidence", {}),
        ("a.b", "/aXb", None),
        ("signals/{symbol}", "/signals/ES", {"symbol": "ES"}),
        ("signals/{symbol}", "/signals/ES/", {"symbol": "ES"}),
        ("signals/{symbol}", "/signals", None),
        ("signals/{symbol}", "/signals/", None),
        ("signals/{symbol}", "/signals/a/b", None),
        ("signals/{symbol}/{n:int}", "/signals/ES/-5", {"symbol": "ES", "n": "-5"}),
        ("signals/{symbol}/{n:int}", "/signals/ES/5x", None),
        ("signals/{symbol?}", "/signals", {}),
        ("signals/{symbol?}", "/signals/ES", {"symbol": "ES"}),
        ("signals/{a?}/{b?}", "/signals/x", {"a": "x"}),
        ("signals/{a?}/{b?}", "/signals/x/y", {"a": "x", "b": "y"}),
        ("signals/{symbol=ES}", "/signals", {"symbol": "ES"}),
        ("signals/{symbol=ES}", "/signals/NQ", {"symbol": "NQ"}),
        ("signals/{n:int=7}", "/signals/x", None),
        ("files/{*rest}", "/files", {}),
        ("files/{*rest}", "/files/", {}),
        ("files/{*rest}", "/files/a/b.txt", {"rest": "a/b.txt"}),
        ("files/{*rest}", "/files/a/b/", {"rest": "a/b/"}),
        ("files/{*rest}", "/files//a", None),
        ("files/{**rest}", "/files/a/b", {"rest": "a/b"}),
        ("x/{id}", "/x/a\nb", {"id": "a\nb"}),
        ("x/{id}", "/x/\u00e9 \u20ac", {"id": "\u00e9 \u20ac"}),
    ],
)
def test_template(template: str, path: str, expected: dict[str, str] | None) -> None:
    assert Template(template).match(path) == expected


@pytest.mark.parametrize(
    ("constraint", "good", "bad"),
    [
        ("int", ["0", "-1", "+7", "2147483647", "-2147483648"], ["2147483648", "1.0", "x", "\u0661"]),
        ("long", ["9223372036854775807"], ["9223372036854775808", "9" * 40]),
        ("bool", ["true", "FALSE"], ["1", "yes"]),
        (
            "guid",
            [
                "3F2504E0-4F89-11D3-9A0C-0305E82C3301",
                "3f2504e04f8911d39a0c0305e82c3301",
                "{3f2504e0-4f89-11d3-9a0c-0305e82c3301}",
            ],
            ["3f2504e0", "3f2504e0-4f89-11d3-9a0c-0305e82c330g", "{3f2504e04f8911d39a0c0305e82c3301}"],
        ),
        ("alpha", ["ES", "abc"], ["E5", "a-b", "\u00e9"]),
        ("decimal", ["1", "-1.50", ".5"], ["1e5", "abc", "."]),
        ("double", ["1e5", "1.5E-3"], ["e5", "1e"]),
        ("length(2)", ["ES"], ["E", "ESX"]),
        ("length(2,3)", ["ES", "RTY"], ["E", "MNQZ"]),
        ("minlength(3)", ["abc", "abcd"], ["ab"]),
        ("maxlength(3)", ["abc", "a"], ["abcd"]),
        ("min(5)", ["5", "99"], ["4", "x"]),
        ("max(5)", ["5", "-99"], ["6", "x"]),
        ("range(-1,5)", ["-1", "0", "5"], ["-2", "6", "x"]),
        ("int:min(1)", ["1"], ["0", "99999999999"]),
        ("INT", ["4"], ["x"]),
    ],
)
def test_constraint(constraint: str, good: list[str], bad: list[str]) -> None:
    template = Template(f"x/{{value:{constraint}}}")
    assert {value: template.match(f"/x/{value}") for value in good} == {v: {"value": v} for v in good}
    assert {value: template.match(f"/x/{value}") for value in bad} == dict.fromkeys(bad)


@pytest.mark.parametrize(
    "template",
    [
        "x/{id:nosuch}",
        "x/{id:range(1)}",
        "x/{id:int(3)}",
        "x/{id}/{ID}",
        "x/{*rest}/more",
        "x/{id?}/more",
        "x/{id?}/{other}",
        "x/a-{id}",
        "x/{id",
        "x//y",
        "x/{}",
    ],
)
def test_a_template_that_is_refused(template: str) -> None:
    with pytest.raises(HostError, match="function f: route"):
        make_route("f", template, None, "api", "f")


@pytest.mark.parametrize("route", ["admin", "admin/keys", "/Administrators", "runtime/x", "RUNTIME"])
def test_reserved_routes_are_refused_as_the_platform_does(route: str) -> None:
    with pytest.raises(HostError, match="built-in route"):
        make_route("f", route, None, "api", "f")


def test_a_function_without_a_route_is_found_by_its_name() -> None:
    with pytest.raises(HostError, match="built-in route"):
        make_route("admin", None, None, "api", "f")
    assert router(("health", None, None)).find("GET", "/api/health") == ("health", {})


def test_no_prefix() -> None:
    assert router(("health", "health", None), prefix="").find("GET", "/health") == ("health", {})


def test_the_name_decides_not_how_specific_the_route_is() -> None:
    hidden = router(("latest", "signals/latest", ["GET"]), ("by_symbol", "signals/{symbol}", ["GET"]))
    assert hidden.find("GET", "/api/signals/latest") == ("by_symbol", {"symbol": "latest"})
    seen = router(("a_latest", "signals/latest", ["GET"]), ("by_symbol", "signals/{symbol}", ["GET"]))
    assert seen.find("GET", "/api/signals/latest") == ("a_latest", {})
    assert seen.find("GET", "/api/signals/ES") == ("by_symbol", {"symbol": "ES"})


def test_names_sort_as_dotnet_sorts_them_underscore_after_letters() -> None:
    found = router(("get_x", "x/{id}", None), ("getall", "x/all", None)).find("GET", "/api/x/all")
    assert found == ("getall", {})


def test_a_constraint_that_fails_lets_the_next_route_try() -> None:
    routes = router(("a", "x/{id:int}", None), ("b", "x/{name}", None))
    assert routes.find("GET", "/api/x/12") == ("a", {"id": "12"})
    assert routes.find("GET", "/api/x/twelve") == ("b", {"name": "twelve"})


def test_the_method_is_a_constraint_so_another_method_is_not_found() -> None:
    routes = router(("record", "trades", ["POST"]), ("page", "trades", ["GET"]), ("any", "x", None))
    assert routes.find("POST", "/api/trades") == ("record", {})
    assert routes.find("GET", "/api/trades") == ("page", {})
    assert routes.find("DELETE", "/api/trades") is None
    assert routes.find("HEAD", "/api/trades") is None
    assert routes.find("HEAD", "/api/x") == ("any", {})


def test_two_functions_may_not_claim_one_route_and_method() -> None:
    with pytest.raises(HostError, match="function b: GET api/Trades is also the route of a"):
        router(("a", "trades", ["GET", "POST"]), ("b", "Trades", ["GET"]))


_SEGMENTS = st.sampled_from(["a", "b", "{x}", "{y:int}", "{z?}", "{*rest}"])
_ROUTES = st.lists(
    st.tuples(st.lists(_SEGMENTS, min_size=1, max_size=3), st.sampled_from([None, ["GET"], ["POST"]])),
    min_size=1,
    max_size=5,
)


@given(
    routes=_ROUTES,
    path=st.lists(st.sampled_from(["a", "A", "b", "7", ""]), max_size=4),
    method=st.sampled_from(["GET", "POST"]),
)
def test_the_shortcut_for_literal_paths_never_changes_who_answers(
    routes: list[tuple[list[str], list[str] | None]], path: list[str], method: str
) -> None:
    """The first route in name order that fits alone is the one that the router finds."""
    made = []
    for index, (segments, methods) in enumerate(routes):
        try:
            made.append(make_route(f"f{index}", "/".join(segments), methods, "", index))
        except HostError:
            continue
    try:
        built = Router(made)
    except HostError:
        return
    wanted = "/" + "/".join(path)
    fitting = [
        (route.target, values)
        for route in made
        if method in route.methods and (values := route.template.match(wanted)) is not None
    ]
    assert built.find(method, wanted) == (fitting[0] if fitting else None)
