"""Charges each recorded resource: names its meters and the units of each that a month takes.

Every resource type has meters or is declared free with a reason. Any other type is an error.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from infra.cost.prices import CannotEstimate, Load, Price, PriceTable
from infra.cost.usage import DAYS, GB, HOURS, MESSAGES_A_UNIT_DAY, Usage
from infra.offline.recording import Recording, Resource

Quantity = tuple[str, float]  # a key of the price table, and units of it

_PART = "a part of another resource"
FREE: Mapping[str, str] = {
    "Microsoft.Authorization/roleAssignments": "permissions",
    "Microsoft.Cache/redisEnterprise/databases": _PART,
    "Microsoft.Cache/redisEnterprise/databases/accessPolicyAssignments": "permissions",
    "Microsoft.Cdn/profiles/afdEndpoints": _PART,
    "Microsoft.Cdn/profiles/customDomains": "included in Front Door, with the certificate",
    "Microsoft.Cdn/profiles/ruleSets": _PART,
    "Microsoft.Cdn/profiles/ruleSets/rules": _PART,
    "Microsoft.Cdn/profiles/afdEndpoints/routes": _PART,
    "Microsoft.Cdn/profiles/originGroups": _PART,
    "Microsoft.Cdn/profiles/originGroups/origins": _PART,
    "Microsoft.Cdn/profiles/securityPolicies": _PART,
    "Microsoft.Compute/virtualMachines/extensions": _PART,
    "Microsoft.Consumption/budgets": "cost management is free",
    "Microsoft.DBforPostgreSQL/flexibleServers/administrators": "permissions",
    "Microsoft.DBforPostgreSQL/flexibleServers/configurations": _PART,
    "Microsoft.DBforPostgreSQL/flexibleServers/databases": _PART,
    "Microsoft.DBforPostgreSQL/flexibleServers/firewallRules": _PART,
    "Microsoft.DBforPostgreSQL/flexibleServers/virtualendpoints": _PART,
    "Microsoft.Insights/activityLogAlerts": "alerts of the activity log are free",
    "Microsoft.Insights/autoscaleSettings": "the instances or units that it adds are charged for",
    "Microsoft.Insights/components": "charged for as data of the workspace",
    "Microsoft.Insights/diagnosticSettings": "charged for as data of the workspace",
    "Microsoft.Insights/workbooks": "workbooks are free",
    "Microsoft.KeyVault/vaults/secrets": "charged for as operations of the vault",
    "Microsoft.ManagedIdentity/userAssignedIdentities": "identities are free",
    "Microsoft.Network/frontDoorWebApplicationFirewallPolicies": (
        "included in Front Door Standard and Premium"
    ),
    "Microsoft.Network/dnsZones/CNAME": "charged for as queries of the zone, which is not the stack's",
    "Microsoft.Network/dnsZones/TXT": "charged for as queries of the zone, which is not the stack's",
    "Microsoft.Network/networkInterfaces": _PART,
    "Microsoft.Network/networkSecurityGroups": "rules are free",
    "Microsoft.Network/privateDnsZones/virtualNetworkLinks": "links are free",
    "Microsoft.Network/privateEndpoints/privateDnsZoneGroups": _PART,
    "Microsoft.Network/virtualNetworks": "a network without gateways is free",
    "Microsoft.Resources/resourceGroups": "groups are free",
    "Microsoft.SignalRService/webPubSub/hubs": _PART,
    "Microsoft.Storage/storageAccounts/blobServices": _PART,
    "Microsoft.Storage/storageAccounts/blobServices/containers": _PART,
    "Microsoft.Storage/storageAccounts/blobServices/containers/immutabilityPolicies": _PART,
    "Microsoft.Storage/storageAccounts/managementPolicies": "Azure deletes by it without charge",
    "Microsoft.Storage/storageAccounts/tableServices/tables": _PART,
    "Microsoft.Web/sites": "charged for as its plan",
    "Microsoft.Web/sites/basicPublishingCredentialsPolicies": _PART,
    "Microsoft.Web/sites/config": _PART,
    "Microsoft.Web/sites/slots": "runs on the plan's instances",
    "Microsoft.Web/sites/slots/basicPublishingCredentialsPolicies": _PART,
}


@dataclass(frozen=True, slots=True)
class Charge:
    """One line of the bill."""

    resource: Resource
    price: Price
    quantity: float

    @property
    def usd(self) -> float:
        return self.price.cost(self.quantity)


@dataclass(frozen=True, slots=True)
class Estimate:
    usage: Usage
    charges: tuple[Charge, ...]
    free: tuple[Resource, ...]

    @property
    def usd(self) -> float:
        return sum(charge.usd for charge in self.charges)


def estimate(recording: Recording, users: int, load: Load, prices: PriceTable) -> Estimate:
    """The bill of a month; raises CannotEstimate that names every type, size and region without a price."""
    usage = Usage(recording, users, load)
    problems: list[str] = []
    if recording.settings.location not in prices.regions:
        known = " and ".join(prices.regions)
        problems.append(f"the prices are those of {known}, not of {recording.settings.location}")
    charges: list[Charge] = []
    free: list[Resource] = []
    for resource in recording.resources:
        if resource.type in FREE:
            free.append(resource)
            continue
        meter = METERS.get(resource.type)
        if meter is None:
            problems.append(
                f"{resource.type} is neither priced nor declared free: add it to infra/cost/metering.py"
            )
            continue
        for key, quantity in meter(resource, usage):
            try:
                charges.append(Charge(resource, prices.price(key), quantity))
            except CannotEstimate as problem:
                problems.append(str(problem))
    if problems:
        raise CannotEstimate("\n".join(dict.fromkeys(problems)))
    return Estimate(usage, tuple(charges), tuple(free))


def _plan(plan: Resource, usage: Usage) -> Iterator[Quantity]:
    if not usage.is_flex:
        yield f"plan.{plan.inputs['sku']['name']}", usage.instances * HOURS
        return
    flex = usage.recording.settings.compute.flex
    memory_gb = flex.memory_mb / 1024
    executions = usage.requests + usage.timer_runs
    # Azure charges at least a second for an active instance. In the worst case no two executions overlap.
    active_s = min(executions * usage.load["flex_seconds_per_execution"], HOURS * 3600)
    yield "flex.execution_time", active_s * memory_gb
    yield "flex.executions", executions
    if flex.always_ready:
        yield "flex.always_ready", flex.always_ready * memory_gb * HOURS * 3600


def _postgres(server: Resource, usage: Usage) -> Iterator[Quantity]:
    storage_gb = int(server.inputs["storage"]["storageSizeGB"])
    # The standby costs as much as the primary: a server and a disk.
    has_standby = server.inputs.get("highAvailability", {}).get("mode") == "ZoneRedundant"
    servers = 2 if has_standby else 1
    yield f"postgres.{server.inputs['sku']['name']}", servers * HOURS
    yield "postgres.storage", servers * storage_gb
    backup = server.inputs.get("backup")
    if backup is None:  # a read replica
        return
    changes = backup["backupRetentionDays"] * usage.load["database_changed_share_per_day"]
    kept_gb = storage_gb * usage.load["database_filled_share"] * (1 + changes)
    copies = 2 if backup["geoRedundantBackup"] == "Enabled" else 1
    yield "postgres.backup", max(0.0, kept_gb * copies - storage_gb)


def _redis(cluster: Resource, _: Usage) -> Iterator[Quantity]:
    nodes = 2 if cluster.inputs["highAvailability"] == "Enabled" else 1
    yield f"redis.{cluster.inputs['sku']['name']}", nodes * HOURS


def _storage(account: Resource, usage: Usage) -> Iterator[Quantity]:
    sku = account.inputs["sku"]["name"]
    if account.name == "data-storage":
        yield f"table.{sku}", usage.users * usage.load["table_bytes_per_bot"] / GB
        # An upper bound: Redis caches keys, so a request reads at most one.
        yield "table.operations", usage.requests
        if usage.recording.settings.license_export_key:
            exported_gb = usage.users * usage.load["table_bytes_per_bot"] / GB
            yield f"blob.{sku}", usage.load["exports_kept"] * exported_gb
            yield f"blob_writes.{sku}", usage.load["exports_per_month"]
        return
    yield f"blob.{sku}", usage.load["packages_gb"]
    yield f"blob_writes.{sku}", usage.timer_runs * usage.load["blob_writes_per_timer_run"]


def _vault(_: Resource, usage: Usage) -> Iterator[Quantity]:
    yield "vault.operations", DAYS * usage.load["vault_operations_per_day"]


def _webpubsub(service: Resource, usage: Usage) -> Iterator[Quantity]:
    sku = service.inputs["sku"]["name"]
    yield f"webpubsub.{sku}", usage.units * DAYS
    yield "network.egress", usage.pushed_bytes / GB + _direct_answers_gb(usage)
    if sku == "Free_F1":  # the free tier sends its quota and no more
        return
    # The quota is per day, so that days without a session do not add to it.
    quota = MESSAGES_A_UNIT_DAY[sku] * usage.units * usage.load["sessions_per_month"]
    yield "webpubsub.messages", max(0.0, usage.billed_messages - quota)


def _direct_answers_gb(usage: Usage) -> float:
    """Answers that the app sends to bots itself, if there is no Front Door."""
    return 0.0 if usage.recording.of_type("Microsoft.Cdn/profiles") else usage.answer_bytes / GB


def _front_door(profile: Resource, usage: Usage) -> Iterator[Quantity]:
    sku = profile.inputs["sku"]["name"]
    yield f"edge.{sku}", 1
    yield f"edge_requests.{sku}", usage.requests
    yield "edge.out", usage.answer_bytes / GB
    yield "edge.in", usage.request_bytes / GB


def _endpoint(endpoint: Resource, usage: Usage) -> Iterator[Quantity]:
    yield "network.endpoint", HOURS
    if endpoint.name in ("endpoint-redis", "endpoint-postgres"):
        yield "network.endpoint_data", usage.requests * usage.load["private_bytes_per_request"] / GB


def _zone(_: Resource, __: Usage) -> Iterator[Quantity]:
    yield "network.zone", 1


def _machine(machine: Resource, _: Usage) -> Iterator[Quantity]:
    yield f"machine.{machine.inputs['hardwareProfile']['vmSize']}", HOURS
    disk = machine.inputs["storageProfile"]["osDisk"]
    yield f"disk.{disk['managedDisk']['storageAccountType']}.{disk['diskSizeGB']}", 1


def _gateway(_: Resource, usage: Usage) -> Iterator[Quantity]:
    yield "network.gateway", HOURS
    yield "network.gateway_data", usage.load["operations_gb_per_month"]


def _address(_: Resource, __: Usage) -> Iterator[Quantity]:
    yield "network.address", HOURS


def _bastion(bastion: Resource, _: Usage) -> Iterator[Quantity]:
    yield f"bastion.{bastion.inputs['sku']['name']}", HOURS


def _workspace(workspace: Resource, usage: Usage) -> Iterator[Quantity]:
    yield "logs.ingestion", usage.log_gb
    kept_days = max(0, int(workspace.inputs["retentionInDays"]) - 31)
    yield "logs.retention", usage.log_gb / DAYS * kept_days


def _metric_alert(alert: Resource, _: Usage) -> Iterator[Quantity]:
    # A condition without dimensions is one time series, and so is the availability test's.
    yield "alert.metric", len(alert.inputs["criteria"].get("allOf", (None,)))


def _log_alert(alert: Resource, _: Usage) -> Iterator[Quantity]:
    yield f"alert.log.{alert.inputs['evaluationFrequency']}", 1


def _webtest(test: Resource, _: Usage) -> Iterator[Quantity]:
    yield "availability.test", len(test.inputs["locations"]) * HOURS * 3600 / int(test.inputs["frequency"])


def _action_group(group: Resource, usage: Usage) -> Iterator[Quantity]:
    # An upper bound: every alert goes to the group that sends on every way.
    notices = usage.load["notices_per_month"] if group.name == "notify-wake" else 0
    receivers = {
        "notice.email": "emailReceivers",
        "notice.sms": "smsReceivers",
        "notice.webhook": "webhookReceivers",
    }
    for key, kind in receivers.items():
        count = len(group.inputs.get(kind, ()))
        if count:
            yield key, notices * count


def _workflow(workflow: Resource, usage: Usage) -> Iterator[Quantity]:
    # The trigger is an action too. A message is sent when an alert fires, and when it is resolved.
    actions = 1 + len(workflow.inputs["definition"]["actions"])
    yield "logic.action", 2 * usage.load["notices_per_month"] * actions


METERS: Mapping[str, Callable[[Resource, Usage], Iterator[Quantity]]] = {
    "Microsoft.Cache/redisEnterprise": _redis,
    "Microsoft.Cdn/profiles": _front_door,
    "Microsoft.Compute/virtualMachines": _machine,
    "Microsoft.DBforPostgreSQL/flexibleServers": _postgres,
    "Microsoft.Insights/actionGroups": _action_group,
    "Microsoft.Insights/metricAlerts": _metric_alert,
    "Microsoft.Insights/scheduledQueryRules": _log_alert,
    "Microsoft.Insights/webtests": _webtest,
    "Microsoft.KeyVault/vaults": _vault,
    "Microsoft.Logic/workflows": _workflow,
    "Microsoft.Network/bastionHosts": _bastion,
    "Microsoft.Network/natGateways": _gateway,
    "Microsoft.Network/privateDnsZones": _zone,
    "Microsoft.Network/privateEndpoints": _endpoint,
    "Microsoft.Network/publicIPAddresses": _address,
    "Microsoft.OperationalInsights/workspaces": _workspace,
    "Microsoft.SignalRService/webPubSub": _webpubsub,
    "Microsoft.Storage/storageAccounts": _storage,
    "Microsoft.Web/serverfarms": _plan,
}
