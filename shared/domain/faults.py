"""Says why a JSON value does not fit a type, and what would be accepted."""

import re
from collections.abc import Callable, Iterator
from decimal import Decimal
from itertools import chain
from typing import Any

import msgspec
from msgspec import inspect

from shared.domain.numbers import MAX_WHOLE_DIGITS, NOT_A_NUMBER
from shared.domain.patterns import published
from shared.domain.problems import shown
from shared.errors import FieldCode

type Fault = tuple[FieldCode, str]
type Json = bytes | msgspec.Raw
# Says what is wrong with a text; a type declares it as msgspec.Meta(extra={"explain": ...}).
type Explanation = Callable[[str], str]

AMOUNT = 'a number, or a string with a plain decimal such as "112.5"'
_EXPECTED: dict[type[inspect.Type], str] = {
    inspect.BoolType: "true or false",
    inspect.DateTimeType: "a time such as 2025-10-13T13:30:00Z",
    inspect.DecimalType: AMOUNT,
    inspect.DictType: "an object",
    inspect.FloatType: "a number",
    inspect.IntType: "a whole number",
    inspect.ListType: "an array",
    inspect.StrType: "a string",
    inspect.StructType: "an object",
}
_MAX_SHOWN = 40


def number_in(raw: Json) -> str | None:
    """The text of the number in `raw`, as it was sent; None if `raw` is no number."""
    text = bytes(raw)
    return text.decode() if text[:1] in _NUMBER_STARTS else None


def is_no_number(raw: Json) -> bool:
    """Whether `raw` stands for NaN or Infinity."""
    return bytes(raw) == NOT_A_NUMBER


def not_finite(raw: Json) -> Fault:
    """The fault of a number that has no value, or that no double can hold."""
    return "out_of_range", f"Expected a finite number, got {got(raw)}."


_NUMBER_STARTS = frozenset((b"-", *(b"%d" % digit for digit in range(10))))


def got(raw: Json) -> str:
    """The value in `raw` as short text for a message; a number stays as it was sent."""
    if is_no_number(raw):
        return "NaN or Infinity"
    number = number_in(raw)
    if number is None:
        return shown(msgspec.json.decode(raw))
    return number if len(number) <= _MAX_SHOWN else f"{number[:_MAX_SHOWN]}..."


def fault(raw: Json, kind: inspect.Type, explain: Explanation | None = None) -> Fault:
    """Why the value in `raw`, which msgspec refuses, does not fit `kind`."""
    found: Iterator[Fault] = iter(())
    is_number = number_in(raw) is not None
    is_text = bytes(raw)[:1] == b'"'
    match kind:
        case inspect.LiteralType(values=values):
            code: FieldCode = "unknown_value" if is_text else "wrong_type"
            return code, f"Expected one of {', '.join(map(str, values))}, got {got(raw)}."
        case inspect.DateTimeType() if is_text:
            return "invalid_format", f"Expected {_EXPECTED[type(kind)]}, got {got(raw)}."
        case inspect.StrType() if is_text:
            found = text_faults(msgspec.json.decode(raw, type=str), kind, explain)
        case inspect.FloatType() if is_number:
            found = _float_faults(raw, kind)
        case inspect.UnionType(types=types) if is_text:
            text = msgspec.json.decode(raw, type=str)
            found = chain(*(text_faults(text, each) for each in types if isinstance(each, inspect.StrType)))
        case inspect.UnionType(types=types) if is_number:
            found = chain(
                *(_float_faults(raw, each) for each in types if isinstance(each, inspect.FloatType))
            )
    return next(found, wrong_type(raw, kind))


def wrong_type(raw: Json, kind: inspect.Type) -> Fault:
    """The fault of a value of another type."""
    kinds = kind.types if isinstance(kind, inspect.UnionType) else (kind,)
    names = dict.fromkeys(_EXPECTED[type(each)] for each in kinds if type(each) in _EXPECTED)
    return "wrong_type", f"Expected {' or '.join(names) or 'another value'}, got {got(raw)}."


def text_faults(value: str, kind: inspect.StrType, explain: Explanation | None = None) -> Iterator[Fault]:
    """The reasons why a text is too short, too long, or of another form."""
    yield from length_faults(len(value), kind, "characters")
    if kind.pattern is not None and not re.search(kind.pattern, value):
        expected = f"Expected text that matches {published(kind.pattern)}, got {shown(value)}."
        yield "invalid_format", expected if explain is None else explain(value)


def length_faults(
    length: int, kind: inspect.StrType | inspect.ListType | inspect.DictType, unit: str
) -> Iterator[Fault]:
    """The reasons why a text, an array or an object is too short or too long."""
    if kind.max_length is not None and length > kind.max_length:
        yield "out_of_range", f"Expected at most {kind.max_length} {unit}, got {length}."
    if kind.min_length is not None and length < kind.min_length:
        yield "out_of_range", f"Expected at least {kind.min_length} {unit}, got {length}."


def whole_faults(raw: Json, value: Decimal, kind: inspect.IntType) -> Iterator[Fault]:
    """The reasons why `value`, the number in `raw`, is no whole number within the bounds of `kind`."""
    exponent = value.as_tuple().exponent
    if is_no_number(raw):
        yield not_finite(raw)
    elif not isinstance(exponent, int) or exponent < 0:
        yield wrong_type(raw, kind)
    elif _is_outside(value, kind.ge, kind.le):
        yield "out_of_range", f"Expected {_bounds(kind.ge, kind.le)}, got {got(raw)}."
    elif value.adjusted() >= MAX_WHOLE_DIGITS:
        yield "out_of_range", f"Expected at most {MAX_WHOLE_DIGITS} digits, got {got(raw)}."


def _float_faults(raw: Json, kind: inspect.FloatType) -> Iterator[Fault]:
    if _is_outside(float(bytes(raw)), kind.ge, kind.le):
        yield "out_of_range", f"Expected {_bounds(kind.ge, kind.le)}, got {got(raw)}."
    else:
        yield not_finite(raw)


def _is_outside(value: Decimal | float, low: float | None, high: float | None) -> bool:
    return (low is not None and value < low) or (high is not None and value > high)


def _bounds(low: Any, high: Any) -> str:
    if low is None or high is None:
        return f"at least {low}" if high is None else f"at most {high}"
    return f"from {low} to {high}"
