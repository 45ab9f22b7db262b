"""Lists the ARM type of each resource that the program makes, and the inputs that name it."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

# Stand-ins for values that only a deployment has.
SUBSCRIPTION = "00000000-0000-4000-8000-0000000000ff"
SUBSCRIPTION_ID = f"/subscriptions/{SUBSCRIPTION}"

Scope = Literal["subscription", "group", "resource"]


@dataclass(frozen=True, slots=True)
class ArmType:
    """`names` are the inputs at the end of the id, the outermost first; a word in quotes is literal.

    A word in braces in `type` stands for the value of that input, `type_input`.

    `scope` is what the id begins with: the subscription, the resource group, or the resource whose id is in
    the input `scope_input`.
    """

    type: str
    names: tuple[str, ...]
    scope: Scope = "group"
    scope_input: str = "scope"
    type_input: str = ""

    @property
    def path_inputs(self) -> frozenset[str]:
        """Inputs that are in the id, and not in the body."""
        return frozenset({*self.names, self.type_input, "resourceGroupName"})

    def name_parts(self, inputs: Mapping[str, object]) -> tuple[str, ...]:
        """Names from the outermost resource to this one; raises KeyError for a name that is missing."""
        return tuple(name.strip("'") if name.startswith("'") else str(inputs[name]) for name in self.names)

    def resource_id(self, inputs: Mapping[str, object]) -> str:
        """The id that Azure would give; raises KeyError for a name that is not among the inputs."""
        provider, *types = self.type.split("/")
        path = "".join(f"/{kind}/{name}" for kind, name in zip(types, self.name_parts(inputs), strict=True))
        if self.type == "Microsoft.Resources/resourceGroups":
            return f"{SUBSCRIPTION_ID}{path}"
        return f"{self._above(inputs)}/providers/{provider}{path}"

    def _above(self, inputs: Mapping[str, object]) -> str:
        if self.scope == "resource":
            return str(inputs[self.scope_input])
        if self.scope == "subscription":
            return SUBSCRIPTION_ID
        return f"{SUBSCRIPTION_ID}/resourceGroups/{inputs['resourceGroupName']}"


def _cdn(path: str, *names: str) -> ArmType:
    return ArmType(f"Microsoft.Cdn/profiles{path}", ("profileName", *names))


def _postgres(path: str, *names: str) -> ArmType:
    return ArmType(f"Microsoft.DBforPostgreSQL/flexibleServers{path}", ("serverName", *names))


def _redis(path: str, *names: str) -> ArmType:
    return ArmType(f"Microsoft.Cache/redisEnterprise{path}", ("clusterName", *names))


def _site(path: str, *names: str) -> ArmType:
    return ArmType(f"Microsoft.Web/sites{path}", ("name", *names))


def _storage(path: str, *names: str) -> ArmType:
    return ArmType(f"Microsoft.Storage/storageAccounts{path}", ("accountName", *names))


ARM_TYPES: Mapping[str, ArmType] = {
    "applicationinsights:Component": ArmType("Microsoft.Insights/components", ("resourceName",)),
    "applicationinsights:WebTest": ArmType("Microsoft.Insights/webtests", ("webTestName",)),
    "applicationinsights:Workbook": ArmType("Microsoft.Insights/workbooks", ("resourceName",)),
    "authorization:RoleAssignment": ArmType(
        "Microsoft.Authorization/roleAssignments", ("roleAssignmentName",), scope="resource"
    ),
    "cdn:AFDCustomDomain": _cdn("/customDomains", "customDomainName"),
    "cdn:AFDEndpoint": _cdn("/afdEndpoints", "endpointName"),
    "cdn:AFDOrigin": _cdn("/originGroups/origins", "originGroupName", "originName"),
    "cdn:AFDOriginGroup": _cdn("/originGroups", "originGroupName"),
    "cdn:Profile": _cdn(""),
    "cdn:Route": _cdn("/afdEndpoints/routes", "endpointName", "routeName"),
    "cdn:Rule": _cdn("/ruleSets/rules", "ruleSetName", "ruleName"),
    "cdn:RuleSet": _cdn("/ruleSets", "ruleSetName"),
    "cdn:SecurityPolicy": _cdn("/securityPolicies", "securityPolicyName"),
    "compute:VirtualMachine": ArmType("Microsoft.Compute/virtualMachines", ("vmName",)),
    "compute:VirtualMachineExtension": ArmType(
        "Microsoft.Compute/virtualMachines/extensions", ("vmName", "vmExtensionName")
    ),
    "consumption:Budget": ArmType("Microsoft.Consumption/budgets", ("budgetName",), scope="resource"),
    "dbforpostgresql:AdministratorsMicrosoftEntra": _postgres("/administrators", "objectId"),
    "dbforpostgresql:Configuration": _postgres("/configurations", "configurationName"),
    "dbforpostgresql:Database": _postgres("/databases", "databaseName"),
    "dbforpostgresql:FirewallRule": _postgres("/firewallRules", "firewallRuleName"),
    "dbforpostgresql:Server": _postgres(""),
    "dbforpostgresql:VirtualEndpoint": _postgres("/virtualendpoints", "virtualEndpointName"),
    "dns:RecordSet": ArmType(
        "Microsoft.Network/dnsZones/{recordType}",
        ("zoneName", "relativeRecordSetName"),
        type_input="recordType",
    ),
    "frontdoor:Policy": ArmType("Microsoft.Network/frontDoorWebApplicationFirewallPolicies", ("policyName",)),
    "keyvault:Secret": ArmType("Microsoft.KeyVault/vaults/secrets", ("vaultName", "secretName")),
    "keyvault:Vault": ArmType("Microsoft.KeyVault/vaults", ("vaultName",)),
    "logic:Workflow": ArmType("Microsoft.Logic/workflows", ("workflowName",)),
    "managedidentity:UserAssignedIdentity": ArmType(
        "Microsoft.ManagedIdentity/userAssignedIdentities", ("resourceName",)
    ),
    "monitor:ActionGroup": ArmType("Microsoft.Insights/actionGroups", ("actionGroupName",)),
    "monitor:ActivityLogAlert": ArmType("Microsoft.Insights/activityLogAlerts", ("activityLogAlertName",)),
    "monitor:AutoscaleSetting": ArmType("Microsoft.Insights/autoscaleSettings", ("autoscaleSettingName",)),
    "monitor:DiagnosticSetting": ArmType(
        "Microsoft.Insights/diagnosticSettings", ("name",), scope="resource", scope_input="resourceUri"
    ),
    "monitor:MetricAlert": ArmType("Microsoft.Insights/metricAlerts", ("ruleName",)),
    "monitor:ScheduledQueryRule": ArmType("Microsoft.Insights/scheduledQueryRules", ("ruleName",)),
    "network:BastionHost": ArmType("Microsoft.Network/bastionHosts", ("bastionHostName",)),
    "network:NatGateway": ArmType("Microsoft.Network/natGateways", ("natGatewayName",)),
    "network:NetworkInterface": ArmType("Microsoft.Network/networkInterfaces", ("networkInterfaceName",)),
    "network:NetworkSecurityGroup": ArmType(
        "Microsoft.Network/networkSecurityGroups", ("networkSecurityGroupName",)
    ),
    "network:PrivateDnsZoneGroup": ArmType(
        "Microsoft.Network/privateEndpoints/privateDnsZoneGroups",
        ("privateEndpointName", "privateDnsZoneGroupName"),
    ),
    "network:PrivateEndpoint": ArmType("Microsoft.Network/privateEndpoints", ("privateEndpointName",)),
    "network:PublicIPAddress": ArmType("Microsoft.Network/publicIPAddresses", ("publicIpAddressName",)),
    "network:VirtualNetwork": ArmType("Microsoft.Network/virtualNetworks", ("virtualNetworkName",)),
    "operationalinsights:Workspace": ArmType("Microsoft.OperationalInsights/workspaces", ("workspaceName",)),
    "privatedns:PrivateZone": ArmType("Microsoft.Network/privateDnsZones", ("privateZoneName",)),
    "privatedns:VirtualNetworkLink": ArmType(
        "Microsoft.Network/privateDnsZones/virtualNetworkLinks", ("privateZoneName", "virtualNetworkLinkName")
    ),
    "redisenterprise:AccessPolicyAssignment": _redis(
        "/databases/accessPolicyAssignments", "databaseName", "accessPolicyAssignmentName"
    ),
    "redisenterprise:Database": _redis("/databases", "databaseName"),
    "redisenterprise:RedisEnterprise": _redis(""),
    "resources:ResourceGroup": ArmType(
        "Microsoft.Resources/resourceGroups", ("resourceGroupName",), scope="subscription"
    ),
    "storage:BlobContainer": _storage("/blobServices/containers", "'default'", "containerName"),
    "storage:BlobContainerImmutabilityPolicy": _storage(
        "/blobServices/containers/immutabilityPolicies",
        "'default'",
        "containerName",
        "immutabilityPolicyName",
    ),
    "storage:BlobServiceProperties": _storage("/blobServices", "blobServicesName"),
    "storage:ManagementPolicy": _storage("/managementPolicies", "managementPolicyName"),
    "storage:StorageAccount": _storage(""),
    "storage:Table": _storage("/tableServices/tables", "'default'", "tableName"),
    "web:AppServicePlan": ArmType("Microsoft.Web/serverfarms", ("name",)),
    "web:WebApp": _site(""),
    "web:WebAppFtpAllowed": _site("/basicPublishingCredentialsPolicies", "'ftp'"),
    "web:WebAppFtpAllowedSlot": _site("/slots/basicPublishingCredentialsPolicies", "slot", "'ftp'"),
    "web:WebAppScmAllowed": _site("/basicPublishingCredentialsPolicies", "'scm'"),
    "web:WebAppScmAllowedSlot": _site("/slots/basicPublishingCredentialsPolicies", "slot", "'scm'"),
    "web:WebAppSlot": _site("/slots", "slot"),
    "web:WebAppSlotConfigurationNames": _site("/config", "'slotConfigNames'"),
    "webpubsub:WebPubSub": ArmType("Microsoft.SignalRService/webPubSub", ("resourceName",)),
    "webpubsub:WebPubSubHub": ArmType("Microsoft.SignalRService/webPubSub/hubs", ("resourceName", "hubName")),
}


def arm_type(token: str, inputs: Mapping[str, object]) -> ArmType:
    """The ARM type of a resource with these inputs; raises KeyError if the table lacks the token."""
    kind = ARM_TYPES[token.removeprefix("azure-native:")]
    return dataclasses.replace(kind, type=kind.type.format_map(inputs)) if "{" in kind.type else kind
