"""Tests that a caller cannot choose the address that counts as its own."""

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.web.client_address import client_address

FRONT_DOOR = "00000000-0000-4000-8000-000000000002"


@pytest.mark.parametrize(
    ("written", "address"),
    [
        ("203.0.113.7:4711", "203.0.113.7"),
        ("203.0.113.7", "203.0.113.7"),
        ("[2001:db8::1]:4711", "2001:db8::1"),
        ("2001:db8::1", "2001:db8::1"),
        ("[::ffff:203.0.113.7]:80", "203.0.113.7"),
        ("10.0.0.1, 203.0.113.7:4711", "203.0.113.7"),
        ("10.0.0.1,10.0.0.2,  203.0.113.7:4711 ", "203.0.113.7"),
    ],
)
def test_the_last_entry_counts(written: str, address: str) -> None:
    assert client_address({"x-forwarded-for": written}) == ip_address(address)


@pytest.mark.parametrize(
    "written", ["", "unknown", "203.0.113.7,", "203.0.113.7, proxy", "[", "999.1.1.1:1", "1" * 200]
)
def test_an_unreadable_last_entry_is_no_address(written: str) -> None:
    assert client_address({"x-forwarded-for": written}) is None
    assert client_address({}) is None


@given(st.text())
def test_nothing_that_a_caller_writes_counts(claimed: str) -> None:
    found = client_address({"x-forwarded-for": f"{claimed}, 203.0.113.7:4711", "x-azure-clientip": claimed})
    assert found == ip_address("203.0.113.7")


def test_behind_front_door_its_socket_address_counts() -> None:
    headers = {
        "x-azure-fdid": FRONT_DOOR,
        "x-azure-clientip": "10.0.0.1",
        "x-azure-socketip": "203.0.113.7",
        "x-forwarded-for": "10.0.0.1, 203.0.113.7, 147.243.0.1:4711",
    }
    assert client_address(headers, FRONT_DOOR) == ip_address("203.0.113.7")


@pytest.mark.parametrize("front_door_id", ["", "00000000-0000-4000-8000-000000000003"])
def test_front_door_s_headers_from_elsewhere_do_not_count(front_door_id: str) -> None:
    headers = {
        "x-azure-fdid": FRONT_DOOR,
        "x-azure-socketip": "10.0.0.1",
        "x-forwarded-for": "203.0.113.7:4711",
    }
    assert client_address(headers, front_door_id) == ip_address("203.0.113.7")
