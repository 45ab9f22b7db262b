"""Writes a recorded stack as an ARM template: `python -m infra.offline.arm --stack prod --output prod.json`.

The template makes the resources of the stack's resource group, in an order that Azure accepts. Secrets are
parameters without a value. Values that only Azure knows, such as a principal's id, are expressions. Pulumi's
inputs are flatter than Azure's request bodies; Azure's published types say where each input belongs.
"""

import argparse
import functools
import importlib
import json
import re
import sys
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from infra.offline.arm_expressions import Expressions
from infra.offline.arm_types import arm_type
from infra.offline.azure_types import Schema, resolve, schema_of
from infra.offline.recording import Recording, Resource, record_stack
from infra.settings.stacks import STACKS

GROUP = "Microsoft.Resources/resourceGroups"
_SCHEMA = "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#"
# Marks a secret until its expression is written.
_PARAMETER = "\0parameter:"
# Names of a few properties in Pulumi, and in Azure.
RENAMED: Mapping[str, Mapping[str, str]] = {
    "Microsoft.Storage/storageAccounts": {
        "enableHttpsTrafficOnly": "supportsHttpsTrafficOnly",
        "networkRuleSet": "networkAcls",
        "enableNfsV3": "isNfsV3Enabled",
        "encryptionIdentity": "identity",
        "encryptionFederatedIdentityClientId": "federatedIdentityClientId",
        "encryptionUserAssignedIdentity": "userAssignedIdentity",
        "iPAddressOrRange": "value",
        "virtualNetworkResourceId": "id",
    },
    "Microsoft.KeyVault/vaults/secrets": {"expires": "exp", "notBefore": "nbf"},
    "Microsoft.Insights/webtests": {
        "location": "id",
        "headerFieldName": "key",
        "headerFieldValue": "value",
        # The type has two properties of this name; this is the inner one.
        "webTestKind": "properties.kind",
        # In the path, and again in the body.
        "webTestName": "properties.name",
    },
}


class UnknownInput(Exception):
    """An input that the published type has no property for; the text names its path."""


@functools.cache
def api_version(token: str) -> str:
    """The API version in the SDK's documentation; raises KeyError if it has none."""
    _, module, name = token.split(":")
    resource = getattr(importlib.import_module(f"pulumi_azure_native.{module}"), name)
    for overload in typing.get_overloads(resource.__init__):
        found = re.search(r"Uses Azure REST API version (\S+?)\.?\s", overload.__doc__ or "")
        if found:
            return found.group(1)
    raise KeyError(f"the SDK does not say which API version {token} uses")


def body(resource: Resource) -> dict[str, Any]:
    """The request body that creates a resource; raises UnknownInput, or KeyError for an unknown type."""
    kind = arm_type(resource.token, resource.inputs)
    schema = schema_of(schema_name(resource), api_version(resource.token))
    renamed = RENAMED.get(kind.type, {})
    in_path = {*kind.path_inputs, kind.scope_input if kind.scope == "resource" else ""}
    in_path -= renamed.keys()
    inputs = {key: value for key, value in resource.inputs.items() if key not in in_path}
    written = BodyWriter(schema["$defs"], renamed).write(inputs, schema, resource.type)
    return typing.cast("dict[str, Any]", written)


def schema_name(resource: Resource) -> str:
    """The name that Azure publishes the body under: the type, and for `config` also the name."""
    kind = arm_type(resource.token, resource.inputs)
    if kind.type.endswith("/config"):
        return "/".join((kind.type, kind.names[-1].strip("'")))
    return kind.type


class BodyWriter:
    """Puts inputs at the places that the published type has for them."""

    def __init__(self, definitions: Schema, renamed: Mapping[str, str]) -> None:
        self._definitions = definitions
        self._renamed = renamed

    def resolved(self, schema: Schema) -> Schema:
        return resolve(schema, self._definitions)

    def declaration(self, schema: Schema, key: str) -> Schema | None:
        """The schema of the property that an input of an object becomes, None for an unknown input."""
        found = self._name_in(schema, key)
        inner = self.resolved(schema.get("properties", {}).get("properties", {}))
        nested = self._name_in(inner, key)
        if found is not None and not (nested and schema["properties"][found].get("readOnly")):
            return typing.cast("Schema", schema["properties"][found])
        return typing.cast("Schema", inner["properties"][nested]) if nested else None

    def write(self, value: Any, schema: Schema, path: str) -> Any:
        schema = self.resolved(schema)
        if isinstance(value, list):
            items = schema.get("items", {})
            return [self.write(item, items, f"{path}[{index}]") for index, item in enumerate(value)]
        if not isinstance(value, dict):
            return value
        schema = self._variant(value, schema, path)
        if "properties" not in schema:
            others = schema.get("additionalProperties") or {}
            return {key: self.write(item, others, f"{path}.{key}") for key, item in value.items()}
        written: dict[str, Any] = {}
        for key, item in value.items():
            self._put(written, key, item, schema, path)
        return written

    def _variant(self, value: Mapping[str, Any], schema: Schema, path: str) -> Schema:
        """The type that the discriminator's value selects."""
        while "discriminator" in schema:
            wire, mapping = schema["discriminator"]["propertyName"], schema["discriminator"]["mapping"]
            picked = next((item for key, item in value.items() if _plain(key) == _plain(wire)), None)
            if picked not in mapping:
                raise UnknownInput(f"{path}.{wire} is {picked!r}, not one of {', '.join(mapping)}")
            schema = resolve({"$ref": mapping[picked]}, self._definitions)
        return schema

    def _put(self, written: dict[str, Any], key: str, item: Any, schema: Schema, path: str) -> None:
        found = self._name_in(schema, key)
        nested = schema["properties"].get("properties", {})
        inner = resolve(nested, self._definitions)
        if found is None or (schema["properties"][found].get("readOnly") and self._name_in(inner, key)):
            if self._name_in(inner, key) is None:
                if schema.get("additionalProperties"):
                    written[key] = self.write(item, schema["additionalProperties"], f"{path}.{key}")
                    return
                raise UnknownInput(f"{path}.{key} is not a property")
            self._put(written.setdefault("properties", {}), key, item, inner, f"{path}.properties")
            return
        if found == "userAssignedIdentities" and isinstance(item, list):
            # Pulumi takes a list of ids; Azure requires them as keys.
            item = {identity: {} for identity in item}
        written_item = self.write(item, schema["properties"][found], f"{path}.{found}")
        if found == "properties" and "properties" in written:
            written["properties"] |= written_item
        else:
            written[found] = written_item

    def _name_in(self, schema: Schema, key: str) -> str | None:
        known = {_plain(name): name for name in schema.get("properties", {})}
        # The unchanged name has priority, because RENAMED may mean a nested type's property of the same name.
        renamed = self._renamed.get(key, key)
        if "properties" in known and renamed.startswith("properties."):
            return None
        return known.get(_plain(key)) or known.get(_plain(renamed.removeprefix("properties.")))


def _plain(name: str) -> str:
    """`odata.type` and `odataType` are one name, and so are names that differ in case."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


def template(recording: Recording) -> dict[str, Any]:
    """The ARM template of the stack's resource group; secrets are parameters without a value."""
    ids = {resource.urn: resource.id for resource in recording.resources if resource.type != GROUP}
    parameters: dict[str, Any] = {}
    expressions = Expressions(recording, api_version)
    resources = []
    # Pulumi records independent resources in any order; the file is the same on every run.
    for resource in sorted(recording.resources, key=lambda each: each.id):
        if resource.type == GROUP:
            continue
        kind = arm_type(resource.token, resource.inputs)
        shaped = {
            "type": kind.type,
            "apiVersion": api_version(resource.token),
            "name": "/".join(kind.name_parts({**_given_name(resource), **resource.inputs})),
            **{key: expressions.early(scope) for key, scope in _scope(resource, recording).items()},
            "dependsOn": sorted(expressions.early(ids[urn]) for urn in resource.depends_on if urn in ids),
            **_with_parameters(expressions.late(body(_without_secrets(resource, parameters)))),
        }
        resources.append(shaped)
    return {
        "$schema": _SCHEMA,
        "contentVersion": "1.0.0.0",
        "parameters": parameters,
        "resources": resources,
        "outputs": {
            name: {"type": "string", "value": expressions.late(value)}
            for name, value in sorted(recording.outputs.items())
            if name not in recording.secret_outputs
        },
    }


def _given_name(resource: Resource) -> dict[str, str]:
    """The last part of the id, which is the name if the program gives none."""
    return {arm_type(resource.token, resource.inputs).names[-1]: resource.id.rsplit("/", 1)[-1]}


def _scope(resource: Resource, recording: Recording) -> dict[str, str]:
    kind = arm_type(resource.token, resource.inputs)
    if kind.scope != "resource":
        return {}
    scope = str(resource.inputs[kind.scope_input])
    return {} if scope == recording.only(GROUP).id else {"scope": scope}


def _without_secrets(resource: Resource, parameters: dict[str, Any]) -> Resource:
    """The resource with a parameter in place of each secret input; adds the parameters to `parameters`."""

    def replaced(value: Any, path: str) -> Any:
        if path in resource.secrets:
            name = re.sub(r"\W+", "-", f"{resource.name}-{path}").strip("-")
            parameters[name] = {"type": "securestring"}
            return f"{_PARAMETER}{name}"
        if isinstance(value, dict):
            return {key: replaced(item, f"{path}.{key}" if path else key) for key, item in value.items()}
        if isinstance(value, list):
            return [replaced(item, f"{path}[{index}]") for index, item in enumerate(value)]
        return value

    return resource.with_inputs(replaced(resource.inputs, ""))


def _with_parameters(value: Any) -> Any:
    """The body with an expression for each mark of a parameter."""
    if isinstance(value, str) and value.startswith(_PARAMETER):
        return f"[parameters('{value.removeprefix(_PARAMETER)}')]"
    if isinstance(value, dict):
        return {key: _with_parameters(item) for key, item in value.items()}
    return [_with_parameters(item) for item in value] if isinstance(value, list) else value


def main(arguments: list[str]) -> int:
    """0 if the template is written, 1 if the file cannot be written, 2 for a wrong argument."""
    parser = argparse.ArgumentParser(
        prog="python -m infra.offline.arm",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--stack", choices=STACKS, required=True)
    parser.add_argument("--output", type=Path, metavar="FILE", help="default: standard output")
    options = parser.parse_args(arguments)
    made = template(record_stack(options.stack))
    text = json.dumps(made, indent=2) + "\n"
    if options.output is None:
        sys.stdout.write(text)
        return 0
    try:
        options.output.write_text(text, encoding="utf-8")
    except OSError as problem:
        print(f"error: {options.output}: {problem.strerror}", file=sys.stderr)
        return 1
    needed = ", ".join(made["parameters"]) or "none"
    print(f"{options.output}: {len(made['resources'])} resources, parameters without a value: {needed}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
