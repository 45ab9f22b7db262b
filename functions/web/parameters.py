"""Declares query, header and path parameters as a struct, reads them, and describes them for OpenAPI.

Each field of the struct is one parameter. `msgspec.Meta(extra=...)` adds to its type: `in` is "header" for a
header and "path" for a part of the path, `expected` is the message for a value that does not fit, `explain` a
function that makes it from the value.

The query is read from the URL. The platform's own mapping of it joins the values of a parameter that is given
twice, takes names that differ only in case for one, and leaves out empty values, so that it cannot show what
a caller has sent. Each parameter of a request must be declared, whatever its route and method: a parameter
that is not known, such as `dry_run`, may ask for what the route would not do. Nor is `code` known, in which
Azure takes function keys: this app has none.
"""

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import cache
from typing import Annotated, Any
from urllib.parse import parse_qsl

import msgspec
from msgspec import inspect

from shared.domain.limits import AWARE_TIME, MAX_SEQUENCE
from shared.domain.market.bars import SYMBOL_PATTERN
from shared.domain.market.symbols import symbol_fault
from shared.domain.patterns import published
from shared.domain.problems import Problems, printable

_REFUSED = "The query has parameters that cannot be accepted."
_MAX_DIGITS = 18
_MAX_TEXT = 200

SymbolParameter = Annotated[
    str,
    msgspec.Meta(
        description="One symbol.",
        pattern=SYMBOL_PATTERN,
        examples=["ES"],
        extra={"explain": symbol_fault},
    ),
]
AfterParameter = Annotated[
    int,
    msgspec.Meta(
        description="The last sequence that the bot has; returns later signals.", ge=0, le=MAX_SEQUENCE
    ),
]


class Parameter(msgspec.Struct, frozen=True):
    """One parameter: its name and its place in requests (query, header or path), its type and its default."""

    name: str
    attribute: str
    place: str
    kind: inspect.Type
    required: bool
    default: Any
    description: str
    expected: str
    explain: Callable[[str], str] | None
    example: str | None


@cache
def parameters_of(struct: Any) -> tuple[Parameter, ...]:
    """The parameters that the fields of `struct` declare, in order."""
    declared = inspect.type_info(struct)
    assert isinstance(declared, inspect.StructType)
    return tuple(_parameter(field) for field in declared.fields)


def read_parameters(
    struct: Any, url: str, headers: Mapping[str, str], path: Mapping[str, str] | None = None
) -> Any:
    """The parameters of a request as `struct`; raises ValidationFailed with every bad parameter."""
    declared = parameters_of(struct)
    problems = Problems()
    query = _query(url, tuple(each.name for each in declared if each.place == "query"), problems)
    places = {"query": query, "header": headers, "path": path or {}}
    values = {}
    for each in declared:
        sent = places[each.place].get(each.name)
        if sent is None or (not sent and _is_absent_if_empty(each)):
            if each.required:
                hint = f", such as {each.example}" if each.example else ""
                problems.add(each.name, "missing", f"This parameter is required{hint}.")
        else:
            values[each.attribute] = _read(each, sent, problems)
    problems.refuse(_REFUSED if any(each.place == "query" for each in declared) else "")
    return struct(**values)


def refuse_query(url: str) -> None:
    """Raises ValidationFailed if there is a query, for a route that declares no parameters."""
    if "?" in url:
        problems = Problems()
        _query(url, (), problems)
        problems.refuse(_REFUSED)


def _query(url: str, known: tuple[str, ...], problems: Problems) -> dict[str, str]:
    """The first value of each known parameter; adds each name that is unknown, or is given twice."""
    found: dict[str, str] = {}
    takes = f"It takes {', '.join(known)}." if known else "It takes none."
    for name, value in parse_qsl(url.partition("?")[2], keep_blank_values=True):
        if name not in known:
            problems.add(
                printable(name) or "?", "unknown_field", f"This route has no such parameter. {takes}"
            )
        elif name in found:
            problems.add(name, "invalid_format", "This parameter is given more than once; send it once.")
        else:
            found[name] = value
    return found


def _parameter(field: inspect.Field) -> Parameter:
    kind, description, extra, examples = field.type, "", {}, []
    if isinstance(kind, inspect.UnionType):
        kind = next(each for each in kind.types if not isinstance(each, inspect.NoneType))
    if isinstance(kind, inspect.Metadata):
        extra = kind.extra or {}
        schema = kind.extra_json_schema or {}
        description, examples = schema.get("description", ""), schema.get("examples", [])
        kind = kind.type
    return Parameter(
        name=field.encode_name,
        attribute=field.name,
        place=extra.get("in", "query"),
        kind=kind,
        required=field.required,
        default=None if field.required else field.default,
        description=description,
        expected=extra.get("expected", ""),
        explain=extra.get("explain"),
        example=examples[0] if examples else None,
    )


def _is_absent_if_empty(parameter: Parameter) -> bool:
    """Whether an empty value in the query counts as none: for a text that its schema lets be empty.

    A first page may be asked for by an empty cursor. An empty time or symbol is a mistake, and to leave it
    out would return more than was asked for.
    """
    if parameter.place != "query":
        return False
    kind = parameter.kind
    is_any_text = isinstance(kind, inspect.StrType) and kind.pattern is None and not kind.min_length
    return is_any_text or (parameter.required and isinstance(kind, inspect.StrType))


def _read(parameter: Parameter, sent: str, problems: Problems) -> Any:
    match parameter.kind:
        case inspect.IntType(ge=low, le=high):
            return _integer(parameter, sent, low, high, problems)
        case inspect.DateTimeType():
            return _time(parameter, sent, problems)
        case inspect.StrType(min_length=least, max_length=most, pattern=pattern):
            if most is None:
                most = _MAX_TEXT
            if not (least or 0) <= len(sent) <= most or (
                parameter.place == "header" and not sent.isprintable()
            ):
                message = parameter.expected or f"At most {most} characters."
                problems.add(parameter.name, "out_of_range", message)
            elif pattern is not None and not re.fullmatch(pattern, sent):
                message = parameter.expected if parameter.explain is None else parameter.explain(sent)
                problems.add(parameter.name, "invalid_format", message)
            return sent
    raise TypeError(f"{parameter.name}: a parameter is a text, a whole number or a time")


def _integer(parameter: Parameter, sent: str, low: Any, high: Any, problems: Problems) -> int:
    is_whole = sent.isascii() and sent.isdigit() and len(sent) <= _MAX_DIGITS
    if not is_whole or not low <= int(sent) <= high:
        problems.add(parameter.name, "out_of_range", f"Expected a whole number from {low} to {high}.")
        return 0
    return int(sent)


def _time(parameter: Parameter, sent: str, problems: Problems) -> datetime | None:
    try:
        # A plus sign that the caller did not escape arrives as a blank.
        value = datetime.fromisoformat(sent.replace(" ", "+"))
    except ValueError:
        value = None
    if value is None or value.tzinfo is None:
        problems.add(parameter.name, "invalid_format", AWARE_TIME)
    return value


def parameter_schema(parameter: Parameter) -> dict[str, Any]:
    """The OpenAPI description of one parameter."""
    match parameter.kind:
        case inspect.IntType(ge=low, le=high):
            schema: dict[str, Any] = {"type": "integer", "minimum": low, "maximum": high}
            schema["default"] = parameter.default
        case inspect.DateTimeType():
            schema = {"type": "string", "format": "date-time"}
        case inspect.StrType(min_length=least, max_length=most, pattern=pattern):
            given = {"pattern": pattern and published(pattern), "minLength": least, "maxLength": most}
            schema = {"type": "string"} | {name: each for name, each in given.items() if each is not None}
        case _:
            raise TypeError(f"{parameter.name}: a parameter is a text, a whole number or a time")
    described: dict[str, Any] = {
        "name": parameter.name,
        "in": parameter.place,
        "description": parameter.description,
        "schema": schema,
    }
    if parameter.required:
        described["required"] = True
    if parameter.example is not None:
        described["example"] = parameter.example
    return described
