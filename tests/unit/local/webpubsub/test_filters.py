"""The filters of the stand-in: meaning, precedence, types, bounds."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.webpubsub.filters import FilterInvalid, compile_filter


@dataclass
class Client:
    connection_id: str = "c1"
    user_id: str | None = "vic"
    groups: frozenset[str] = frozenset({"g1", "symbol.ES"})


VIC = Client()
NOBODY = Client(user_id=None, groups=frozenset())


@pytest.mark.parametrize(
    "text",
    [
        "userId eq 'vic'",
        "userId ne 'ann'",
        "userId eq 'vic' and connectionId eq 'c1'",
        "userId eq 'ann' or userId eq 'vic'",
        "not (userId eq 'ann')",
        "not not (userId eq 'vic')",
        "userId in ('ann', 'vic')",
        "'g1' in groups",
        "not ('g2' in groups) and 'symbol.ES' in groups",
        "concat('symbol.', 'ES') in groups",
        "length(userId) gt 2 and length(userId) le 3",
        "length(userId) in (1, 3)",
        "indexof(userId, 'c') eq 2",
        "indexof(userId, 'x') eq -1",
        "substring(userId, 1) eq 'ic'",
        "substring(userId, 0, 2) eq 'vi'",
        "substring(userId, 9) eq ''",
        "tolower('VIC') eq userId and toupper(userId) eq 'VIC'",
        "trim('  vic ') eq userId",
        "startswith(userId, 'v') and endswith(userId, 'c') and contains(userId, 'i')",
        "startswith(userId, 'v') eq true",
        "userId ge 'vic' and userId lt 'vid'",
        "true",
        "userId ne null",
        "1 lt 2 and 'a' lt 'b'",
        "  userId  eq\t'vic'  ",
        "(((true)))",
    ],
)
def test_matches(text: str) -> None:
    assert compile_filter(text)(VIC) is True
    assert compile_filter(f"not ({text})")(VIC) is False


@pytest.mark.parametrize(
    ("text", "matches"),
    [
        ("userId eq null", True),
        ("null eq null", True),
        ("userId ne 'vic'", True),
        ("userId gt ''", False),
        ("userId le null", False),
        ("startswith(userId, 'v')", False),
        ("not startswith(userId, 'v')", True),
        ("length(userId) eq 0", False),
        ("tolower(userId) eq null", True),
        ("userId in ('vic', null)", True),
        ("null", False),
        ("null or true", True),
        ("'g1' in groups", False),
    ],
)
def test_a_missing_user_is_null(text: str, matches: bool) -> None:
    assert compile_filter(text)(NOBODY) is matches


def test_precedence() -> None:
    assert compile_filter("true or false and false")(VIC)
    assert not compile_filter("(true or false) and false")(VIC)
    assert compile_filter("not false or true")(VIC)
    assert compile_filter("1 lt 2 eq true")(VIC)
    assert compile_filter("'a' in ('a') eq true")(VIC)
    assert not compile_filter("not userId eq 'vic'")(VIC)


@given(st.text())
def test_any_text_can_be_quoted(text: str) -> None:
    client = Client(user_id=text)
    quoted = "'" + text.replace("'", "''") + "'"
    assert len(quoted) > 8_000 or compile_filter(f"userId eq {quoted}")(client)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   ",
        "userId",
        "groups",
        "'text'",
        "5",
        "userId eq",
        "eq 'vic'",
        "userId eq 'vic",
        "userId = 'vic'",
        "userId eq 'a' 'b'",
        "userid eq 'vic'",
        "userId EQ 'vic'",
        "password eq 'x'",
        "userId eq 5",
        "true eq 'true'",
        "true gt false",
        "groups eq 'g1'",
        "groups in groups",
        "groups in ('g1')",
        "'g1' in userId",
        "'g1' in (groups)",
        "'g1' in ()",
        "length(5) eq 1",
        "length(groups) eq 1",
        "length() eq 1",
        "length(userId, userId) eq 1",
        "substring(userId, 'a') eq 'x'",
        "startswith(userId)",
        "not userId",
        "userId and true",
        "(true",
        "true)",
        "true;",
        "length userId eq 1",
        "exec('x') eq 1",
    ],
)
def test_nonsense_is_refused_when_compiled(text: str) -> None:
    with pytest.raises(FilterInvalid):
        compile_filter(text)


def test_bounds() -> None:
    assert compile_filter("(" * 31 + "true" + ")" * 31)(VIC)
    for text in ("(" * 5_000 + "true", "not " * 3_000 + "true", "trim(" * 1_000, "true" + " eq true" * 1_000):
        with pytest.raises(FilterInvalid):
            compile_filter(text)
    assert compile_filter(" or ".join(["false"] * 900 + ["true"]))(VIC)


@given(
    st.lists(
        st.sampled_from(
            [
                "(",
                ")",
                "'",
                ",",
                " ",
                "userId",
                " eq ",
                " in ",
                "not ",
                "groups",
                "'a'",
                "5",
                "length(",
                " or ",
            ]
        )
    ).map("".join)
)
def test_any_text_compiles_or_is_refused(text: str) -> None:
    try:
        matches = compile_filter(text)
    except FilterInvalid:
        return
    assert matches(VIC) in (True, False)
    assert matches(NOBODY) in (True, False)


def test_the_deepest_filter_is_still_evaluated() -> None:
    text = "true"
    for _ in range(30):
        text = f"(not (1 gt 2) and {text} eq true or false)"
    assert compile_filter(text)(VIC)
