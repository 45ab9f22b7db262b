"""Shows what `pulumi up` would make, without the CLI and without Azure.

`python -m infra.offline.preview --stack prod` prints a table of every resource by component and a diagram,
and writes both to `.local/infra-preview/<stack>.md`, the diagram as Mermaid. The names of a tenant are those
of tenant.example.yaml.
"""

import argparse
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from infra.offline.diagram import ROLES, flowchart, outline
from infra.offline.markdown import table
from infra.offline.recording import PROGRAM, Recording, Resource, record_stack
from infra.settings.stacks import INFRA, STACKS

OUTPUT = INFRA.parent / ".local" / "infra-preview"
# Inputs that differ between stacks, by the words that the table shows them with.
_FACTS: Mapping[str, Mapping[str, str]] = {
    "Microsoft.Cache/redisEnterprise": {"": "sku.name", "high availability": "highAvailability"},
    "Microsoft.Cache/redisEnterprise/databases": {"": "clusteringPolicy", "port": "port"},
    "Microsoft.Cdn/profiles": {"": "sku.name"},
    "Microsoft.Compute/virtualMachines": {"": "hardwareProfile.vmSize"},
    "Microsoft.Consumption/budgets": {"USD": "amount"},
    "Microsoft.DBforPostgreSQL/flexibleServers": {
        "": "sku.name",
        "version": "version",
        "GB": "storage.storageSizeGB",
        "standby": "highAvailability.mode",
        "days of backups": "backup.backupRetentionDays",
        "geo-redundant": "backup.geoRedundantBackup",
    },
    "Microsoft.DBforPostgreSQL/flexibleServers/administrators": {"": "principalName"},
    "Microsoft.DBforPostgreSQL/flexibleServers/configurations": {"": "value"},
    "Microsoft.Insights/metricAlerts": {"severity": "severity", "every": "evaluationFrequency"},
    "Microsoft.Insights/scheduledQueryRules": {"severity": "severity", "every": "evaluationFrequency"},
    "Microsoft.Insights/webtests": {"every s": "frequency"},
    "Microsoft.KeyVault/vaults": {"": "properties.sku.name", "public": "properties.publicNetworkAccess"},
    "Microsoft.Network/frontDoorWebApplicationFirewallPolicies": {"": "policySettings.mode"},
    "Microsoft.OperationalInsights/workspaces": {
        "": "sku.name",
        "days": "retentionInDays",
        "GB a day at most": "workspaceCapping.dailyQuotaGb",
    },
    "Microsoft.SignalRService/webPubSub": {"": "sku.name", "units": "sku.capacity"},
    "Microsoft.Storage/storageAccounts": {"": "sku.name", "public": "publicNetworkAccess"},
    "Microsoft.Web/serverfarms": {"": "sku.name", "at first": "sku.capacity", "zones": "zoneRedundant"},
    "Microsoft.Web/sites": {"": "siteConfig.linuxFxVersion"},
    "Microsoft.Web/sites/slots": {"": "siteConfig.linuxFxVersion"},
}


def facts(resource: Resource) -> str:
    """The size and other inputs that determine the cost."""
    if resource.type == "Microsoft.Insights/autoscaleSettings":
        return "; ".join(_profiles(resource))
    if resource.type == "Microsoft.Authorization/roleAssignments":
        role = ROLES[_last(resource.inputs["roleDefinitionId"])]
        return f"{role} on {_last(resource.inputs['scope'])}"
    if resource.type == "Microsoft.Network/privateEndpoints":
        (connection,) = resource.inputs["privateLinkServiceConnections"]
        return f"{', '.join(connection['groupIds'])} of {_last(connection['privateLinkServiceId'])}"
    shown = []
    for words, path in _FACTS.get(resource.type, {}).items():
        value = _at(resource.inputs, path)
        if value is not None:
            shown.append(f"{words}: {value}" if words else str(value))
    return ", ".join(shown)


def _last(resource_id: str) -> str:
    return resource_id.rsplit("/", 1)[-1]


def _profiles(setting: Resource) -> Iterator[str]:
    for profile in setting.inputs["profiles"]:
        capacity = profile["capacity"]
        schedule = profile.get("recurrence", {}).get("schedule")
        since = f" from {schedule['hours'][0]:02}:{schedule['minutes'][0]:02}" if schedule else ""
        yield f"{capacity['minimum']} to {capacity['maximum']}{since}"


def _at(inputs: Mapping[str, Any], path: str) -> Any:
    value: Any = inputs
    for key in path.split("."):
        value = value.get(key) if isinstance(value, dict) else None
    return value


def component_names(recording: Recording) -> list[str]:
    """Names of components in the order in which they are made, PROGRAM first."""
    return [PROGRAM, *(each.name for each in recording.components)]


def resources_of(recording: Recording, component: str) -> list[Resource]:
    return [each for each in recording.resources if recording.component_of(each) == component]


def resource_table(recording: Recording) -> str:
    """A table of every resource, by component."""
    rows = [
        (component, each.name, _short(each), each.own_name, facts(each), "yes" if each.protect else "")
        for component in component_names(recording)
        for each in resources_of(recording, component)
    ]
    return table(("component", "resource", "type", "name in Azure", "what", "protected"), rows)


def _short(resource: Resource) -> str:
    return resource.type.removeprefix("Microsoft.")


def totals(recording: Recording) -> str:
    """A table of the number of resources of each component, and of protected ones."""
    rows = []
    for component in component_names(recording):
        own = resources_of(recording, component)
        rows.append((component, str(len(own)), str(sum(each.protect for each in own))))
    everything = recording.resources
    rows.append(("together", str(len(everything)), str(sum(each.protect for each in everything))))
    return table(("component", "resources", "protected"), rows, right=frozenset({1, 2}))


def document(stack: str, recording: Recording) -> str:
    """The preview as the text of a Markdown file."""
    return (
        f"# What `pulumi up` would create: {stack}\n\n{totals(recording)}\n\n{resource_table(recording)}\n\n"
        f"```mermaid\n{flowchart(recording)}\n```\n"
    )


def show(stack: str, recording: Recording, kind: str, output: Path) -> str:
    """The output for one stack; for `all` it also writes the file."""
    if kind == "mermaid":
        return flowchart(recording)
    parts = [f"{stack}: {len(recording.resources)} resources", resource_table(recording), totals(recording)]
    if kind == "all":
        output.mkdir(parents=True, exist_ok=True)
        path = output / f"{stack}.md"
        path.write_text(document(stack, recording), encoding="utf-8")
        parts += [outline(recording), f"table and Mermaid diagram: {_shown(path)}"]
    return "\n\n".join(parts)


def _shown(path: Path) -> str:
    root = INFRA.parent
    return str(path.relative_to(root) if path.is_relative_to(root) else path)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m infra.offline.preview",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--stack", choices=(*STACKS, "all"), default="all", help="default: all")
    parser.add_argument(
        "--format",
        choices=("all", "table", "mermaid"),
        default="all",
        help="the table and the diagram, also as a file (default); the table; the diagram's Mermaid text",
    )
    parser.add_argument("--output", type=Path, default=OUTPUT, help="directory of the files")
    options = parser.parse_args(arguments)
    stacks = STACKS if options.stack == "all" else (options.stack,)
    try:
        print(
            "\n\n".join(show(stack, record_stack(stack), options.format, options.output) for stack in stacks)
        )
    except OSError as problem:
        print(f"error: {problem.filename}: {problem.strerror}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
