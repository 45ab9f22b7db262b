"""The header Prefer, as RFC 7240 has it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.web.preferences import applied, handling_of


@pytest.mark.parametrize(
    "prefer",
    [
        "handling=strict",
        "Handling=Strict",
        "HANDLING = STRICT",
        "\thandling\t=\tstrict\t",
        'handling="strict"',
        "handling=strict; why=money",
        "respond-async, handling=strict, wait=10",
        'foo="a, handling=lenient", handling=strict',
        'foo="a\\", handling=lenient", handling=strict',
        "handling=strict, handling=lenient",
        ",, handling=strict",
    ],
)
def test_strict_handling_is_found(prefer: str) -> None:
    assert handling_of(prefer) == "strict"


@pytest.mark.parametrize(
    "prefer",
    ["handling=lenient", "handling=lenient, handling=strict", 'x="handling=strict", handling=lenient'],
)
def test_lenient_handling_is_found(prefer: str) -> None:
    assert handling_of(prefer) == "lenient"


@pytest.mark.parametrize(
    "prefer",
    [
        None,
        "",
        "handling",
        "handling=",
        "handling=careful",
        "handling=careful, handling=strict",
        "strict",
        "respond-async",
        "x-handling=strict",
        'foo="handling=strict"',
        'foo=";handling=strict"',
        'foo="unfinished, handling=strict',
        "foo; handling=strict",
        "handling==strict",
    ],
)
def test_everything_else_is_ignored(prefer: str | None) -> None:
    assert handling_of(prefer) is None


@given(st.text(alphabet='handling=strc ,;"\\\t'))
def test_no_header_makes_it_fail(prefer: str) -> None:
    assert handling_of(prefer) in (None, "strict", "lenient")


def test_an_applied_preference_is_told() -> None:
    assert applied("strict") == {"preference-applied": "handling=strict"}
    assert applied("lenient") == {"preference-applied": "handling=lenient"}
    assert applied(None) == {}
