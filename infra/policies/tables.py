"""Lists what the rules allow and demand: regions, sizes, tags, and which types hold data or have logs."""

from collections.abc import Mapping
from types import MappingProxyType

from infra.settings.model import MACHINE_SIZES, PLAN_SIZES
from infra.settings.regions import REGIONS

# Developers reach the services of this stack from their own machines; only Entra ID opens them.
OPEN_STACKS = frozenset({"dev"})
# The services of these stacks have public addresses too, which only Entra ID opens, because of the price
# of private endpoints. But requests must pass Front Door, and Postgres admits only addresses of Azure (a
# rule from 0.0.0.0 to 0.0.0.0) and a few others.
PUBLIC_SERVICE_STACKS = frozenset({"lean"})
# A firewall rule of Postgres in such a stack has at most this many addresses.
MOST_ADMITTED_ADDRESSES = 256
REQUIRED_TAGS = ("project", "stack", "owner", "cost-centre")
ALLOWED_REGIONS = frozenset({*REGIONS, "global"})
# A larger size needs a decision, and so a change here.
ALLOWED_SKUS: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "cdn:Profile": frozenset({"Standard_AzureFrontDoor", "Premium_AzureFrontDoor"}),
        "compute:VirtualMachine": frozenset(MACHINE_SIZES),
        "dbforpostgresql:Server": frozenset(
            {
                *("Standard_B1ms", "Standard_B2s", "Standard_B2ms"),
                *(
                    f"Standard_{family}{size}ds_{generation}"
                    for family in "DE"
                    for size in (2, 4, 8, 16)
                    for generation in ("v4", "v5")
                ),
                *(f"Standard_D{size}ads_v5" for size in (2, 4, 8, 16)),
            }
        ),
        # Each costs money by the hour; lower tiers of a Bastion have no tunnel.
        "network:BastionHost": frozenset({"Standard"}),
        "redisenterprise:RedisEnterprise": frozenset(
            {f"Balanced_B{size}" for size in (0, 1, 3, 5, 10, 20)}
            | {f"MemoryOptimized_M{size}" for size in (10, 20)}
        ),
        "storage:StorageAccount": frozenset(
            {"Standard_LRS", "Standard_ZRS", "Standard_GRS", "Standard_GZRS", "Standard_RAGZRS"}
        ),
        "web:AppServicePlan": frozenset({"FC1", *PLAN_SIZES}),
        "webpubsub:WebPubSub": frozenset({"Free_F1", "Standard_S1", "Premium_P1"}),
    }
)
# Destroyed as a whole every week, so nothing in it is protected.
UNPROTECTED_STACKS = frozenset({"rehearse"})
# Inputs of a site for which Azure answers 400 (51021) on Flex Consumption, or which Microsoft's list of "Flex
# Consumption plan deprecations" (functions-app-settings) says to leave out. Named in answers of Azure:
# FtpsState, FunctionAppScaleLimit (azure-functions-host #10643), FunctionsRuntimeScaleMonitoringEnabled,
# LinuxFxVersion (terraform-azurerm-avm-res-web-site #283), NetFrameworkVersion (pulumi-azure-native #4168),
# PreWarmedInstanceCount, Use32BitWorkerProcess (azure-cli #31414), and the setting FUNCTIONS_WORKER_RUNTIME.
# Some regions refuse them and others do not yet.
FLEX_REFUSES = frozenset(
    {
        "containerSize",
        "hyperV",
        "isXenon",
        "outboundVnetRouting",
        "reserved",
        "siteConfig.alwaysOn",
        "siteConfig.ftpsState",
        "siteConfig.functionAppScaleLimit",
        "siteConfig.functionsRuntimeScaleMonitoringEnabled",
        "siteConfig.javaVersion",
        "siteConfig.limits",
        "siteConfig.linuxFxVersion",
        "siteConfig.localMySqlEnabled",
        "siteConfig.minimumElasticInstanceCount",
        "siteConfig.netFrameworkVersion",
        "siteConfig.powerShellVersion",
        "siteConfig.preWarmedInstanceCount",
        "siteConfig.use32BitWorkerProcess",
        "siteConfig.vnetRouteAllEnabled",
        "siteConfig.windowsFxVersion",
    }
)
FLEX_REFUSES_SETTINGS = frozenset(
    {
        "ENABLE_ORYX_BUILD",
        "FUNCTIONS_EXTENSION_VERSION",
        "FUNCTIONS_MAX_HTTP_CONCURRENCY",
        "FUNCTIONS_WORKER_DYNAMIC_CONCURRENCY_ENABLED",
        "FUNCTIONS_WORKER_PROCESS_COUNT",
        "FUNCTIONS_WORKER_RUNTIME",
        "FUNCTIONS_WORKER_RUNTIME_VERSION",
        "SCM_DO_BUILD_DURING_DEPLOYMENT",
        "TZ",
        "WEBSITE_CONTENTAZUREFILECONNECTIONSTRING",
        "WEBSITE_CONTENTOVERVNET",
        "WEBSITE_CONTENTSHARE",
        "WEBSITE_DNS_SERVER",
        "WEBSITE_MAX_DYNAMIC_APPLICATION_SCALE_OUT",
        "WEBSITE_NODE_DEFAULT_VERSION",
        "WEBSITE_RUN_FROM_PACKAGE",
        "WEBSITE_SKIP_CONTENTSHARE_VALIDATION",
        "WEBSITE_TIME_ZONE",
        "WEBSITE_VNET_ROUTE_ALL",
    }
)
TAGGED = frozenset(
    {
        "applicationinsights:Component",
        "applicationinsights:WebTest",
        "applicationinsights:Workbook",
        "cdn:AFDEndpoint",
        "cdn:Profile",
        "compute:VirtualMachine",
        "compute:VirtualMachineExtension",
        "dbforpostgresql:Server",
        "frontdoor:Policy",
        "keyvault:Secret",
        "keyvault:Vault",
        "logic:Workflow",
        "managedidentity:UserAssignedIdentity",
        "monitor:ActionGroup",
        "monitor:ActivityLogAlert",
        "monitor:AutoscaleSetting",
        "monitor:MetricAlert",
        "monitor:ScheduledQueryRule",
        "network:BastionHost",
        "network:NatGateway",
        "network:NetworkInterface",
        "network:NetworkSecurityGroup",
        "network:PrivateEndpoint",
        "network:PublicIPAddress",
        "network:VirtualNetwork",
        "operationalinsights:Workspace",
        "privatedns:PrivateZone",
        "privatedns:VirtualNetworkLink",
        "redisenterprise:RedisEnterprise",
        "resources:ResourceGroup",
        "storage:StorageAccount",
        "web:AppServicePlan",
        "web:WebApp",
        "web:WebAppSlot",
        "webpubsub:WebPubSub",
    }
)
# A policy sees whether a resource is protected, but not `retain_on_delete`, which tests/infra/test_stacks.py
# checks.
HOLDS_DATA = frozenset(
    {
        "dbforpostgresql:Database",
        "dbforpostgresql:Server",
        "keyvault:Secret",
        "keyvault:Vault",
        "operationalinsights:Workspace",
        "resources:ResourceGroup",
        "storage:StorageAccount",
        "storage:Table",
    }
)
_PART = "the resource that it is part of has its logs and metrics"
_NOTHING = "Azure has neither logs nor metrics of it"
# Every other type sends its logs or metrics to the workspace.
NOT_DIAGNOSED: Mapping[str, str] = MappingProxyType(
    {
        "applicationinsights:Component": "its data is in the workspace already",
        "applicationinsights:WebTest": "its results are in the workspace already",
        "applicationinsights:Workbook": _NOTHING,
        "authorization:RoleAssignment": "the activity log says who made and removed it",
        "cdn:AFDCustomDomain": _PART,
        "cdn:AFDEndpoint": _PART,
        "cdn:AFDOrigin": _PART,
        "cdn:AFDOriginGroup": _PART,
        "cdn:Route": _PART,
        "cdn:Rule": _PART,
        "cdn:RuleSet": _PART,
        "cdn:SecurityPolicy": _PART,
        "compute:VirtualMachine": "the directory logs its sign-ins, and the activity log its run commands",
        "compute:VirtualMachineExtension": _PART,
        "consumption:Budget": _NOTHING,
        "dbforpostgresql:AdministratorsMicrosoftEntra": _PART,
        "dbforpostgresql:Configuration": _PART,
        "dbforpostgresql:Database": _PART,
        "dbforpostgresql:FirewallRule": _PART,
        "dbforpostgresql:VirtualEndpoint": _PART,
        "dns:RecordSet": "the zone counts its queries",
        "frontdoor:Policy": "Front Door's log says what it blocks",
        "keyvault:Secret": _PART,
        "managedidentity:UserAssignedIdentity": "the directory logs its sign-ins",
        "monitor:ActionGroup": _NOTHING,
        "monitor:ActivityLogAlert": _NOTHING,
        "monitor:DiagnosticSetting": _NOTHING,
        "monitor:MetricAlert": _NOTHING,
        "monitor:ScheduledQueryRule": _NOTHING,
        "network:NatGateway": "it counts only bytes and connections",
        "network:NetworkInterface": _PART,
        "network:PrivateDnsZoneGroup": _PART,
        "network:PrivateEndpoint": "it counts only bytes; each service logs its own requests",
        "network:PublicIPAddress": "the resource that uses it has its logs",
        "privatedns:PrivateZone": "it counts only queries",
        "privatedns:VirtualNetworkLink": _PART,
        "redisenterprise:AccessPolicyAssignment": _PART,
        "resources:ResourceGroup": "the activity log says what changes in it",
        "storage:BlobContainer": _PART,
        "storage:BlobContainerImmutabilityPolicy": _PART,
        "storage:ManagementPolicy": _PART,
        "storage:Table": _PART,
        "web:WebAppFtpAllowed": _PART,
        "web:WebAppFtpAllowedSlot": _PART,
        "web:WebAppScmAllowed": _PART,
        "web:WebAppScmAllowedSlot": _PART,
        "web:WebAppSlotConfigurationNames": _PART,
        "webpubsub:WebPubSubHub": _PART,
    }
)
