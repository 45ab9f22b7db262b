"""Draws a recorded stack as a Mermaid flowchart: resources by concern, data paths, and who may do what.

Every line comes from the recording. Data paths are the app's settings that name a service, the edge's origin
and the hub's event handler. Permissions are the role assignments and access policies.
"""

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from infra.offline.recording import Recording, Resource
from infra.roles import ROLE_IDS

ROLES = {role_id: role for role, role_id in ROLE_IDS.items()}
# Types that have a node: the heading and the word for each.
DRAWN = {
    "Microsoft.Cdn/profiles": ("Edge", "Front Door"),
    "Microsoft.Network/frontDoorWebApplicationFirewallPolicies": ("Edge", "Firewall"),
    "Microsoft.Web/serverfarms": ("Compute", "Plan"),
    "Microsoft.Web/sites": ("Compute", "Function app"),
    "Microsoft.Web/sites/slots": ("Compute", "Slot"),
    "Microsoft.DBforPostgreSQL/flexibleServers": ("Data", "Postgres"),
    "Microsoft.Cache/redisEnterprise": ("Data", "Redis"),
    "Microsoft.Storage/storageAccounts": ("Data", "Storage"),
    "Microsoft.KeyVault/vaults": ("Data", "Key Vault"),
    "Microsoft.SignalRService/webPubSub": ("Realtime", "Web PubSub"),
    "Microsoft.ManagedIdentity/userAssignedIdentities": ("Identity", "Identity"),
    "Microsoft.Network/virtualNetworks": ("Network", "Network"),
    "Microsoft.OperationalInsights/workspaces": ("Monitoring", "Workspace"),
    "Microsoft.Insights/components": ("Monitoring", "Application Insights"),
    "Microsoft.Insights/actionGroups": ("Monitoring", "Action group"),
    "Microsoft.Logic/workflows": ("Monitoring", "Workflow"),
}
_INSIGHTS_SETTING = "APPLICATIONINSIGHTS_CONNECTION_STRING"
_BOTS, _ADMINISTRATORS = "bots", "administrators"
# Nodes that are no resources of the stack.
PEOPLE = {_BOTS: "Bots", _ADMINISTRATORS: "Administrators"}
_PRIMARY = "primary_storage"


@dataclass(frozen=True, slots=True)
class Path:
    """From one node to another; identity paths are dotted."""

    source: str
    target: str
    label: str
    dotted: bool = False


def node_id(resource: Resource) -> str:
    """The id of a resource's node: its name in the program, in characters that Mermaid allows."""
    return resource.name.replace("-", "_")


def drawn(recording: Recording) -> dict[str, Resource]:
    """Resources that have a node, by the node's id."""
    return {node_id(each): each for each in recording.resources if each.type in DRAWN}


def people(recording: Recording) -> dict[str, str]:
    """Nodes that are no resources of the stack, with their words."""
    primary = recording.settings.primary
    return PEOPLE if primary is None else {**PEOPLE, _PRIMARY: "Storage of the first region"}


def flowchart(recording: Recording) -> str:
    """The diagram as Mermaid text."""
    nodes = drawn(recording)
    groups: dict[str, list[str]] = defaultdict(list)
    for node, resource in nodes.items():
        heading, word = DRAWN[resource.type]
        groups[heading].append(f'    {node}["{word}<br/>{resource.own_name}"]')
    lines = ["flowchart LR", *(f"  {node}([{word}])" for node, word in people(recording).items())]
    for heading, members in groups.items():
        lines += [f"  subgraph {heading}", *members, "  end"]
    for path in paths(recording):
        arrow = "-.->" if path.dotted else "-->"
        lines.append(f'  {path.source} {arrow}|"{path.label}"| {path.target}')
    return "\n".join(lines)


def outline(recording: Recording) -> str:
    """The diagram for a terminal: each node with its outgoing paths."""
    nodes = drawn(recording)
    outside = people(recording)
    words = {node: f"{DRAWN[each.type][1]} {each.own_name}" for node, each in nodes.items()} | outside
    out: dict[str, list[str]] = defaultdict(list)
    for path in paths(recording):
        arrow = "..>" if path.dotted else "-->"
        out[path.source].append(f"    {arrow} {words[path.target]}: {path.label}")
    headed = [("People", node) for node in outside]
    headed += [(DRAWN[each.type][0], node) for node, each in nodes.items()]
    lines: list[str] = []
    for heading in dict.fromkeys(heading for heading, _ in headed):
        lines.append(heading)
        for under, node in headed:
            if under == heading:
                lines += [f"  {words[node]}", *out[node]]
    return "\n".join(lines)


def paths(recording: Recording) -> Iterator[Path]:
    yield from data_paths(recording)
    yield from identity_paths(recording)


def data_paths(recording: Recording) -> Iterator[Path]:
    """The paths of requests, messages and telemetry."""
    app = recording.only("Microsoft.Web/sites")
    yield from _ways_in(recording, app)
    private = _privately_reached(recording)
    for service, settings in _services_of(recording, app):
        way = " through its private endpoint" if service.id in private else ""
        yield Path(node_id(app), node_id(service), f"{', '.join(settings)}{way}")
    workspace = recording.only("Microsoft.OperationalInsights/workspaces")
    insights = recording.only("Microsoft.Insights/components")
    yield Path(node_id(insights), node_id(workspace), "telemetry")
    yield from _alert_paths(recording, workspace)
    sites = (app, *recording.of_type("Microsoft.Web/sites/slots"))
    for site in sites:
        yield Path(node_id(site), node_id(recording.by_id(site.inputs["serverFarmId"])), "runs on")
        if "virtualNetworkSubnetId" in site.inputs:
            network, _, subnet = site.inputs["virtualNetworkSubnetId"].partition("/subnets/")
            yield Path(node_id(site), node_id(recording.by_id(network)), f"subnet {subnet}")


def _alert_paths(recording: Recording, workspace: Resource) -> Iterator[Path]:
    """From the workspace to the action groups, and on to the workflows that they call."""
    rules = recording.of_type("Microsoft.Insights/scheduledQueryRules")
    for group in recording.of_type("Microsoft.Insights/actionGroups"):
        alerts = sum(group.id in rule.inputs["actions"]["actionGroups"] for rule in rules)
        if alerts:
            yield Path(node_id(workspace), node_id(group), f"{alerts} log alerts")
        for receiver in group.inputs.get("logicAppReceivers", ()):
            yield Path(node_id(group), node_id(recording.by_id(receiver["resourceId"])), "every alert")


def _ways_in(recording: Recording, app: Resource) -> Iterator[Path]:
    origins = recording.of_type("Microsoft.Cdn/profiles/originGroups/origins")
    for profile in recording.of_type("Microsoft.Cdn/profiles"):
        yield Path(_BOTS, node_id(profile), "HTTPS")
        for firewall in recording.of_type("Microsoft.Network/frontDoorWebApplicationFirewallPolicies"):
            yield Path(node_id(profile), node_id(firewall), "asks")
    for origin in origins:
        if origin.inputs["hostName"].startswith(f"{app.own_name}."):
            yield Path("front_door", node_id(app), "X-Azure-FDID")
    if not origins:
        yield Path(_BOTS, node_id(app), "HTTPS")
    hub = recording.only("Microsoft.SignalRService/webPubSub/hubs")
    service = recording.only("Microsoft.SignalRService/webPubSub")
    yield Path(_BOTS, node_id(service), "WebSocket")
    for handler in hub.inputs["properties"]["eventHandlers"]:
        if f"//{app.own_name}." in handler["urlTemplate"]:
            yield Path(node_id(service), node_id(app), f"events {', '.join(handler['systemEvents'])}")


def _services_of(recording: Recording, app: Resource) -> Iterator[tuple[Resource, list[str]]]:
    """Services that the app's settings name, each with those settings."""
    settings = {each["name"]: str(each["value"]) for each in app.inputs["siteConfig"]["appSettings"]}
    for resource in drawn(recording).values():
        if DRAWN[resource.type][0] not in ("Data", "Realtime"):
            continue
        named = re.compile(rf"(?<![\w-]){re.escape(resource.own_name)}(?![\w-])")
        names = [name for name, value in settings.items() if named.search(value)]
        if names:
            yield resource, names
    # Its setting holds a key and not its name.
    if settings.get(_INSIGHTS_SETTING, "").startswith("InstrumentationKey="):
        yield recording.only("Microsoft.Insights/components"), [_INSIGHTS_SETTING]


def _privately_reached(recording: Recording) -> set[str]:
    return {
        connection["privateLinkServiceId"]
        for endpoint in recording.of_type("Microsoft.Network/privateEndpoints")
        for connection in endpoint.inputs["privateLinkServiceConnections"]
    }


def identity_paths(recording: Recording) -> Iterator[Path]:
    """Roles, access policies, administrators, and the identity that each resource runs as."""
    roles: dict[str, list[str]] = defaultdict(list)
    for assignment in recording.of_type("Microsoft.Authorization/roleAssignments"):
        role = ROLES[assignment.inputs["roleDefinitionId"].rsplit("/", 1)[-1]]
        roles[_drawn_above(recording, assignment.inputs["scope"])].append(role)
    for target, names in roles.items():
        yield Path("app_identity", target, ", ".join(dict.fromkeys(names)), dotted=True)
    for policy in recording.of_type("Microsoft.Cache/redisEnterprise/databases/accessPolicyAssignments"):
        label = f"access policy {policy.inputs['accessPolicyName']}"
        yield Path("app_identity", "redis", label, dotted=True)
    for administrator in recording.of_type("Microsoft.DBforPostgreSQL/flexibleServers/administrators"):
        yield Path(_ADMINISTRATORS, "postgres", administrator.inputs["principalName"], dotted=True)
    yield Path("app_identity", "postgres", "login", dotted=True)
    for resource in drawn(recording).values():
        for identity in resource.inputs.get("identity", {}).get("userAssignedIdentities", ()):
            yield Path(node_id(resource), node_id(recording.by_id(identity)), "runs as", dotted=True)


def _drawn_above(recording: Recording, scope: str) -> str:
    """The node of the resource that a scope names or is part of."""
    for node, resource in drawn(recording).items():
        if scope == resource.id or scope.startswith(f"{resource.id}/"):
            return node
    primary = recording.settings.primary
    if primary is not None and scope.startswith(f"{primary.storage_id}/"):
        return _PRIMARY
    raise KeyError(scope)
