"""Compares a recorded resource with Azure's published type: unknown, missing, read-only, wrong value."""

import re
from collections.abc import Iterator
from typing import Any

import jsonschema
from jsonschema import validators
from jsonschema.protocols import Validator

from infra.offline.arm import UnknownInput, api_version, body, schema_name
from infra.offline.arm_types import arm_type
from infra.offline.azure_types import schema_of
from infra.offline.recording import Resource

type Errors = Iterator[jsonschema.ValidationError]


def _read_only(_validator: Validator, read_only: bool, _instance: Any, _schema: Any) -> Errors:
    if read_only:
        yield jsonschema.ValidationError("is read-only")


def _discriminator(validator: Any, rule: dict[str, Any], instance: Any, _schema: Any) -> Errors:
    value = instance.get(rule["propertyName"]) if isinstance(instance, dict) else None
    if value not in rule["mapping"]:
        known = ", ".join(rule["mapping"])
        yield jsonschema.ValidationError(f"{rule['propertyName']} is {value!r}, not one of {known}")
        return
    yield from validator.descend(instance, {"$ref": rule["mapping"][value]})


_AzureValidator: Any = validators.extend(  # type: ignore[no-untyped-call]
    jsonschema.Draft202012Validator, {"readOnly": _read_only, "discriminator": _discriminator}
)


def problems(resource: Resource) -> list[str]:
    """Every problem of a resource's inputs by Azure's type; raises KeyError if the type has no schema."""
    schema = dict(schema_of(schema_name(resource), api_version(resource.token)))
    try:
        request = body(resource)
    except UnknownInput as unknown:
        return [str(unknown)]
    if _takes_name(schema):
        request["name"] = arm_type(resource.token, resource.inputs).name_parts(resource.inputs)[-1]
    found = _AzureValidator(schema).iter_errors(request)
    return sorted(
        f"{resource.type}: {error.json_path.removeprefix('$.')}: {error.message}" for error in found
    )


def _takes_name(schema: dict[str, Any]) -> bool:
    """Whether the type has rules for the resource's name; elsewhere the name is read-only within the body."""
    outer = schema["$defs"][re.sub(r"^#/\$defs/", "", schema["$ref"])]
    return not outer["properties"].get("name", {"readOnly": True}).get("readOnly")
