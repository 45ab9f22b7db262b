"""Decodes JSON bodies into structs in one pass. If that fails, a second pass names every bad field.

The second pass reads the struct's declaration. No code and no message comes from a library's own text,
because that may change with any release. It opens only the parts that are bad, and it does not look into a
body of more than MAX_PARTS, so that no body costs more than a good one of its size.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from itertools import chain, islice
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import msgspec
from msgspec import inspect

from shared.domain.problems import Problems, shown
from shared.errors import FieldCode, MalformedJson, ValidationFailed

# More than any good body has: 5,000 bars have 30,000 fields.
MAX_PARTS = 40_000
# Entries of a dictionary in which the second pass looks for the bad one.
_MAX_ENTRIES = 100

type _Fault = tuple[FieldCode, str]
type _Json = bytes | msgspec.Raw
_OBJECT: Any = dict[str, msgspec.Raw]
_ARRAY: Any = list[msgspec.Raw]

_EXPECTED: dict[type[inspect.Type], str] = {
    inspect.BoolType: "true or false",
    inspect.DateTimeType: "a time such as 2025-10-13T13:30:00Z",
    inspect.DecimalType: "a number",
    inspect.DictType: "an object",
    inspect.FloatType: "a number",
    inspect.IntType: "a whole number",
    inspect.ListType: "an array",
    inspect.StrType: "a string",
    inspect.StructType: "an object",
}


def decode[T](body: bytes, kind: type[T]) -> T:
    """Returns `body` as `kind`; raises MalformedJson, or ValidationFailed with every bad field."""
    try:
        return read(body, kind)
    except msgspec.ValidationError as error:
        raise refusal(body, kind) from error


def read[T](body: _Json, kind: type[T]) -> T:
    """As `decode`, but the error for JSON that does not fit `kind` is msgspec's, which names no field."""
    try:
        struct: Any = kind
        decoded: T = _decoder(struct).decode(body)
    except msgspec.ValidationError:
        raise
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _malformed(error) from error
    return decoded


def refusal(body: bytes, kind: Any, field: str = "") -> ValidationFailed:
    """The error that names every bad field of a body that does not fit `kind`.

    `field` is the name of the body itself. Raises MalformedJson.
    """
    problems = Problems()
    if has_more_parts(body, MAX_PARTS):
        problems.add("", "out_of_range", "The body has far more fields or items than a valid one can have.")
    else:
        name_faults(body.lstrip(), kind, problems, field)
    return problems.refusal()


def name_faults(raw: _Json, kind: Any, problems: Problems, field: str) -> None:
    """Adds every bad field of `raw`, which has the name `field` and does not fit `kind`, at least one."""
    before = len(problems)
    _check(raw, kind, problems, field)
    if len(problems) == before:
        # JSON that the decoder refuses stays refused, even if the second pass finds no reason.
        problems.add(field, "wrong_type", "This part does not have the expected form.")


def has_more_parts(body: bytes, most: int) -> bool:
    """Whether the body has more than `most` fields and items; counts commas, so it is fast, and inexact."""
    return body.count(b",") > most


@cache
def _decoder(hint: Any) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(hint)


@cache
def _described(hint: Any) -> inspect.Type:
    return inspect.type_info(hint)


@cache
def _field_hints(struct: Any) -> dict[str, Any]:
    return get_type_hints(struct, include_extras=True)


def _malformed(error: Exception) -> MalformedJson:
    return MalformedJson(f"The body is not valid JSON: {error}.")


def _opened(raw: _Json, hint: Any) -> Any:
    """Returns `raw` as `hint`, whose inner parts stay JSON; raises MalformedJson."""
    try:
        return _decoder(hint).decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _malformed(error) from error


def _fits(raw: _Json, hint: Any) -> bool:
    try:
        _decoder(hint).decode(raw)
    except msgspec.ValidationError:
        return False
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _malformed(error) from error
    return True


def _check(raw: _Json, hint: Any, problems: Problems, field: str) -> None:
    """Adds every bad field in the JSON `raw`, which has the name `field` and does not fit `hint`."""
    hint = _without_null(hint)
    kind = _described(hint)
    if isinstance(kind, inspect.StructType) and _begins_with(raw, b"{"):
        _check_struct(_opened(raw, _OBJECT), kind, problems.within(f"{field}.") if field else problems)
    elif isinstance(kind, inspect.ListType) and _begins_with(raw, b"["):
        _check_list(_opened(raw, _ARRAY), hint, kind, problems, field)
    else:
        code, message = _fault(_opened(raw, Any), hint)
        problems.add(field, code, message)


def _check_list(
    items: Sequence[_Json], hint: Any, kind: inspect.ListType, problems: Problems, field: str
) -> None:
    (item_hint,) = _arguments(hint)
    for index, item in enumerate(items):
        if problems.is_full:
            return
        # Checks whole items first, because a bad item may follow a thousand good ones.
        if not _fits(item, item_hint):
            _check(item, item_hint, problems, f"{field}[{index}]")
    for code, message in _length_faults(len(items), kind, "items"):
        problems.add(field, code, message)


def _check_struct(value: Mapping[str, _Json], kind: inspect.StructType, problems: Problems) -> None:
    fields = {field.encode_name: field for field in kind.fields}
    if kind.forbid_unknown_fields:
        known = list(fields)
        for name in value:
            if problems.is_full:
                return
            if name not in fields:
                problems.unknown_field(name, known)
    hints = _field_hints(kind.cls)
    for name, field in fields.items():
        if name not in value:
            if field.required:
                problems.add(name, "missing", "This field is required.")
        # Lists are checked at once, because their items are read one by one.
        elif _is_list(value[name], hints[field.name]) or not _fits(value[name], hints[field.name]):
            _check(value[name], hints[field.name], problems, name)


def _begins_with(raw: _Json, first: bytes) -> bool:
    return bytes(memoryview(raw)[:1]) == first


def _is_list(raw: _Json, hint: Any) -> bool:
    return _begins_with(raw, b"[") and isinstance(_described(_without_null(hint)), inspect.ListType)


def _without_null(hint: Any) -> Any:
    """The other member if `hint` is a union of one type with null, else `hint`."""
    if get_origin(hint) in (Union, UnionType):
        others = [each for each in get_args(hint) if each is not type(None)]
        return others[0] if len(others) == 1 else hint
    return hint


def _arguments(hint: Any) -> tuple[Any, ...]:
    """The types inside `list[...]` or `dict[...]`, annotated or not."""
    return get_args(hint.__origin__ if hasattr(hint, "__metadata__") else hint)


def _fault(value: Any, hint: Any) -> _Fault:
    """Returns why `value` does not fit `hint`: the code, and a message that says what would be accepted."""
    hint = _without_null(hint)
    kind = _described(hint)
    found: Iterator[_Fault] = iter(())
    match kind:
        case inspect.LiteralType(values=values):
            of_a_known_type = type(value) in {type(each) for each in values}
            code: FieldCode = "unknown_value" if of_a_known_type else "wrong_type"
            return code, f"Expected one of {', '.join(map(str, values))}, got {shown(value)}."
        case inspect.DateTimeType() | inspect.DecimalType() if isinstance(value, str):
            return "invalid_format", f"Expected {_EXPECTED[type(kind)]}, got {shown(value)}."
        case inspect.StrType() if isinstance(value, str):
            found = _text_faults(value, kind)
        case inspect.IntType() | inspect.FloatType() if _is_number(value):
            found = _range_faults(value, kind.ge, kind.le)
        case inspect.DictType() if isinstance(value, Mapping):
            found = chain(_length_faults(len(value), kind, "entries"), _entry_faults(value, hint))
    return next(found, _wrong_type(value, kind))


def _text_faults(value: str, kind: inspect.StrType) -> Iterator[_Fault]:
    yield from _length_faults(len(value), kind, "characters")
    if kind.pattern is not None and not re.search(kind.pattern, value):
        yield "invalid_format", f"Expected text that matches {kind.pattern}, got {shown(value)}."


def _range_faults(value: float, low: float | None, high: float | None) -> Iterator[_Fault]:
    if (low is not None and value < low) or (high is not None and value > high):
        yield "out_of_range", f"Expected {_bounds(low, high)}, got {shown(value)}."


def _entry_faults(value: Mapping[str, Any], hint: Any) -> Iterator[_Fault]:
    key_hint, value_hint = _arguments(hint)
    for name, each in islice(value.items(), _MAX_ENTRIES):
        for part, part_hint in ((name, key_hint), (each, value_hint)):
            if not _converts(part, part_hint):
                code, message = _fault(part, part_hint)
                yield code, f"At {shown(name)}: {message}"
    if len(value) > _MAX_ENTRIES:
        yield "wrong_type", f"One of its {len(value)} entries does not fit."


def _converts(value: Any, hint: Any) -> bool:
    try:
        msgspec.convert(value, hint, strict=True)
    except msgspec.ValidationError:
        return False
    return True


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _wrong_type(value: Any, kind: inspect.Type) -> _Fault:
    kinds = kind.types if isinstance(kind, inspect.UnionType) else (kind,)
    expected = " or ".join(dict.fromkeys(_EXPECTED.get(type(each), "another value") for each in kinds))
    return "wrong_type", f"Expected {expected}, got {shown(value)}."


def _bounds(low: float | None, high: float | None) -> str:
    if low is None or high is None:
        return f"at least {low}" if high is None else f"at most {high}"
    return f"from {low} to {high}"


def _length_faults(
    length: int, kind: inspect.StrType | inspect.ListType | inspect.DictType, unit: str
) -> Iterator[_Fault]:
    if kind.max_length is not None and length > kind.max_length:
        yield "out_of_range", f"Expected at most {kind.max_length} {unit}, got {length}."
    if kind.min_length is not None and length < kind.min_length:
        yield "out_of_range", f"Expected at least {kind.min_length} {unit}, got {length}."
