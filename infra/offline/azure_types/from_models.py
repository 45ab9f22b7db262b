"""Reads request models out of an azure-mgmt package: `python from_models.py MODULE PREFIX CLASS...`.

`make.py` starts it as a script, with a path that has only that package. It prints JSON Schemas.
There are two generations of packages: older models have `_attribute_map` and `_validation`, newer models
have a descriptor for each property.
"""

import enum
import importlib
import inspect
import json
import re
import sys
import types
import typing
from typing import Any

_SCALARS = {
    "str": {"type": "string"},
    "int": {"type": "integer"},
    "long": {"type": "integer"},
    "float": {"type": "number"},
    "bool": {"type": "boolean"},
    "iso-8601": {"type": "string"},
    "duration": {"type": "string"},
    "rfc-1123": {"type": "string"},
    "bytearray": {"type": "string"},
    "object": {},
}
_LIMITS = {
    "min_length": "minLength",
    "max_length": "maxLength",
    "pattern": "pattern",
    "minimum": "minimum",
    "maximum": "maximum",
    "min_items": "minItems",
    "max_items": "maxItems",
}


class Reader:
    """Schemas of the models in one module; `definitions` gathers them by name."""

    def __init__(self, models: types.ModuleType, prefix: str) -> None:
        self._models = models
        self._prefix = prefix
        self.definitions: dict[str, Any] = {}

    def reference(self, model: type[Any]) -> dict[str, Any]:
        name = f"{self._prefix}.{model.__name__}"
        if name not in self.definitions:
            self.definitions[name] = {}
            read = self._old if hasattr(model, "_attribute_map") else self._new
            self.definitions[name] = read(model)
        return {"$ref": f"#/$defs/{name}"}

    def _old(self, model: type[Any]) -> dict[str, Any]:
        subtypes = vars(model).get("_subtype_map", {})
        for discriminator, children in subtypes.items():
            wire = model._attribute_map[discriminator]["key"].replace("\\.", ".")
            mapping = {
                value: self.reference(getattr(self._models, child))["$ref"]
                for value, child in children.items()
            }
            return {"discriminator": {"propertyName": wire, "mapping": mapping}}
        shaped: dict[str, Any] = {"type": "object", "properties": {}, "additionalProperties": False}
        annotations = {
            name: parameter.annotation
            for name, parameter in inspect.signature(model.__init__).parameters.items()
        }
        for attribute, mapped in model._attribute_map.items():
            rules = model._validation.get(attribute, {})
            if attribute == "additional_properties":
                shaped["additionalProperties"] = {}
                continue
            path = [part.replace("\\.", ".") for part in re.split(r"(?<!\\)\.", mapped["key"])]
            if rules.get("readonly"):
                schema: dict[str, Any] = {"readOnly": True}
            else:
                schema = self._old_type(mapped["type"], str(annotations.get(attribute, "")))
                limits = {_LIMITS[key]: value for key, value in rules.items() if key in _LIMITS}
                schema = {**schema, **limits} if "$ref" not in schema else schema
            self._place(
                shaped, path, schema, required=bool(rules.get("required")) and not rules.get("readonly")
            )
        self._fix_discriminator(model, shaped)
        return shaped

    def _fix_discriminator(self, model: type[Any], shaped: dict[str, Any]) -> None:
        """A child's own discriminator has one value, which its initialiser sets."""
        for base in model.__mro__[1:]:
            for discriminator, children in vars(base).get("_subtype_map", {}).items():
                wire = vars(base)["_attribute_map"][discriminator]["key"].replace("\\.", ".")
                values = [value for value, child in children.items() if child == model.__name__]
                if values:
                    shaped["properties"][wire] = {"enum": values}

    def _place(
        self, shaped: dict[str, Any], path: list[str], schema: dict[str, Any], *, required: bool
    ) -> None:
        for part in path[:-1]:
            inner = {"type": "object", "properties": {}, "additionalProperties": False}
            shaped = shaped["properties"].setdefault(part, inner)
        shaped["properties"][path[-1]] = schema
        if required:
            shaped["required"] = sorted({*shaped.get("required", ()), path[-1]})

    def _old_type(self, declared: str, annotation: str) -> dict[str, Any]:
        if declared.startswith("["):
            return {"type": "array", "items": self._old_type(declared[1:-1], annotation)}
        if declared.startswith("{"):
            return {"type": "object", "additionalProperties": self._old_type(declared[1:-1], annotation)}
        if declared == "str":
            named = re.findall(r"_models\.(\w+)", annotation) or re.findall(
                r"\.models\.[\w.]*?(\w+)'?\]", annotation
            )
            for candidate in named:
                found = getattr(self._models, candidate)
                if isinstance(found, type) and issubclass(found, enum.Enum):
                    return {"enum": [member.value for member in found]}
        if declared in _SCALARS:
            return dict(_SCALARS[declared])
        return self.reference(getattr(self._models, declared))

    def _new(self, model: type[Any]) -> dict[str, Any]:
        children = {
            child: kind for child, kind in getattr(model, "__mapping__", {}).items() if kind is not model
        }
        fields = self._fields(model)
        if children and not getattr(model, "_is_leaf", False):
            wire = next(field for field, descriptor in fields.items() if descriptor._is_discriminator)
            mapping = {value: self.reference(kind)["$ref"] for value, kind in children.items()}
            return {"discriminator": {"propertyName": wire, "mapping": mapping}}
        shaped: dict[str, Any] = {"type": "object", "properties": {}, "additionalProperties": False}
        hints = {
            key: hint for base in reversed(model.__mro__) for key, hint in _hints(base, self._models).items()
        }
        for wire, descriptor in fields.items():
            if descriptor._visibility == ["read"]:
                shaped["properties"][wire] = {"readOnly": True}
                continue
            hint = hints.get(descriptor._attribute, Any)
            shaped["properties"][wire] = self._new_type(hint)
            if type(None) not in typing.get_args(hint):
                shaped["required"] = sorted({*shaped.get("required", ()), wire})
        return shaped

    def _fields(self, model: type[Any]) -> dict[str, Any]:
        fields = {}
        for base in reversed(model.__mro__):
            for attribute, descriptor in vars(base).items():
                if type(descriptor).__name__ == "_RestField":
                    descriptor._attribute = attribute
                    fields[descriptor._rest_name_input or attribute] = descriptor
        return fields

    def _new_type(self, hint: Any) -> dict[str, Any]:  # noqa: PLR0911 - one a kind of hint
        origin, arguments = typing.get_origin(hint), typing.get_args(hint)
        if origin in (typing.Union, types.UnionType):
            inner = [argument for argument in arguments if argument is not type(None)]
            enums = [
                argument
                for argument in inner
                if isinstance(argument, type) and issubclass(argument, enum.Enum)
            ]
            return self._new_type(enums[0] if enums else inner[0])
        if origin is typing.Literal:
            return {"enum": [getattr(value, "value", value) for value in arguments]}
        if origin is list:
            return {"type": "array", "items": self._new_type(arguments[0])}
        if origin is dict:
            return {"type": "object", "additionalProperties": self._new_type(arguments[1])}
        if not isinstance(hint, type) or hint is object:
            return {}
        if issubclass(hint, enum.Enum):
            return {"enum": [member.value for member in hint]}
        if hasattr(hint, "_deserialize") and hint.__module__.startswith("azure.mgmt"):
            return self.reference(hint)
        return dict(_SCALARS.get(hint.__name__, {"type": "string"}))


def _hints(model: type[Any], models: types.ModuleType) -> dict[str, Any]:
    declared = vars(model).get("__annotations__", {})
    scope = {**vars(sys.modules[model.__module__]), "_models": models, "typing": typing}
    return {
        name: eval(text, scope) if isinstance(text, str) else _evaluated(text, scope)  # noqa: S307 - Microsoft's own
        for name, text in declared.items()
    }


def _evaluated(hint: Any, scope: dict[str, Any]) -> Any:
    """A hint whose quoted parts, as in `Optional["_models.Sku"]`, are looked up."""
    holder = type("Holder", (), {"__annotations__": {"it": hint}})
    return typing.get_type_hints(holder, globalns=scope)["it"]


def main(module: str, prefix: str, names: list[str]) -> None:
    models = importlib.import_module(module)
    reader = Reader(models, prefix)
    bodies = {name: reader.reference(getattr(models, name))["$ref"] for name in names}
    print(json.dumps({"bodies": bodies, "definitions": reader.definitions}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
