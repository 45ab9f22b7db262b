"""Azure's published resource types, as JSON Schemas of just the types that the program uses.

`schemas/*.json` are facts alone: property names, required, read-only, allowed values, lengths, patterns.
`make.py` wrote them from Microsoft's packages; each type names its package. Read-only properties carry
`readOnly`, which is refused in a request body; objects take no unknown property; an enumeration lists the
values known when its package was made.
"""

import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

SCHEMAS = Path(__file__).resolve().parent / "schemas"
type Schema = Mapping[str, Any]


def file_of(arm: str) -> Path:
    """Where the schemas of an ARM type's provider lie."""
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
    """The schema behind a reference into `$defs`, itself where it is none."""
    while "$ref" in schema:
        schema = definitions[schema["$ref"].removeprefix("#/$defs/")]
    return schema
