"""Every input of every resource against Azure's published types, and proof that the check finds faults."""

import copy
import importlib
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from infra.offline.arm import api_version, schema_name
from infra.offline.arm_types import ARM_TYPES
from infra.offline.azure_types import SCHEMAS, schema_of
from infra.offline.azure_types.make import BICEP_TYPES, MODEL_PACKAGES
from infra.offline.recording import Resource
from tests.infra.offline.azure_validation import problems
from tests.infra.offline.sdk_agreement import Difference, differences
from tests.infra.recording import VARIANTS, recorded

type Inputs = dict[str, Any]


@pytest.mark.parametrize("variant", VARIANTS)
def test_inputs_are_what_azure_publishes(variant: str) -> None:
    found = [
        f"{resource.name}: {problem}"
        for resource in recorded(variant).resources
        for problem in problems(resource)
    ]
    assert not found, "\n".join(found)


def test_every_type_and_every_schema_is_used() -> None:
    resources = [resource for variant in VARIANTS for resource in recorded(variant).resources]
    assert {f"azure-native:{token}" for token in ARM_TYPES} == {each.token for each in resources}
    fetched = {name for path in SCHEMAS.glob("*.json") for name in json.loads(path.read_text())["resources"]}
    assert fetched == {f"{schema_name(each)}@{api_version(each.token)}" for each in resources}
    wanted = {f"{arm}@{package.api_version}" for package in MODEL_PACKAGES for arm in package.models}
    assert fetched == wanted | set(BICEP_TYPES)


def _misspell_sku(inputs: Inputs) -> None:
    inputs["sku"]["name"] = "Standard_LSR"


def _misspell_nested_mode(inputs: Inputs) -> None:
    inputs["authConfig"]["passwordAuth"] = "Disable"


def _unknown_top(inputs: Inputs) -> None:
    inputs["publicNetwork"] = "Disabled"


def _unknown_nested(inputs: Inputs) -> None:
    inputs["siteConfig"]["minTlsVersions"] = "1.2"


def _missing_nested(inputs: Inputs) -> None:
    del inputs["profiles"][0]["capacity"]


def _missing_discriminator(inputs: Inputs) -> None:
    inputs["parameters"]["type"] = "WebApplicationFirewal"


def _read_only(inputs: Inputs) -> None:
    inputs["defaultHostName"] = "signal-cloud.azurewebsites.net"


def _wrong_kind(inputs: Inputs) -> None:
    inputs["reserved"] = "true"


def _too_short_name(inputs: Inputs) -> None:
    inputs["vaultName"] = "1"


MUTATIONS: tuple[tuple[str, Callable[[Inputs], None], str], ...] = (
    ("Microsoft.Storage/storageAccounts", _misspell_sku, "'Standard_LSR' is not one of"),
    ("Microsoft.DBforPostgreSQL/flexibleServers", _misspell_nested_mode, "'Disable' is not one of"),
    ("Microsoft.Cache/redisEnterprise", _unknown_top, "publicNetwork is not a property"),
    ("Microsoft.Web/sites", _unknown_nested, "minTlsVersions is not a property"),
    ("Microsoft.Insights/autoscaleSettings", _missing_nested, "'capacity' is a required property"),
    (
        "Microsoft.Cdn/profiles/securityPolicies",
        _missing_discriminator,
        "'WebApplicationFirewal', not one of",
    ),
    ("Microsoft.Web/sites", _read_only, "is read-only"),
    ("Microsoft.Web/serverfarms", _wrong_kind, "'true' is not of type 'boolean'"),
    ("Microsoft.KeyVault/vaults", _too_short_name, "'1' does not match"),
)


@pytest.mark.parametrize(("arm", "mutate", "said"), MUTATIONS)
def test_a_wrong_input_is_named(arm: str, mutate: Callable[[Inputs], None], said: str) -> None:
    resource = recorded("prod").of_type(arm)[0]
    inputs = copy.deepcopy(dict(resource.inputs))
    mutate(inputs)
    found = problems(resource.with_inputs(inputs))
    assert len(found) == 1
    assert said in found[0]


def _required_inputs() -> Iterator[tuple[str, Resource, str]]:
    """Each required property of each body, with a resource that sets it."""
    one_of_each = {resource.type: resource for resource in recorded("premium").resources}
    for arm, resource in one_of_each.items():
        schema = schema_of(schema_name(resource), api_version(resource.token))
        outer = schema["$defs"][schema["$ref"].removeprefix("#/$defs/")]
        for name in outer.get("required", ()):
            if name in resource.inputs:
                yield arm, resource, name


def test_every_required_property_is_missed() -> None:
    """The check finds each missing required input of each type."""
    dropped = 0
    for arm, resource, name in _required_inputs():
        inputs = {key: value for key, value in resource.inputs.items() if key != name}
        assert any(
            f"'{name}' is a required property" in said for said in problems(resource.with_inputs(inputs))
        ), (
            arm,
            name,
        )
        dropped += 1
    assert dropped > 10


# Differences between Pulumi's SDK and the published types of one API version, each with its reason.
EXPECTED_DIFFERENCES: dict[str, str] = {
    "principalType": "the SDK knows agents and lower-case spellings besides",
    "dataEncryption.type": "the SDK knows SystemAssigned besides",
    "matchConditions.matchVariable": "the types are of 2025-10-01; the SDK's 2025-11-01 adds JA4",
    "matchConditions.operator": "the types are of 2025-10-01; the SDK's 2025-11-01 adds two operators",
    "managedRules.exceptionsList": "the types are of 2025-10-01; new in 2025-11-01",
    "policySettings.scrubbingRules": "the SDK flattens logScrubbing",
    "policySettings.state": "the SDK flattens logScrubbing",
    "notifications.operation": "one value, which the package sets by itself",
    "criteria.allOf.operator": "the SDK has one list of operators for all conditions of this namespace",
    "subnets.serviceGateway": "of a later version, which the SDK lists all the same",
    "subnet.serviceGateway": "of a later version, which the SDK lists all the same",
}


@pytest.mark.parametrize("token", sorted({r.token for v in VARIANTS for r in recorded(v).resources}))
def test_the_sdk_agrees_with_the_published_types(token: str) -> None:
    """The SDK is made from the same REST descriptions: if both agree, the version is the right one."""
    resource = next(r for v in VARIANTS for r in recorded(v).resources if r.token == token)
    found: list[Difference] = [
        difference
        for difference in differences(resource)
        if not any(difference.path.endswith(known) for known in EXPECTED_DIFFERENCES)
    ]
    assert not found


def test_the_sdk_agreement_looks_at_real_types() -> None:
    module = importlib.import_module("tests.infra.offline.sdk_agreement")
    seen = module.properties_compared(recorded("prod").of_type("Microsoft.Web/sites")[0])
    assert seen > 100
