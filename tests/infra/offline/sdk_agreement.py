"""Compares the typed arguments of Pulumi's SDK with Azure's published type, property by property."""

import enum
import importlib
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pulumi import _types as sdk_types

from infra.offline.arm import RENAMED, BodyWriter, api_version, schema_name
from infra.offline.arm_types import arm_type
from infra.offline.azure_types import Schema, resolve, schema_of
from infra.offline.recording import Resource


@dataclass(frozen=True, slots=True)
class Difference:
    path: str
    what: str


def differences(resource: Resource) -> list[Difference]:
    """Arguments of the SDK that the published type lacks, and enumerations that differ."""
    return _compared(resource).found


def properties_compared(resource: Resource) -> int:
    return _compared(resource).compared


def _compared(resource: Resource) -> "_Comparison":
    _, module, name = resource.token.split(":")
    sdk = importlib.import_module(f"pulumi_azure_native.{module}")
    # If another type has the name, the resource's arguments are called InitArgs.
    arguments = getattr(sdk, f"{name}InitArgs", None) or getattr(sdk, f"{name}Args")
    kind = arm_type(resource.token, resource.inputs)
    schema = schema_of(schema_name(resource), api_version(resource.token))
    comparison = _Comparison(BodyWriter(schema["$defs"], RENAMED.get(kind.type, {})))
    in_path = {*kind.path_inputs, kind.scope_input}
    comparison.objects(arguments, resolve(schema, schema["$defs"]), kind.type, skipped=in_path)
    return comparison


class _Comparison:
    """Walks both declarations in parallel, each pair of object types once."""

    def __init__(self, writer: BodyWriter) -> None:
        self.found: list[Difference] = []
        self.compared = 0
        self._writer = writer
        self._done: set[tuple[type, int]] = set()

    def objects(self, arguments: type, schema: Schema, path: str, skipped: set[str]) -> None:
        if (arguments, id(schema)) in self._done:
            return
        self._done.add((arguments, id(schema)))
        for name, hint in sdk_types.input_type_types(arguments).items():
            if name in skipped:
                continue
            self.compared += 1
            declared = self._writer.declaration(schema, name)
            if declared is None:
                # Network's SubResource types list an id that only references to them carry.
                if not schema.get("additionalProperties") and name != "id":
                    self.found.append(Difference(f"{path}.{name}", "unknown to the published type"))
            elif not declared.get("readOnly"):
                self._values(hint, declared, f"{path}.{name}")

    def _values(self, hint: Any, declared: Schema, path: str) -> None:
        declared = self._innermost(declared)
        for kind in _classes(hint):
            if issubclass(kind, enum.Enum):
                missing = {member.value for member in kind} - set(declared.get("enum", ()))
                if missing:
                    self.found.append(Difference(path, f"lacks {sorted(map(str, missing))}"))
            elif sdk_types.is_input_type(kind) and "discriminator" not in declared:
                self.objects(kind, declared, path, set())

    def _innermost(self, declared: Schema) -> Schema:
        """Follows references, arrays and maps to the type that they hold."""
        while True:
            declared = self._writer.resolved(declared)
            if declared.get("type") == "array":
                declared = declared["items"]
            elif not declared.get("properties") and isinstance(declared.get("additionalProperties"), dict):
                declared = declared["additionalProperties"]
            else:
                return declared


def _classes(hint: Any) -> list[type]:
    """The classes within a hint such as `Optional[Sequence[Input[RuleArgs]]]`."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (list, Sequence):
        return _classes(arguments[0])
    if origin in (dict, Mapping):
        return _classes(arguments[1])
    if origin is not None:
        return [kind for argument in arguments for kind in _classes(argument)]
    return [hint] if isinstance(hint, type) else []
