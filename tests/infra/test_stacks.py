"""Rules for every resource of every stack: names, tags, protection, secrets, outputs."""

import importlib
import inspect
import json
import re
import time
from pathlib import Path

import pytest

from infra.components.vault import secret_name
from infra.naming import Names
from infra.offline.recording import Recording, Resource, record
from infra.settings.business_keys import VENDOR_SECRETS
from infra.settings.keys import read_settings
from infra.settings.reader import StackConfig
from infra.settings.stacks import STACKS, stack_from_files
from tests.infra.recording import VARIANTS, recorded, recorded_with, settings_of

ROOT = Path(__file__).resolve().parents[2]

# Azure's rules for names: how long, and of which characters.
NAME_RULES = {
    "Microsoft.Resources/resourceGroups": r"[\w().-]{0,89}[\w()-]",
    "Microsoft.ManagedIdentity/userAssignedIdentities": r"[A-Za-z0-9][\w-]{2,127}",
    "Microsoft.OperationalInsights/workspaces": r"[A-Za-z0-9][A-Za-z0-9-]{2,61}[A-Za-z0-9]",
    "Microsoft.Insights/components": r"[^%&\\?/]{1,254}[^%&\\?/ .]",
    "Microsoft.Network/virtualNetworks": r"[A-Za-z0-9][\w.-]{0,62}\w",
    "Microsoft.Network/networkSecurityGroups": r"[A-Za-z0-9][\w.-]{0,78}\w",
    "Microsoft.Compute/virtualMachines": r"[A-Za-z0-9][\w.-]{0,62}[\w-]",
    "Microsoft.Network/networkInterfaces": r"[A-Za-z0-9][\w.-]{0,78}\w",
    "Microsoft.Network/natGateways": r"[A-Za-z0-9][\w.-]{0,78}\w",
    "Microsoft.Network/publicIPAddresses": r"[A-Za-z0-9][\w.-]{0,78}\w",
    "Microsoft.Network/bastionHosts": r"[A-Za-z0-9][\w.-]{0,78}\w",
    "Microsoft.Network/privateEndpoints": r"[A-Za-z0-9][\w.-]{0,62}\w",
    "Microsoft.DBforPostgreSQL/flexibleServers": r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]",
    "Microsoft.Cache/redisEnterprise": r"(?!.*--)[A-Za-z0-9][A-Za-z0-9-]{0,58}[A-Za-z0-9]",
    "Microsoft.Cache/redisEnterprise/databases/accessPolicyAssignments": r"[A-Za-z0-9]{1,60}",
    "Microsoft.Storage/storageAccounts": r"[a-z0-9]{3,24}",
    "Microsoft.Storage/storageAccounts/tableServices/tables": r"[A-Za-z][A-Za-z0-9]{2,62}",
    "Microsoft.Storage/storageAccounts/blobServices/containers": r"(?!.*--)[a-z0-9][a-z0-9-]{2,62}",
    "Microsoft.KeyVault/vaults": r"(?!.*--)[A-Za-z][A-Za-z0-9-]{1,22}[A-Za-z0-9]",
    "Microsoft.KeyVault/vaults/secrets": r"[A-Za-z0-9-]{1,127}",
    "Microsoft.SignalRService/webPubSub": r"[A-Za-z][A-Za-z0-9-]{1,61}[A-Za-z0-9]",
    "Microsoft.SignalRService/webPubSub/hubs": r"[A-Za-z][\w`,.[\]]{0,127}",
    "Microsoft.Logic/workflows": r"[\w.()-]{1,43}",
    "Microsoft.Web/serverfarms": r"[\w-]{1,60}",
    "Microsoft.Web/sites": r"[A-Za-z0-9][A-Za-z0-9-]{0,58}[A-Za-z0-9]",
    "Microsoft.Web/sites/slots": r"[A-Za-z0-9][A-Za-z0-9-]{0,57}[A-Za-z0-9]",
    "Microsoft.Insights/autoscaleSettings": r"[^<>%&\\?/#]{1,260}",
    "Microsoft.Cdn/profiles": r"[A-Za-z0-9][A-Za-z0-9-]{0,258}[A-Za-z0-9]",
    "Microsoft.Cdn/profiles/afdEndpoints": r"[A-Za-z0-9][A-Za-z0-9-]{0,44}[A-Za-z0-9]",
    "Microsoft.Cdn/profiles/customDomains": r"[A-Za-z0-9][A-Za-z0-9-]{0,258}[A-Za-z0-9]",
    "Microsoft.Cdn/profiles/ruleSets": r"[A-Za-z][A-Za-z0-9]{0,59}",
    "Microsoft.Cdn/profiles/ruleSets/rules": r"[A-Za-z][A-Za-z0-9]{0,259}",
    "Microsoft.Network/dnsZones/CNAME": r"[A-Za-z0-9._-]{1,253}",
    "Microsoft.Network/dnsZones/TXT": r"[A-Za-z0-9._-]{1,253}",
    "Microsoft.Cdn/profiles/originGroups": r"[A-Za-z0-9][A-Za-z0-9-]{0,88}[A-Za-z0-9]",
    "Microsoft.Cdn/profiles/originGroups/origins": r"[A-Za-z0-9][A-Za-z0-9-]{0,88}[A-Za-z0-9]",
    "Microsoft.Cdn/profiles/afdEndpoints/routes": r"[A-Za-z0-9][A-Za-z0-9-]{0,88}[A-Za-z0-9]",
    "Microsoft.Network/frontDoorWebApplicationFirewallPolicies": r"[A-Za-z][A-Za-z0-9]{0,127}",
}
# Their names are parts of addresses that all of Azure shares.
UNIQUE_IN_AZURE = (
    "Microsoft.DBforPostgreSQL/flexibleServers",
    "Microsoft.Cache/redisEnterprise",
    "Microsoft.Storage/storageAccounts",
    "Microsoft.KeyVault/vaults",
    "Microsoft.SignalRService/webPubSub",
    "Microsoft.Web/sites",
    "Microsoft.Cdn/profiles/afdEndpoints",
)
HOLDS_DATA = {
    "Microsoft.Resources/resourceGroups",
    "Microsoft.DBforPostgreSQL/flexibleServers",
    "Microsoft.DBforPostgreSQL/flexibleServers/databases",
    "Microsoft.KeyVault/vaults",
    "Microsoft.KeyVault/vaults/secrets",
    "Microsoft.Storage/storageAccounts",
    "Microsoft.Storage/storageAccounts/tableServices/tables",
    "Microsoft.OperationalInsights/workspaces",
}


@pytest.fixture(params=VARIANTS)
def stack(request: pytest.FixtureRequest) -> Recording:
    return recorded(request.param)


def test_all_stacks_are_built_in_forty_seconds() -> None:
    """Of processor time, because other tests may run at the same time."""
    started = time.process_time()
    for each in STACKS:
        assert record(settings_of(each)).resources
    assert time.process_time() - started < 40


def test_no_two_resources_share_an_id_or_a_name_in_the_program(stack: Recording) -> None:
    ids = [each.id.lower() for each in stack.resources]
    urns = [each.urn for each in stack.resources]
    assert len(set(ids)) == len(ids)
    assert len(set(urns)) == len(urns)


def test_names_are_valid(stack: Recording) -> None:
    checked = set()
    for resource in stack.resources:
        rule = NAME_RULES.get(resource.type)
        if rule:
            checked.add(resource.type)
            assert re.fullmatch(rule, resource.own_name), f"{resource.type}: {resource.own_name}"
    assert len(checked) > 15


@pytest.mark.parametrize("name", ["ab", "premium1"])
@pytest.mark.parametrize("suffix", ["a1b", "x7k2pq"])
def test_the_longest_and_the_shortest_names_are_valid(name: str, suffix: str) -> None:
    names = Names(name, suffix)
    assert re.fullmatch(NAME_RULES["Microsoft.KeyVault/vaults"], names.key_vault)
    for kind in ("data", "host"):
        account = names.storage_account(kind)
        assert re.fullmatch(NAME_RULES["Microsoft.Storage/storageAccounts"], account)
    assert re.fullmatch(NAME_RULES["Microsoft.Cdn/profiles/afdEndpoints"], names.unique("fde"))
    assert re.fullmatch(NAME_RULES["Microsoft.Web/sites"], names.unique("func"))
    assert len(f"{names.unique('func')}-staging") <= 63  # a label of a host name


def test_names_that_all_of_azure_shares_end_in_the_suffix(stack: Recording) -> None:
    for kind in UNIQUE_IN_AZURE:
        for resource in stack.of_type(kind):
            assert resource.own_name.endswith(stack.settings.name_suffix), resource.id


def test_everything_that_can_be_tagged_is(stack: Recording) -> None:
    wanted = {
        "project": "signal-cloud",
        "stack": stack.settings.stack,
        "owner": stack.settings.owner,
        "cost-centre": stack.settings.cost_centre,
    }
    tagged = [each for each in stack.resources if takes_tags(each)]
    assert len(tagged) > 10
    for resource in tagged:
        tags = dict(resource.inputs.get("tags") or {})
        assert wanted.items() <= tags.items(), resource.name


def takes_tags(resource: Resource) -> bool:
    """Whether the resource's arguments in the SDK have tags."""
    _, module, name = resource.token.split(":")
    kind = getattr(importlib.import_module(f"pulumi_azure_native.{module}"), name)
    return "tags" in inspect.signature(kind._internal_init).parameters


def test_what_holds_data_is_protected_and_stays_in_azure_unless_it_is_a_rehearsal(stack: Recording) -> None:
    wanted = stack.settings.stack != "rehearse"
    for resource in stack.resources:
        if resource.type in HOLDS_DATA:
            assert resource.protect is wanted, resource.name
            assert resource.retain_on_delete is wanted, resource.name
    of_primary = {
        "Microsoft.DBforPostgreSQL/flexibleServers/databases",
        "Microsoft.Storage/storageAccounts/tableServices/tables",
    }
    expected = HOLDS_DATA if stack.settings.primary is None else HOLDS_DATA - of_primary
    assert {each.type for each in stack.resources} >= expected


def test_the_pepper_is_a_secret_and_nowhere_else(stack: Recording) -> None:
    pepper = stack.settings.api_key_pepper
    assert_only_in_vault(stack, pepper, "api-key-pepper")
    secrets = stack.of_type("Microsoft.KeyVault/vaults/secrets")
    vendors = {secret_name(name) for name in VENDOR_SECRETS}
    assert {each.own_name for each in secrets} == {"api-key-pepper", "api-key-pepper-previous"} | vendors
    assert all(each.secrets == {"properties.value"} for each in secrets)


def test_vendors_secrets_are_in_the_vault_and_nowhere_else(stack: Recording) -> None:
    for name, value in stack.settings.business.secrets.items():
        assert_only_in_vault(stack, value, secret_name(name))


def test_a_stack_that_sells_nothing_has_no_settings_of_vendors() -> None:
    nothing = dict.fromkeys((*VENDOR_SECRETS, "payment_plans", "discord_guild_id"), "")
    stack = recorded_with("prod", **nothing)
    values = {each["name"] for each in stack.only("Microsoft.Web/sites").inputs["siteConfig"]["appSettings"]}
    assert not values & {key.upper() for key in nothing}
    assert len(stack.of_type("Microsoft.KeyVault/vaults/secrets")) == 2 + len(VENDOR_SECRETS)


def assert_only_in_vault(stack: Recording, value: str, name: str) -> None:
    for resource in stack.resources:
        if resource.type == "Microsoft.KeyVault/vaults/secrets" and resource.name == name:
            assert resource.inputs["properties"]["value"] == value
        else:
            assert value not in json.dumps(resource.inputs), resource.name
    assert value not in json.dumps(dict(stack.outputs))


def test_while_the_pepper_rotates_the_previous_one_lies_in_the_vault_too() -> None:
    former = "the-former-pepper-of-more-than-32-bytes"
    config = stack_from_files("prod")
    settings = read_settings(
        StackConfig(
            "prod",
            {**config.values, "api_key_pepper_previous": former},
            config.secret_keys | {"api_key_pepper_previous"},
        )
    )
    stack = record(settings)
    assert_only_in_vault(stack, former, "api-key-pepper-previous")
    reference = f"https://{stack.outputs['key_vault']}.vault.azure.net/secrets/api-key-pepper-previous"
    for site in (*stack.of_type("Microsoft.Web/sites"), *stack.of_type("Microsoft.Web/sites/slots")):
        values = {each["name"]: each["value"] for each in site.inputs["siteConfig"]["appSettings"]}
        assert values["API_KEY_PEPPER_PREVIOUS"] == f"@Microsoft.KeyVault(SecretUri={reference})"
    before = {each.urn for each in recorded("prod").resources}
    assert {each.urn for each in stack.resources} == before, "a rotation makes and deletes nothing"


def test_no_input_and_no_output_holds_a_key(stack: Recording) -> None:
    """Neither account keys, nor shared access signatures, nor passwords in addresses.

    An action group needs the signed address of a workflow's trigger, and the vault the addresses of channels;
    Pulumi keeps both as secrets.
    """
    key = re.compile(
        r"AccountKey=|AccessKey=|SharedAccess|[?&]sig=|Password=|://[^/@\s\"]+:[^/@\s\"]+@", re.I
    )
    for resource in stack.resources:
        inputs = dict(resource.inputs)
        for position, receiver in enumerate(inputs.pop("logicAppReceivers", ())):
            assert key.search(receiver["callbackUrl"])
            assert f"logicAppReceivers[{position}].callbackUrl" in resource.secrets
        if resource.type == "Microsoft.KeyVault/vaults/secrets":
            assert "properties.value" in resource.secrets
            inputs["properties"] = dict(inputs["properties"], value="")
        assert not key.search(json.dumps(inputs)), resource.name
    assert not key.search(json.dumps(dict(stack.outputs)))
    assert not stack.secret_outputs


def test_every_output_is_described_and_there(stack: Recording) -> None:
    readme = (ROOT / "infra" / "README.md").read_text()
    section = readme.split("\n## Outputs\n")[1].split("\n## ")[0]
    described = set(re.findall(r"^\| `([a-z_]+)` \|", section, flags=re.MULTILINE))
    assert set(stack.outputs) <= described
    assert described == set().union(*(recorded(each).outputs for each in VARIANTS))
    assert all(isinstance(value, str) and value for value in stack.outputs.values())


def test_regional_resources_lie_in_the_stack_s_region(stack: Recording) -> None:
    for resource in stack.resources:
        location = resource.inputs.get("location", stack.settings.location)
        assert location.lower() in {stack.settings.location, "global"}, resource.name


def test_every_resource_belongs_to_the_stack_s_group(stack: Recording) -> None:
    group = stack.outputs["resource_group"]
    assert group == f"rg-signal-cloud-{stack.settings.stack}"
    for resource in stack.resources:
        # The zone of a domain is older than the stack, and other names are in it too.
        # The endpoint of a swap is a part of the first region's server.
        elsewhere = "/dnsZones/" in resource.id or "/virtualendpoints/" in resource.id
        if "resourceGroupName" in resource.inputs and not elsewhere:
            assert resource.inputs["resourceGroupName"] == group
