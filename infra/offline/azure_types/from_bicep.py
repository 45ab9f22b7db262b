"""Reads Azure's Bicep types out of the Azure MCP Server, whose binary carries them as deflated JSON."""

import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

# Bits of a property's `flags`.
REQUIRED = 1
READ_ONLY = 2
# ARM templates hold these outside the request body.
_ENVELOPE = ("id", "type", "apiVersion")
_START = b'[\r\n  {\r\n    "$type'
_LARGEST_DOCUMENT = 16_000_000

type Types = list[dict[str, Any]]


def documents(binary: Path) -> Iterator[Types]:
    """Every `types.json` in the file; tries each offset at which a deflate stream may begin."""
    data = binary.read_bytes()
    view = np.frombuffer(data, dtype=np.uint8)
    # A stream of several thousand bytes begins with a dynamic block, whose two counts are below 30.
    first, second = view[:-1], view[1:]
    may_begin = ((first & 6) == 4) & ((first >> 3) <= 29) & ((second & 31) <= 29)
    for offset in np.nonzero(may_begin)[0].tolist():
        try:
            begun = zlib.decompressobj(-15).decompress(data[offset : offset + 300], len(_START))
        except zlib.error:
            continue
        if begun == _START:
            yield json.loads(zlib.decompressobj(-15).decompress(data[offset : offset + _LARGEST_DOCUMENT]))


class Translator:
    """Turns the types of one document into JSON Schemas; `definitions` gathers the objects."""

    def __init__(self, types: Types, prefix: str) -> None:
        self._types = types
        self._prefix = prefix
        self.definitions: dict[str, Any] = {}

    def body(self, resource: dict[str, Any]) -> dict[str, Any]:
        return self._schema(resource["body"])

    def _schema(self, reference: dict[str, str]) -> dict[str, Any]:  # noqa: PLR0911 - one a kind of type
        index = int(reference["$ref"].removeprefix("#/"))
        declared = self._types[index]
        match declared["$type"]:
            case "StringType":
                return {"type": "string", **_limits(declared, "minLength", "maxLength", "pattern")}
            case "IntegerType":
                limits = {"minimum": declared.get("minValue"), "maximum": declared.get("maxValue")}
                return {
                    "type": "integer",
                    **{key: value for key, value in limits.items() if value is not None},
                }
            case "BooleanType":
                return {"type": "boolean"}
            case "StringLiteralType":
                return {"enum": [declared["value"]]}
            case "ArrayType":
                limits = {"minItems": declared.get("minLength"), "maxItems": declared.get("maxLength")}
                kept = {key: value for key, value in limits.items() if value is not None}
                return {"type": "array", "items": self._schema(declared["itemType"]), **kept}
            case "UnionType":
                return self._union(declared)
            case "ObjectType" | "DiscriminatedObjectType":
                return self._reference(index, declared)
            case _:
                return {}

    def _union(self, declared: dict[str, Any]) -> dict[str, Any]:
        elements = [self._schema(element) for element in declared["elements"]]
        literals = [value for element in elements for value in element.get("enum", ())]
        # Literals beside a plain string are an enumeration that may grow; only the known values are accepted.
        return {"enum": literals} if literals else {}

    def _reference(self, index: int, declared: dict[str, Any]) -> dict[str, Any]:
        name = f"{self._prefix}/{declared['name'].rsplit('/', 1)[-1]}#{index}".replace("/", ".")
        if name not in self.definitions:
            self.definitions[name] = {}
            if declared["$type"] == "ObjectType":
                self.definitions[name] = self._object(declared["properties"], declared)
            else:
                self.definitions[name] = self._discriminated(declared)
        return {"$ref": f"#/$defs/{name}"}

    def _object(self, properties: dict[str, Any], declared: dict[str, Any]) -> dict[str, Any]:
        shaped: dict[str, Any] = {}
        required = []
        for name, property_ in properties.items():
            if name in _ENVELOPE and "apiVersion" in properties:
                continue
            if property_["flags"] & READ_ONLY:
                shaped[name] = {"readOnly": True}
                continue
            shaped[name] = self._schema(property_["type"])
            if property_["flags"] & REQUIRED:
                required.append(name)
        others = (
            self._schema(declared["additionalProperties"]) if "additionalProperties" in declared else False
        )
        return {
            "type": "object",
            "properties": shaped,
            "additionalProperties": others,
            **({"required": sorted(required)} if required else {}),
        }

    def _discriminated(self, declared: dict[str, Any]) -> dict[str, Any]:
        variants = {}
        for value, reference in declared["elements"].items():
            index = int(reference["$ref"].removeprefix("#/"))
            variant = self._types[index]
            name = f"{self._prefix}/{variant['name'].rsplit('/', 1)[-1]}#{index}".replace("/", ".")
            both = {**declared["baseProperties"], **variant["properties"]}
            self.definitions[name] = self._object(both, variant)
            variants[value] = f"#/$defs/{name}"
        return {"discriminator": {"propertyName": declared["discriminator"], "mapping": variants}}


def _limits(declared: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: declared[name] for name in names if name in declared}
