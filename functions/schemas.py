"""Describes structs as JSON Schema: msgspec's description, with the times and amounts that it leaves open."""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from msgspec import inspect

type Schema = dict[str, Any]

_PLACE = "#/components/schemas/"
# Answers have amounts as strings, so that no client rounds them; requests may have numbers, too.
_AMOUNT: Schema = {"type": "string", "format": "decimal", "pattern": r"^-?[0-9]+(\.[0-9]+)?$"}
_AMOUNT_SENT: Schema = _AMOUNT | {"type": ["number", "string"]}


def schemas_of(kinds: Sequence[Any], requests: Iterable[Any]) -> tuple[dict[Any, Schema], dict[str, Schema]]:
    """The schema of each of `kinds`, and the components that they refer to by name.

    `requests` are those of the kinds that callers send; in their amounts, numbers are accepted too.
    """
    made, components = msgspec.json.schema_components(kinds, ref_template=_PLACE + "{name}")
    sent = _structs_in(requests)
    for name, struct in _structs_in(kinds).items():
        for field in struct.fields:
            _complete(components[name]["properties"][field.encode_name], field.type, is_sent=name in sent)
    return dict(zip(kinds, map(dict, made), strict=True)), components


def _structs_in(kinds: Iterable[Any]) -> dict[str, inspect.StructType]:
    """The structs in `kinds`, at any depth, by their names; raises ValueError if two have the same name."""
    found: dict[str, inspect.StructType] = {}
    left = list(inspect.multi_type_info(kinds))
    while left:
        kind = left.pop()
        if isinstance(kind, inspect.StructType):
            known = found.get(kind.cls.__name__)
            if known is not None and known.cls is not kind.cls:
                raise ValueError(f"two structs of the API are named {kind.cls.__name__}")
            if known is not None:
                continue
            found[kind.cls.__name__] = kind
        left += _parts(kind)
    return found


def _parts(kind: inspect.Type) -> list[inspect.Type]:
    match kind:
        case inspect.StructType(fields=fields):
            return [field.type for field in fields]
        case inspect.UnionType(types=types):
            return list(types)
        case inspect.Metadata(type=inner):
            return [inner]
        case inspect.ListType(item_type=item) | inspect.VarTupleType(item_type=item):
            return [item]
        case inspect.DictType(value_type=value):
            return [value]
    return []


def _complete(schema: Schema, kind: inspect.Type, *, is_sent: bool) -> None:
    """Adds to the schema of a value of the type `kind`, also inside arrays and objects."""
    match kind:
        case inspect.DateTimeType():
            schema["format"] = "date-time"
        case inspect.DecimalType():
            schema |= _AMOUNT_SENT if is_sent else _AMOUNT
        case inspect.UnionType(types=types):
            for part, inner in zip(schema["anyOf"], types, strict=True):
                _complete(part, inner, is_sent=is_sent)
        case inspect.ListType() | inspect.VarTupleType():
            _complete(schema["items"], kind.item_type, is_sent=is_sent)
        case inspect.DictType(value_type=value) if "additionalProperties" in schema:
            _complete(schema["additionalProperties"], value, is_sent=is_sent)
        case inspect.Metadata(type=inner):
            _complete(schema, inner, is_sent=is_sent)
