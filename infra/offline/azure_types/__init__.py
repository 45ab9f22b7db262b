"""Reads Azure's published resource types, as JSON Schemas of the types that the program uses.

`schemas/*.json` hold only facts: names of properties, required, read-only, allowed values, lengths, patterns.
`make.py` wrote them from Microsoft's packages, and each type names its package. Read-only properties have
`readOnly`, which a request body may not hold. Objects allow no unknown property. An enumeration lists the
values that its package knows.
"""

import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

SCHEMAS = Path(__file__).resolve().parent / "schemas"
type Schema = Mapping[str, Any]


def file_of(arm: str) -> Path:
    """The file with the schemas of an ARM type's provider."""
    return SCHEMAS / f"{arm.split('/', 1)[0].lower()}.json"


@functools.cache
def _document(path: Path) -> dict[str, Any]:
    return cast("dict[str, Any]", json.loads(path.read_text())) if path.exists() else {}


def schema_of(arm: str, api_version: str) -> Schema:
    """Schema of a request body; raises KeyError for a type or version that `make.py` has not fetched."""
    document = _document(file_of(arm))
    name = f"{arm}@{api_version}"
    if name not in document.get("resources", {}):
        raise KeyError(
            f"{name} is not among the types in {SCHEMAS.name}: see infra/offline/azure_types/make.py"
        )
    return {"$ref": document["resources"][name]["body"], "$defs": document["$defs"]}


def resolve(schema: Schema, definitions: Schema) -> Schema:
    """The schema that a reference into `$defs` points to; the schema itself if it is no reference."""
    while "$ref" in schema:
        schema = definitions[schema["$ref"].removeprefix("#/$defs/")]
    return schema
