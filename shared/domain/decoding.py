"""From bytes to a validated struct in one pass; a second, slow pass only to name every bad field."""

import difflib
from collections.abc import Iterator, Mapping
from functools import cache
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec

from shared.errors import FieldError, MalformedJson, ValidationFailed

# Enough to mend a request by; a hostile one does not get a megabyte of errors back.
MAX_ERRORS = 50


@cache
def _decoder(kind: Any) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(kind)


def decode[T](body: bytes, kind: type[T]) -> T:
    """`body` as `kind`; raises MalformedJson or ValidationFailed with every bad field (at most 50)."""
    try:
        struct: Any = kind
        decoded: T = _decoder(struct).decode(body)
    except msgspec.ValidationError as error:
        raise ValidationFailed(field_errors(raw_json(body), kind) or (_whole(error),)) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedJson(f"The body is not valid JSON: {error}.") from error
    return decoded


def raw_json(body: bytes) -> Any:
    """`body` as plain JSON values; raises MalformedJson."""
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedJson(f"The body is not valid JSON: {error}.") from error


def unknown_field(name: str, known: list[str], prefix: str = "") -> FieldError:
    """The error for a field nobody asked for, with the nearest known name."""
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"known fields: {', '.join(known)}."
    return FieldError(f"{prefix}{name[:64]}", "unknown_field", f"This field is not known; {hint}")


def field_errors(value: Any, kind: Any, prefix: str = "") -> tuple[FieldError, ...]:
    """Every field of `value` that does not fit the struct `kind`, at most 50."""
    found: list[FieldError] = []
    for error in _walk(value, kind, prefix):
        found.append(error)
        if len(found) == MAX_ERRORS:
            break
    return tuple(found)


def _whole(error: msgspec.ValidationError) -> FieldError:
    return FieldError("", "wrong_type", f"{error}.")


@cache
def _declared(kind: Any) -> tuple[dict[str, Any], dict[str, msgspec.structs.FieldInfo]]:
    """The type hints of a struct by attribute, and its fields by their name in JSON."""
    hints = get_type_hints(kind, include_extras=True)
    return hints, {field.encode_name: field for field in msgspec.structs.fields(kind)}


def _fits(value: Any, kind: Any) -> bool:
    try:
        msgspec.convert(value, kind, strict=True)
    except msgspec.ValidationError:
        return False
    return True


def _walk(value: Any, kind: Any, prefix: str) -> Iterator[FieldError]:
    if not isinstance(value, Mapping):
        yield FieldError(prefix.rstrip("."), "wrong_type", "Expected a JSON object here.")
        return
    hints, fields = _declared(kind)
    if kind.__struct_config__.forbid_unknown_fields:
        for name in value:
            if name not in fields:
                yield unknown_field(name, list(fields), prefix)
    for name, field in fields.items():
        if name in value:
            yield from _walk_value(value[name], hints[field.name], f"{prefix}{name}")
        elif field.required:
            yield FieldError(f"{prefix}{name}", "missing", "This field is required.")


def _walk_value(value: Any, hint: Any, path: str) -> Iterator[FieldError]:
    try:
        msgspec.convert(value, hint, strict=True)
    except msgspec.ValidationError as error:
        inner = _struct_inside(hint)
        if inner is not None and isinstance(value, list):
            for index, item in enumerate(value):
                # A thousand good items must not make the one bad one slow to find.
                if not _fits(item, inner):
                    yield from _walk(item, inner, f"{path}[{index}].")
        elif inner is not None and isinstance(value, Mapping):
            yield from _walk(value, inner, f"{path}.")
        else:
            message = str(error).split(" - at ")[0]
            if get_origin(hint) is Literal:
                message += f", expected one of {', '.join(map(str, get_args(hint)))}"
            yield FieldError(path, code_of(message), f"{message}.")


def code_of(message: str) -> str:
    """The stable code for what msgspec says of one value."""
    if "matching regex" in message:
        return "invalid_format"
    if "enum value" in message:
        return "unknown_value"
    if any(sign in message for sign in (" >= ", " <= ", " > ", " < ", "length")):
        return "out_of_range"
    if message.startswith("Invalid"):
        return "invalid_format"
    return "wrong_type"


def _struct_inside(hint: Any) -> Any:
    """The struct type in `Struct`, `list[Struct]`, `Struct | None` or an annotated one of these."""
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        return hint
    if get_origin(hint) in (list, tuple, Union, UnionType) or hasattr(hint, "__metadata__"):
        for argument in get_args(hint):
            inner = _struct_inside(argument)
            if inner is not None:
                return inner
    return None
