"""The local host reads headers, query and path as the platform's worker does."""

import pytest

from local.host.request import forwarded_for, header_fields, path_for_logs, query_params, request_url


def test_values_of_a_repeated_header_are_joined_in_order() -> None:
    received = [(b"x-twice", b"one"), (b"accept", b"*/*"), (b"x-twice", b"two"), (b"x-latin", b"\xe9")]
    assert header_fields(received) == {"x-twice": "one,two", "accept": "*/*", "x-latin": "\u00e9"}


@pytest.mark.parametrize(
    "name",
    ["x-ms-client-principal", "x-arr-ssl", "x-appservice-proto", "x-forwarded-for", "x-waws-a", "client-ip"],
)
def test_headers_of_the_platform_are_dropped(name: str) -> None:
    assert header_fields([(name.encode(), b"forged"), (b"x-client-ip", b"kept")]) == {"x-client-ip": "kept"}


@pytest.mark.parametrize(
    ("path", "logged"),
    [
        ("/api/hooks/sch_Ab12Cd0123456789", "/api/hooks/***"),
        ("/api/Hooks/mistyped", "/api/Hooks/***"),
        ("/api/hook/sch_Ab12Cd0123456789", "/api/hook/***"),
        ("/api/hooks/hook_Ab12Cd34Ef56/rotate", "/api/hooks/hook_Ab12Cd34Ef56/rotate"),
        ("/api/claim/0123", "/api/claim/***"),
        ("/api/trades/sc_live_Ab12Cd0123", "/api/trades/***"),
        ("/api/trades/my trade", "/api/trades/my%20trade"),
        ("/api/ops/licenses/lic_Ab0000000001/hooks", "/api/ops/licenses/lic_Ab0000000001/hooks"),
    ],
)
def test_secrets_in_paths_are_not_logged(path: str, logged: str) -> None:
    assert path_for_logs(path) == logged


def test_the_caller_s_address_is_named_as_azure_names_it() -> None:
    assert forwarded_for(("203.0.113.7", 4711)) == {"x-forwarded-for": "203.0.113.7:4711"}
    assert forwarded_for(("2001:db8::1", 4711)) == {"x-forwarded-for": "[2001:db8::1]:4711"}
    assert forwarded_for(None) == {}


@pytest.mark.parametrize(
    ("query", "params"),
    [
        ("", {}),
        ("a=1&A=2&b=", {"a": "1,2"}),
        ("x=%20y&sign=1%2B1", {"x": " y", "sign": "1+1"}),
        ("a=&A=1", {"a": ",1"}),
        ("flag", {}),
    ],
)
def test_query_keys_that_differ_by_case_are_one_and_empty_values_are_left_out(
    query: str, params: dict[str, str]
) -> None:
    assert query_params(query) == params


@pytest.mark.parametrize(
    ("path", "query", "url"),
    [
        ("/api/trades", "", "http://bots.example/api/trades"),
        ("/api/see/E S", "q=a%20b", "http://bots.example/api/see/E%20S?q=a%20b"),
        ("/a%b\n", "", "http://bots.example/a%25b%0A"),
    ],
)
def test_the_url_has_the_path_encoded_and_the_query_as_it_was_sent(path: str, query: str, url: str) -> None:
    assert request_url("http", "bots.example", path, query) == url
