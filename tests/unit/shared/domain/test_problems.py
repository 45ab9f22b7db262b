"""One collector of all that is wrong with a request."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from shared.domain.numbers import NoNumber
from shared.domain.problems import MAX_HINTS, MAX_PROBLEMS, Problems, printable, shown
from shared.errors import FieldError, ValidationFailed


def fields(problems: Problems) -> list[str]:
    return [error.field for error in problems]


def test_parts_share_one_list_and_name_their_fields() -> None:
    problems = Problems()
    problems.add("symbol", "missing", "Expected a symbol.")
    bar = problems.within("bars[3].")
    bar.add("low", "out_of_range", "Too low.")
    bar.within("features.").add("rsi", "missing", "Expected an RSI.")
    bar.add("", "wrong_type", "Expected an object.")
    problems.add("", "wrong_type", "Expected an object.")
    assert fields(problems) == ["symbol", "bars[3].low", "bars[3].features.rsi", "bars[3]", ""]
    assert list(bar) == list(problems)
    assert len(bar) == len(problems) == 5
    assert next(iter(problems)) == FieldError("symbol", "missing", "Expected a symbol.")


def test_no_more_than_a_bound_is_kept() -> None:
    problems = Problems()
    for number in range(MAX_PROBLEMS - 1):
        problems.within("x.").add(str(number), "missing", "")
    assert not problems.is_full
    problems.add("last", "missing", "")
    assert problems.is_full
    problems.add("one too many", "missing", "")
    problems.unknown_field("another", ["known"])
    assert (len(problems), fields(problems)[-1]) == (MAX_PROBLEMS, "last")
    assert MAX_PROBLEMS == 50


def test_an_unknown_field_is_told_with_the_nearest_name_or_all_names() -> None:
    problems = Problems().within("trades[0].")
    problems.unknown_field("sybmol", ["symbol", "side"])
    problems.unknown_field("colour", ["symbol", "side"])
    assert [(each.field, each.code, each.message) for each in problems] == [
        (
            "trades[0].sybmol",
            "unknown_field",
            "This field is not known; did you mean 'symbol'?",
        ),
        ("trades[0].colour", "unknown_field", "This field is not known; known fields: symbol, side."),
    ]


def test_only_the_first_unknown_fields_get_the_nearest_name_because_that_is_slow() -> None:
    problems = Problems()
    for number in range(MAX_PROBLEMS):
        problems.unknown_field(f"sybmol{number}", ["symbol", "side"])
    hinted = [each for each in problems if "did you mean 'symbol'" in each.message]
    assert hinted == list(problems)[:MAX_HINTS]


def test_nothing_wrong_refuses_nothing() -> None:
    problems = Problems()
    problems.refuse()
    assert not problems
    assert problems.refusal().errors == ()


def test_a_refusal_names_every_field_and_says_what_was_refused() -> None:
    problems = Problems()
    problems.add("a", "missing", "")
    problems.add("b", "unknown_field", "")
    with pytest.raises(ValidationFailed) as refused:
        problems.refuse("The bars are wrong.")
    assert (refused.value.detail, refused.value.code) == ("The bars are wrong.", "validation_failed")
    assert [error.field for error in refused.value.errors] == ["a", "b"]
    with pytest.raises(ValidationFailed, match="The request has fields that cannot be accepted; see errors"):
        problems.refuse()


def test_names_from_outside_become_short_ascii() -> None:
    assert printable("rsi") == "rsi"
    assert printable("x" * 64) == "x" * 64
    assert printable("x" * 65) == "x" * 64
    assert printable("\u00e9\ud800\n") == "\\u00e9\\ud800\\n"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("a", '"a"'),
        (1.5, "1.5"),
        (None, "null"),
        (True, "true"),
        (["\u00e9"], '["\\u00e9"]'),
        ({1}, "another value"),
        (Decimal("1E-8"), '"0.00000001"'),
        (datetime(2026, 3, 2, tzinfo=UTC), '"2026-03-02T00:00:00+00:00"'),
        (NoNumber("1e400"), "1e400"),
        ("x" * 38, '"' + "x" * 38 + '"'),
        ("x" * 39, '"' + "x" * 39 + "..."),
    ],
)
def test_values_from_outside_are_shown_short(value: object, text: str) -> None:
    assert shown(value) == text


def test_of_a_deep_value_only_the_beginning_is_shown() -> None:
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    assert shown(deep) == "[" * 40 + "..."
