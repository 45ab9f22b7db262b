"""Every bad field is named, and nothing that is sent makes the decoder fail otherwise."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.decoding import decode
from shared.domain.faults import AMOUNT
from shared.domain.problems import MAX_PROBLEMS
from shared.domain.trading.trades import Trade
from shared.errors import InvalidInput, MalformedJson, ValidationFailed


class Report(msgspec.Struct, forbid_unknown_fields=True):
    trades: list[Trade]


GOOD = {
    "trade_id": "t-1",
    "symbol": "ES",
    "side": "LONG",
    "entry_price": "6543.25",
    "exit_price": 6545.5,
    "entry_at": "2025-10-13T13:30:00Z",
    "exit_at": "2025-10-13T13:45:00Z",
    "pnl": "112.50",
}


def problems(value: object) -> dict[str, str]:
    with pytest.raises(ValidationFailed) as caught:
        decode(msgspec.json.encode(value), Report)
    return {error.field: error.code for error in caught.value.errors}


def test_a_good_report_keeps_decimals_exact() -> None:
    trade = decode(msgspec.json.encode({"trades": [GOOD]}), Report).trades[0]
    assert (str(trade.entry_price), str(trade.exit_price), str(trade.pnl)) == ("6543.25", "6545.5", "112.50")


def test_every_bad_field_is_named_with_its_own_code() -> None:
    bad = {**GOOD, "side": "UP", "pnl": True, "signal_sequence": 0, "sybmol": "ES", "trade_id": "a b"}
    del bad["exit_price"]
    assert problems({"trades": [GOOD, bad]}) == {
        "trades[1].sybmol": "unknown_field",
        "trades[1].trade_id": "invalid_format",
        "trades[1].side": "unknown_value",
        "trades[1].exit_price": "missing",
        "trades[1].pnl": "wrong_type",
        "trades[1].signal_sequence": "out_of_range",
    }


def test_only_unknown_fields_narrow_the_code_and_suggest_the_name() -> None:
    with pytest.raises(ValidationFailed) as caught:
        decode(msgspec.json.encode({"trades": [{**GOOD, "sybmol": "ES"}]}), Report)
    assert caught.value.code == "unknown_field"
    assert "did you mean 'symbol'?" in caught.value.errors[0].message


def test_what_postgres_cannot_hold_is_refused_by_field() -> None:
    bad = {**GOOD, "signal_sequence": 2**63, "model_version": "a\0b"}
    assert problems({"trades": [bad]}) == {
        "trades[0].signal_sequence": "out_of_range",
        "trades[0].model_version": "invalid_format",
    }


def test_one_bad_item_behind_thousands_of_good_ones_is_found() -> None:
    assert problems({"trades": [GOOD] * 5_000 + [{}]})["trades[5000].pnl"] == "missing"


def test_the_number_of_errors_is_bounded() -> None:
    assert len(problems({"trades": [{}] * 500})) == MAX_PROBLEMS


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe", b"[" * 100_000])
def test_what_is_no_json_is_malformed(body: bytes) -> None:
    with pytest.raises(MalformedJson):
        decode(body, Report)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from([*GOOD, "trades", "x"]), inner)
    ),
    max_leaves=20,
)


@given(json_values)
def test_any_json_is_taken_or_refused_by_field(value: object) -> None:
    try:
        decode(msgspec.json.encode(value), Report)
    except InvalidInput as error:
        assert error.code in ("validation_failed", "unknown_field", "malformed_json")


@given(st.binary(max_size=200))
def test_any_bytes_are_taken_or_refused(body: bytes) -> None:
    try:
        decode(body, Report)
    except InvalidInput as error:
        assert error.detail


class Inner(msgspec.Struct, forbid_unknown_fields=True):
    name: Annotated[str, msgspec.Meta(min_length=2, max_length=3)] = "ab"
    number: Annotated[int, msgspec.Meta(ge=1, le=9)] | None = None
    share: Annotated[float, msgspec.Meta(ge=0.5)] = 1.0
    below: Annotated[float, msgspec.Meta(le=0.5)] = 0.0
    flag: bool = False


class Outer(msgspec.Struct):
    inner: Inner = msgspec.field(default_factory=Inner)
    side: Literal["LONG", "SHORT"] = "LONG"
    at: datetime = datetime(2025, 1, 1, tzinfo=UTC)
    price: Decimal = Decimal(1)
    names: Annotated[list[Annotated[str, msgspec.Meta(pattern="^[a-z]$")]], msgspec.Meta(max_length=2)] = []
    numbers: Annotated[list[int], msgspec.Meta(min_length=1)] | None = None
    values: Annotated[
        dict[Annotated[str, msgspec.Meta(max_length=2)], float | str | bool], msgspec.Meta(max_length=2)
    ] = {}
    renamed: int = msgspec.field(default=0, name="re-named")


def paths(body: bytes) -> list[str]:
    with pytest.raises(ValidationFailed) as caught:
        decode(body, Outer)
    return [error.field for error in caught.value.errors]


@pytest.mark.parametrize(
    ("value", "field", "code", "message"),
    [
        ({"inner": 7}, "inner", "wrong_type", "Expected an object, got 7."),
        ({"inner": {"name": "a"}}, "inner.name", "out_of_range", "Expected at least 2 characters, got 1."),
        ({"inner": {"name": "abcd"}}, "inner.name", "out_of_range", "Expected at most 3 characters, got 4."),
        ({"inner": {"name": 7}}, "inner.name", "wrong_type", "Expected a string, got 7."),
        ({"inner": {"name": None}}, "inner.name", "wrong_type", "Expected a string, got null."),
        ({"inner": {"number": 0}}, "inner.number", "out_of_range", "Expected from 1 to 9, got 0."),
        ({"inner": {"number": 10}}, "inner.number", "out_of_range", "Expected from 1 to 9, got 10."),
        ({"inner": {"number": 1.5}}, "inner.number", "wrong_type", "Expected a whole number, got 1.5."),
        ({"inner": {"number": True}}, "inner.number", "wrong_type", "Expected a whole number, got true."),
        ({"inner": {"number": "1"}}, "inner.number", "wrong_type", 'Expected a whole number, got "1".'),
        ({"inner": {"share": 0.4}}, "inner.share", "out_of_range", "Expected at least 0.5, got 0.4."),
        ({"inner": {"share": "1"}}, "inner.share", "wrong_type", 'Expected a number, got "1".'),
        ({"inner": {"below": 0.6}}, "inner.below", "out_of_range", "Expected at most 0.5, got 0.6."),
        ({"inner": {"flag": 1}}, "inner.flag", "wrong_type", "Expected true or false, got 1."),
        ({"inner": {"x": 1}}, "inner.x", "unknown_field", None),
        ({"side": "UP"}, "side", "unknown_value", 'Expected one of LONG, SHORT, got "UP".'),
        ({"side": 7}, "side", "wrong_type", "Expected one of LONG, SHORT, got 7."),
        (
            {"at": "noon"},
            "at",
            "invalid_format",
            'Expected a time such as 2025-10-13T13:30:00Z, got "noon".',
        ),
        ({"at": 7}, "at", "wrong_type", "Expected a time such as 2025-10-13T13:30:00Z, got 7."),
        ({"price": "one"}, "price", "invalid_format", f'Expected {AMOUNT}, got "one".'),
        ({"price": []}, "price", "wrong_type", f"Expected {AMOUNT}, got []."),
        ({"names": "a"}, "names", "wrong_type", 'Expected an array, got "a".'),
        (
            {"names": ["a", "B"]},
            "names[1]",
            "invalid_format",
            'Expected text that matches ^[a-z]$, got "B".',
        ),
        ({"names": ["a", "b", "c"]}, "names", "out_of_range", "Expected at most 2 items, got 3."),
        ({"numbers": []}, "numbers", "out_of_range", "Expected at least 1 items, got 0."),
        ({"values": []}, "values", "wrong_type", "Expected an object, got []."),
        (
            {"values": {"abc": 1}},
            "values.abc",
            "out_of_range",
            "For its name: Expected at most 2 characters, got 3.",
        ),
        (
            {"values": {"a": 1, "b": 1, "c": 1}},
            "values",
            "out_of_range",
            "Expected at most 2 entries, got 3.",
        ),
        (
            {"values": {"a": None}},
            "values.a",
            "wrong_type",
            "Expected a number or a string or true or false, got null.",
        ),
        ({"re-named": "1"}, "re-named", "wrong_type", 'Expected a whole number, got "1".'),
    ],
)
def test_each_fault_has_its_code_and_says_what_would_be_accepted(
    value: object, field: str, code: str, message: str | None
) -> None:
    with pytest.raises(ValidationFailed) as caught:
        decode(msgspec.json.encode(value), Outer)
    (error,) = caught.value.errors
    assert (error.field, error.code) == (field, code)
    if message is not None:
        assert error.message == message


def test_the_bad_entries_of_an_object_are_named() -> None:
    assert paths(b'{"values": {"ok": 1, "no": null}}') == ["values.no"]
    assert paths(b'{"values": {"a": [], "b": {}, "c": 1}}') == ["values", "values.a", "values.b"]


def test_a_field_that_nobody_forbids_is_passed_over() -> None:
    assert decode(b'{"x": 1}', Outer) == Outer()


def test_what_fits_is_taken_at_the_ends_of_every_range() -> None:
    body = {
        "inner": {"name": "ab", "number": 1, "share": 0.5, "below": 0.5},
        "names": ["a", "b"],
        "values": {"ab": "x", "c": True},
    }
    found = decode(msgspec.json.encode(body), Outer)
    assert (found.inner.number, found.names, found.values) == (1, ["a", "b"], {"ab": "x", "c": True})
    other = decode(b'{"inner": {"name": "abc", "number": 9}, "re-named": 7}', Outer)
    assert (other.inner.name, other.inner.number, other.renamed) == ("abc", 9, 7)
    assert decode(b'{"inner": {"number": null}}', Outer).inner.number is None


def test_what_is_no_json_says_why() -> None:
    with pytest.raises(MalformedJson, match=r"^The body is not valid JSON: .+\.$"):
        decode(b"{", Outer)


def test_the_first_problems_of_many_are_named_in_order() -> None:
    with pytest.raises(ValidationFailed) as caught:
        decode(msgspec.json.encode([7] * 100), list[Inner])
    assert [error.field for error in caught.value.errors] == [f"[{n}]" for n in range(MAX_PROBLEMS)]
