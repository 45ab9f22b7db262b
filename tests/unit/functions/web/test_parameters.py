"""How query and header parameters are declared, read and described."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any
from urllib.parse import urlencode

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from functions.web.parameters import (
    AfterParameter,
    SymbolParameter,
    parameter_schema,
    parameters_of,
    read_parameters,
    refuse_query,
)
from shared.errors import ValidationFailed


class Parameters(msgspec.Struct, frozen=True, kw_only=True):
    symbol: SymbolParameter
    limit: Annotated[int, msgspec.Meta(description="How many at most.", ge=1, le=500)] = 100
    since: Annotated[datetime, msgspec.Meta(description="From this time on.")] | None = None
    cursor: Annotated[str, msgspec.Meta(description="Where to go on.")] | None = None


class Headers(msgspec.Struct, frozen=True, rename={"request_name": "request-name"}):
    request_name: (
        Annotated[
            str,
            msgspec.Meta(
                description="A name.",
                min_length=1,
                max_length=4,
                extra={"in": "header", "expected": "Expected 1 to 4 characters."},
            ),
        ]
        | None
    ) = None


class Named(msgspec.Struct, frozen=True):
    name: Annotated[
        str,
        msgspec.Meta(
            description="A name.",
            pattern="^[a-z]{1,4}$",
            extra={"in": "path", "expected": "Expected 1 to 4 small letters."},
        ),
    ]


class After(msgspec.Struct, frozen=True):
    after: AfterParameter = 0


def url_of(query: dict[str, str]) -> str:
    return f"http://localhost/api/things?{urlencode(query)}"


def read(**query: str) -> Parameters:
    found: Parameters = read_parameters(Parameters, url_of(query), {})
    return found


def refused(kind: Any, query: dict[str, str], headers: dict[str, str] | None = None) -> ValidationFailed:
    with pytest.raises(ValidationFailed) as caught:
        read_parameters(kind, url_of(query), headers or {})
    return caught.value


def test_a_query_reports_every_bad_parameter_together() -> None:
    sent = {"symbol": "es", "limit": "1e3", "since": "2025-01-01", "colour": "red", "cursor": "c" * 201}
    error = refused(Parameters, sent)
    assert {(each.field, each.code) for each in error.errors} == {
        ("symbol", "invalid_format"),
        ("limit", "out_of_range"),
        ("since", "invalid_format"),
        ("cursor", "out_of_range"),
        ("colour", "unknown_field"),
    }
    assert error.detail == "The query has parameters that cannot be accepted."
    messages = {each.field: each.message for each in error.errors}
    assert messages == {
        "symbol": "Symbols are in capitals and without blanks, got es: send ES.",
        "limit": "Expected a whole number from 1 to 500.",
        "since": "Expected a time with its offset, such as 2025-10-13T13:30:00Z.",
        "cursor": "At most 200 characters.",
        "colour": "This route has no such parameter. It takes symbol, limit, since, cursor.",
    }


def test_a_plus_that_was_not_escaped_is_read_as_meant() -> None:
    found = read(symbol="ES", since="2025-01-01T00:00:00 02:00").since
    assert found is not None
    assert found.isoformat() == "2025-01-01T00:00:00+02:00"


def test_defaults_stand_for_what_is_not_sent() -> None:
    assert read(symbol="ES") == Parameters(symbol="ES", limit=100, since=None, cursor=None)
    assert read(symbol="ES", cursor="") == read(symbol="ES"), "an empty text is none, if it may be empty"


def test_an_empty_value_is_not_left_out_silently() -> None:
    error = refused(Parameters, {"symbol": "ES", "since": ""})
    assert [(each.field, each.code) for each in error.errors] == [("since", "invalid_format")]

    class Filter(msgspec.Struct, frozen=True):
        symbol: SymbolParameter | None = None

    error = refused(Filter, {"symbol": ""})
    assert [(each.field, each.code) for each in error.errors] == [("symbol", "invalid_format")]


def test_what_is_sent_is_read() -> None:
    found = read(symbol="ES", limit="1", since="2025-01-01T00:00:00Z", cursor="c" * 200)
    assert found == Parameters(symbol="ES", limit=1, since=datetime(2025, 1, 1, tzinfo=UTC), cursor="c" * 200)
    assert found.since is not None
    assert found.since.utcoffset() == timedelta()


@pytest.mark.parametrize("query", [{}, {"symbol": ""}])
def test_a_parameter_that_is_required_is_asked_for_with_an_example(query: dict[str, str]) -> None:
    (error,) = refused(Parameters, query).errors
    assert (error.field, error.code) == ("symbol", "missing")
    assert error.message == "This parameter is required, such as ES."


@pytest.mark.parametrize("sent", ["", "0", "501", "-1", "+1", "1.0", " 1", "\u0661", "1" * 19, "one"])
def test_what_is_no_number_of_the_range_is_refused(sent: str) -> None:
    (error,) = refused(Parameters, {"symbol": "ES", "limit": sent}).errors
    assert (error.field, error.code) == ("limit", "out_of_range")


@pytest.mark.parametrize(("sent", "read_as"), [("1", 1), ("500", 500), ("0100", 100)])
def test_the_ends_of_a_range_are_accepted(sent: str, read_as: int) -> None:
    assert read(symbol="ES", limit=sent).limit == read_as


def test_the_largest_sequence_is_accepted() -> None:
    assert read_parameters(After, url_of({"after": str(10**15)}), {}).after == 10**15
    assert refused(After, {"after": str(10**15 + 1)}).errors[0].field == "after"


@pytest.mark.parametrize("symbol", ["E", "E" * 12, "ES2"])
def test_a_symbol_has_from_1_to_12_characters(symbol: str) -> None:
    assert read(symbol=symbol).symbol == symbol


@pytest.mark.parametrize("symbol", ["es", "2ES", "E" * 13, "ES\n", " ES"])
def test_another_text_is_no_symbol(symbol: str) -> None:
    assert [each.field for each in refused(Parameters, {"symbol": symbol}).errors] == ["symbol"]


def test_the_name_of_a_strange_parameter_is_cut() -> None:
    (error,) = refused(Parameters, {"symbol": "ES", "x" * 100: ""}).errors
    assert error.field == "x" * 64


def test_a_header_is_read_by_its_name_and_not_from_the_query() -> None:
    assert (
        read_parameters(Headers, "http://localhost/api/things", {"request-name": "abcd"}).request_name
        == "abcd"
    )
    assert [each.field for each in refused(Headers, {"request-name": "abcd"}).errors] == ["request-name"]
    for bad in ("", "abcde", "a\n"):
        error = refused(Headers, {}, {"request-name": bad})
        assert error.detail == "The request has fields that cannot be accepted; see errors."
        assert [(each.field, each.code, each.message) for each in error.errors] == [
            ("request-name", "out_of_range", "Expected 1 to 4 characters.")
        ]


def test_parameters_are_described_as_they_are_read() -> None:
    symbol, limit, since, cursor = (parameter_schema(each) for each in parameters_of(Parameters))
    assert symbol == {
        "name": "symbol",
        "in": "query",
        "description": "One symbol.",
        "schema": {"type": "string", "pattern": "^[A-Z][A-Z0-9]{0,11}$"},
        "required": True,
        "example": "ES",
    }
    assert limit == {
        "name": "limit",
        "in": "query",
        "description": "How many at most.",
        "schema": {"type": "integer", "minimum": 1, "maximum": 500, "default": 100},
    }
    assert since == {
        "name": "since",
        "in": "query",
        "description": "From this time on.",
        "schema": {"type": "string", "format": "date-time"},
    }
    assert cursor["schema"] == {"type": "string"}
    (header,) = (parameter_schema(each) for each in parameters_of(Headers))
    assert header == {
        "name": "request-name",
        "in": "header",
        "description": "A name.",
        "schema": {"type": "string", "minLength": 1, "maxLength": 4},
    }


def test_no_other_kind_of_parameter_can_be_declared() -> None:
    class Flags(msgspec.Struct):
        flag: bool

    (flag,) = parameters_of(Flags)
    with pytest.raises(TypeError, match="flag"):
        parameter_schema(flag)
    with pytest.raises(TypeError, match="flag"):
        read_parameters(Flags, url_of({"flag": "true"}), {})


NAMES = [
    "limit",
    "Limit",
    "LIMIT",
    "symbol",
    "cursor",
    "dry_run",
    "code",
    "",
    "\N{FULLWIDTH LATIN SMALL LETTER L}imit",
]


@given(st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from(["7", "", "a b", "\u0661"])), max_size=6))
@example([("limit", "7"), ("limit", "7")])
@example([("limit", ""), ("limit", "7")])
def test_each_parameter_is_known_and_given_once(sent: list[tuple[str, str]]) -> None:
    """The independent rule: a name is bad if it is not declared as written, or stands there twice."""

    class Paged(msgspec.Struct, frozen=True):
        limit: Annotated[int, msgspec.Meta(ge=1, le=9)] = 5
        cursor: str = ""

    url = f"http://localhost/api/things?{urlencode(sent)}"
    unknown = {name or "?" for name, _ in sent if name not in ("limit", "cursor")}
    repeated = {name for name, times in Counter(name for name, _ in sent).items() if times > 1}
    named: dict[str, set[str]] = {"unknown_field": set(), "invalid_format": set(), "out_of_range": set()}
    try:
        read_parameters(Paged, url, {})
    except ValidationFailed as error:
        for each in error.errors:
            named[each.code].add(each.field.encode("ascii").decode("unicode_escape"))
    assert named["unknown_field"] == unknown
    assert named["invalid_format"] == repeated & {"limit", "cursor"}


def test_a_route_without_parameters_takes_no_query() -> None:
    for url in (
        "http://localhost/api/things",
        "http://localhost/api/things?",
        "http://localhost/api/things?&",
    ):
        refuse_query(url)
    for query in ("dry_run=true", "dry_run", "dry_run=", "?", "=1", "%64ry_run=1", "code=abc"):
        with pytest.raises(ValidationFailed) as caught:
            refuse_query(f"http://localhost/api/things?{query}")
        (error,) = caught.value.errors
        assert error.message == "This route has no such parameter. It takes none."
    assert caught.value.code == "unknown_field"


def test_a_long_query_gets_a_short_answer() -> None:
    error = refused(Parameters, {f"x{number}" * 30: "1" for number in range(2_000)})
    assert len(error.errors) == 50
    assert all(len(each.field) <= 64 for each in error.errors)


@pytest.mark.parametrize("sent", ["ESZ5", "MES", "/ES", "ES1!", "es"])
def test_a_contract_instead_of_a_root_is_told_the_root(sent: str) -> None:
    try:
        read(symbol=sent)
    except ValidationFailed as error:
        assert error.errors[0].message.endswith("send ES.")
    else:
        assert sent in ("ESZ5", "MES"), "these have the form of a symbol; the service refuses them"


def test_a_part_of_the_path_is_read_from_there_alone() -> None:
    assert read_parameters(Named, "/api/things/path", {"name": "header"}, {"name": "path"}).name == "path"
    (declared,) = parameters_of(Named)
    assert parameter_schema(declared) == {
        "name": "name",
        "in": "path",
        "description": "A name.",
        "schema": {"type": "string", "pattern": "^[a-z]{1,4}$"},
        "required": True,
    }


@pytest.mark.parametrize("sent", ["A", "abcde", "a\n", "\uff41", "a b", " a"])
def test_a_part_of_the_path_that_does_not_fit_is_named(sent: str) -> None:
    with pytest.raises(ValidationFailed) as refused:
        read_parameters(Named, "/api/things/x", {}, {"name": sent})
    assert [(each.field, each.code, each.message) for each in refused.value.errors] == [
        ("name", "invalid_format", "Expected 1 to 4 small letters.")
    ]
