"""Writes `schemas/*.json`: `python -m infra.offline.azure_types.make`. Needs a package index and a minute.

Run it when the program uses a type or an API version that has no schema; a test names such a type. Two kinds
of package hold Azure's types: Microsoft's Azure MCP Server has many Bicep types, which Azure publishes for
templates, and the azure-mgmt package of the same API version has the others.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infra.offline.azure_types import SCHEMAS, file_of
from infra.offline.azure_types.from_bicep import Translator, documents

BICEP_PACKAGE = "msmcp-azure==3.0.0"
# Packages that every azure-mgmt package imports.
_COMMON = ("azure-common", "azure-core", "azure-mgmt-core", "isodate", "requests", "typing-extensions")

BICEP_TYPES = (
    "Microsoft.Authorization/roleAssignments@2022-04-01",
    "Microsoft.Cdn/profiles@2025-06-01",
    "Microsoft.Cdn/profiles/afdEndpoints@2025-06-01",
    "Microsoft.Cdn/profiles/afdEndpoints/routes@2025-06-01",
    "Microsoft.Cdn/profiles/customDomains@2025-06-01",
    "Microsoft.Cdn/profiles/originGroups@2025-06-01",
    "Microsoft.Cdn/profiles/originGroups/origins@2025-06-01",
    "Microsoft.Cdn/profiles/ruleSets@2025-06-01",
    "Microsoft.Cdn/profiles/ruleSets/rules@2025-06-01",
    "Microsoft.Cdn/profiles/securityPolicies@2025-06-01",
    "Microsoft.Compute/virtualMachines@2024-11-01",
    "Microsoft.Compute/virtualMachines/extensions@2024-11-01",
    "Microsoft.Consumption/budgets@2024-08-01",
    "Microsoft.Insights/components@2020-02-02",
    "Microsoft.Insights/webtests@2022-06-15",
    "Microsoft.Insights/workbooks@2023-06-01",
    "Microsoft.KeyVault/vaults@2024-11-01",
    "Microsoft.KeyVault/vaults/secrets@2024-11-01",
    "Microsoft.Logic/workflows@2019-05-01",
    "Microsoft.ManagedIdentity/userAssignedIdentities@2023-01-31",
    "Microsoft.Network/bastionHosts@2024-05-01",
    "Microsoft.Network/natGateways@2024-05-01",
    "Microsoft.Network/networkInterfaces@2024-05-01",
    "Microsoft.Network/networkSecurityGroups@2024-05-01",
    "Microsoft.Network/privateEndpoints@2024-05-01",
    "Microsoft.Network/privateEndpoints/privateDnsZoneGroups@2024-05-01",
    "Microsoft.Network/publicIPAddresses@2024-05-01",
    "Microsoft.Network/virtualNetworks@2024-05-01",
    "Microsoft.OperationalInsights/workspaces@2023-09-01",
    "Microsoft.Resources/resourceGroups@2024-03-01",
    "Microsoft.Storage/storageAccounts@2024-01-01",
    "Microsoft.Storage/storageAccounts/blobServices@2024-01-01",
    "Microsoft.Storage/storageAccounts/blobServices/containers@2024-01-01",
    "Microsoft.Storage/storageAccounts/blobServices/containers/immutabilityPolicies@2024-01-01",
    "Microsoft.Storage/storageAccounts/managementPolicies@2024-01-01",
    "Microsoft.Storage/storageAccounts/tableServices/tables@2024-01-01",
)


# Values that a package lacks although its API version has them: definition, property, values.
ADDED_VALUES = (
    # Two enumerations of one name in the REST description; the Python package kept the other one.
    ("postgresqlflexibleservers@2025-08-01.HighAvailability", "mode", ("Disabled",)),
    # The list of sizes ends in 2017, as its description says; Azure takes every size that the region has.
    ("Microsoft.Compute@2024-11-01.HardwareProfile#416", "vmSize", ("Standard_B2als_v2",)),
)


@dataclass(frozen=True, slots=True)
class ModelPackage:
    """An azure-mgmt package, the API version it speaks, and the model that is each type's request body."""

    requirement: str
    module: str
    api_version: str
    models: Mapping[str, str]


MODEL_PACKAGES = (
    ModelPackage(
        "azure-mgmt-web==11.0.1",
        "azure.mgmt.web.models",
        "2025-05-01",
        {
            "Microsoft.Web/serverfarms": "AppServicePlan",
            "Microsoft.Web/sites": "Site",
            "Microsoft.Web/sites/slots": "Site",
            "Microsoft.Web/sites/config/slotConfigNames": "SlotConfigNamesResource",
            "Microsoft.Web/sites/basicPublishingCredentialsPolicies": (
                "CsmPublishingCredentialsPoliciesEntity"
            ),
            "Microsoft.Web/sites/slots/basicPublishingCredentialsPolicies": (
                "CsmPublishingCredentialsPoliciesEntity"
            ),
        },
    ),
    ModelPackage(
        "azure-mgmt-redisenterprise==3.1.0",
        "azure.mgmt.redisenterprise.models",
        "2025-07-01",
        {
            "Microsoft.Cache/redisEnterprise": "Cluster",
            "Microsoft.Cache/redisEnterprise/databases": "Database",
            "Microsoft.Cache/redisEnterprise/databases/accessPolicyAssignments": "AccessPolicyAssignment",
        },
    ),
    ModelPackage(
        "azure-mgmt-postgresqlflexibleservers==2.0.0",
        "azure.mgmt.postgresqlflexibleservers.models",
        "2025-08-01",
        {
            "Microsoft.DBforPostgreSQL/flexibleServers": "Server",
            "Microsoft.DBforPostgreSQL/flexibleServers/administrators": "AdministratorMicrosoftEntraAdd",
            "Microsoft.DBforPostgreSQL/flexibleServers/configurations": "Configuration",
            "Microsoft.DBforPostgreSQL/flexibleServers/databases": "Database",
            "Microsoft.DBforPostgreSQL/flexibleServers/firewallRules": "FirewallRule",
            "Microsoft.DBforPostgreSQL/flexibleServers/virtualendpoints": "VirtualEndpoint",
        },
    ),
    ModelPackage(
        "azure-mgmt-webpubsub==2.0.0",
        "azure.mgmt.webpubsub.models",
        "2024-03-01",
        {
            "Microsoft.SignalRService/webPubSub": "WebPubSubResource",
            "Microsoft.SignalRService/webPubSub/hubs": "WebPubSubHub",
        },
    ),
    ModelPackage(
        "azure-mgmt-privatedns==2.0.0",
        "azure.mgmt.privatedns.models",
        "2024-06-01",
        {
            "Microsoft.Network/privateDnsZones": "PrivateZone",
            "Microsoft.Network/privateDnsZones/virtualNetworkLinks": "VirtualNetworkLink",
        },
    ),
    ModelPackage(
        "azure-mgmt-dns==10.0.0b1",
        "azure.mgmt.dns.models",
        "2023-07-01-preview",
        {
            "Microsoft.Network/dnsZones/CNAME": "RecordSet",
            "Microsoft.Network/dnsZones/TXT": "RecordSet",
        },
    ),
    ModelPackage(
        "azure-mgmt-monitor==6.0.2",
        "azure.mgmt.monitor.v2021_05_01_preview.models",
        "2021-05-01-preview",
        {
            "Microsoft.Insights/autoscaleSettings": "AutoscaleSettingResource",
            "Microsoft.Insights/diagnosticSettings": "DiagnosticSettingsResource",
        },
    ),
    ModelPackage(
        "azure-mgmt-monitor==6.0.2",
        "azure.mgmt.monitor.v2018_03_01.models",
        "2018-03-01",
        {"Microsoft.Insights/metricAlerts": "MetricAlertResource"},
    ),
    ModelPackage(
        "azure-mgmt-monitor==6.0.2",
        "azure.mgmt.monitor.v2020_10_01.models",
        "2020-10-01",
        {"Microsoft.Insights/activityLogAlerts": "ActivityLogAlertResource"},
    ),
    ModelPackage(
        "azure-mgmt-monitor==8.0.0b3",
        "azure.mgmt.monitor.models",
        "2025-01-01-preview",
        {"Microsoft.Insights/scheduledQueryRules": "ScheduledQueryRuleResource"},
    ),
    ModelPackage(
        "azure-mgmt-monitor==8.0.0b3",
        "azure.mgmt.monitor.models",
        "2024-10-01-preview",
        {"Microsoft.Insights/actionGroups": "ActionGroupResource"},
    ),
    # No package speaks 2025-11-01; 2025-10-01 is the one before it.
    ModelPackage(
        "azure-mgmt-frontdoor==2.0.0",
        "azure.mgmt.frontdoor.models",
        "2025-11-01",
        {"Microsoft.Network/frontDoorWebApplicationFirewallPolicies": "WebApplicationFirewallPolicy"},
    ),
)


@dataclass(slots=True)
class _Found:
    """Bodies and definitions of one provider's file."""

    resources: dict[str, dict[str, str]]
    definitions: dict[str, Any]


def make() -> list[Path]:
    """Writes every file; raises LookupError if a package lacks a type."""
    found: dict[Path, _Found] = {}
    with tempfile.TemporaryDirectory(prefix="azure-types-") as directory:
        scratch = Path(directory)
        _add_bicep(scratch / "bicep", found)
        _install(scratch / "common", _COMMON)
        for package in MODEL_PACKAGES:
            target = scratch / package.requirement
            if not target.exists():
                _install(target, (package.requirement,))
            _add_models(package, [target, scratch / "common"], found)
    _add_values(found)
    SCHEMAS.mkdir(exist_ok=True)
    for path, content in found.items():
        document = {
            "resources": content.resources,
            "$defs": content.definitions,
        }
        path.write_text(json.dumps(document, indent=1, sort_keys=True) + "\n")
    return sorted(found)


def _install(target: Path, requirements: Iterable[str]) -> None:
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-compile", "--no-deps"]
    subprocess.run([*pip, "--target", str(target), *requirements], check=True)


def _add_bicep(target: Path, found: dict[Path, _Found]) -> None:
    _install(target, (BICEP_PACKAGE,))
    binary = max(target.rglob("azmcp"), key=lambda path: path.stat().st_size)
    wanted = {name.lower(): name for name in BICEP_TYPES}
    for types in documents(binary):
        for declared in types:
            name = declared.get("name", "").lower()
            if declared["$type"] == "ResourceType" and name in wanted:
                arm, version = wanted.pop(name).split("@")
                translator = Translator(types, f"{arm.split('/')[0]}@{version}")
                _keep(
                    found,
                    f"{arm}@{version}",
                    BICEP_PACKAGE,
                    translator.body(declared)["$ref"],
                    translator.definitions,
                )
    if wanted:
        raise LookupError(f"{BICEP_PACKAGE} lacks {', '.join(wanted.values())}")


def _add_models(package: ModelPackage, path: list[Path], found: dict[Path, _Found]) -> None:
    script = Path(__file__).with_name("from_models.py")
    prefix = f"{package.module.split('.')[2]}@{package.api_version}"
    names = sorted(set(package.models.values()))
    read = subprocess.run(
        [sys.executable, str(script), package.module, prefix, *names],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, path))},
        capture_output=True,
        text=True,
        check=True,
    )
    answer = json.loads(read.stdout)
    for arm, model in package.models.items():
        reference = answer["bodies"][model]
        type_ = f"{arm}@{package.api_version}"
        _keep(found, type_, package.requirement, reference, answer["definitions"])


def _add_values(found: dict[Path, _Found]) -> None:
    for definition, name, values in ADDED_VALUES:
        holder = next(content for content in found.values() if definition in content.definitions)
        holder.definitions[definition]["properties"][name]["enum"] += values


def _keep(
    found: dict[Path, _Found], type_: str, package: str, reference: str, definitions: dict[str, Any]
) -> None:
    content = found.setdefault(file_of(type_), _Found({}, {}))
    content.resources[type_] = {"body": reference, "package": package}
    content.definitions |= definitions


if __name__ == "__main__":
    argparse.ArgumentParser(prog="python -m infra.offline.azure_types.make", description=__doc__).parse_args()
    for written in make():
        print(written.name, written.stat().st_size)
