"""Defines the rules as plain functions, without a library; each yields the violations of a resource."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from infra.settings.model import PLAN_SIZES
from infra.settings.regions import REGIONS

# Developers reach the services of this stack from their own machines; only Entra ID opens them.
OPEN_STACKS = frozenset({"dev"})
REQUIRED_TAGS = ("project", "stack", "owner", "cost-centre")
ALLOWED_REGIONS = frozenset({*REGIONS, "global"})
# A larger size needs a decision, and so a change here.
ALLOWED_SKUS: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "cdn:Profile": frozenset({"Standard_AzureFrontDoor", "Premium_AzureFrontDoor"}),
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
TAGGED = frozenset(
    {
        "applicationinsights:Component",
        "applicationinsights:WebTest",
        "applicationinsights:Workbook",
        "cdn:AFDEndpoint",
        "cdn:Profile",
        "dbforpostgresql:Server",
        "frontdoor:Policy",
        "keyvault:Secret",
        "keyvault:Vault",
        "managedidentity:UserAssignedIdentity",
        "monitor:ActionGroup",
        "monitor:ActivityLogAlert",
        "monitor:AutoscaleSetting",
        "monitor:MetricAlert",
        "monitor:ScheduledQueryRule",
        "network:NetworkSecurityGroup",
        "network:PrivateEndpoint",
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
        "cdn:AFDEndpoint": _PART,
        "cdn:AFDOrigin": _PART,
        "cdn:AFDOriginGroup": _PART,
        "cdn:Route": _PART,
        "cdn:SecurityPolicy": _PART,
        "consumption:Budget": _NOTHING,
        "dbforpostgresql:AdministratorsMicrosoftEntra": _PART,
        "dbforpostgresql:Configuration": _PART,
        "dbforpostgresql:Database": _PART,
        "dbforpostgresql:FirewallRule": _PART,
        "frontdoor:Policy": "Front Door's log says what it blocks",
        "keyvault:Secret": _PART,
        "managedidentity:UserAssignedIdentity": "the directory logs its sign-ins",
        "monitor:ActionGroup": _NOTHING,
        "monitor:ActivityLogAlert": _NOTHING,
        "monitor:DiagnosticSetting": _NOTHING,
        "monitor:MetricAlert": _NOTHING,
        "monitor:ScheduledQueryRule": _NOTHING,
        "network:PrivateDnsZoneGroup": _PART,
        "network:PrivateEndpoint": "it counts only bytes; each service logs its own requests",
        "privatedns:PrivateZone": "it counts only queries",
        "privatedns:VirtualNetworkLink": _PART,
        "redisenterprise:AccessPolicyAssignment": _PART,
        "resources:ResourceGroup": "the activity log says what changes in it",
        "storage:BlobContainer": _PART,
        "storage:Table": _PART,
        "web:WebAppFtpAllowed": _PART,
        "web:WebAppFtpAllowedSlot": _PART,
        "web:WebAppScmAllowed": _PART,
        "web:WebAppScmAllowedSlot": _PART,
        "web:WebAppSlotConfigurationNames": _PART,
        "webpubsub:WebPubSubHub": _PART,
    }
)


@dataclass(frozen=True, slots=True)
class Subject:
    """A resource as a rule sees it: `token` without the provider, such as `web:WebApp`.

    `depends_through` holds the URNs of the resources that each input depends on.
    """

    stack: str
    token: str
    name: str
    urn: str
    inputs: Mapping[str, Any]
    protect: bool
    depends_through: Mapping[str, frozenset[str]]

    def at(self, path: str) -> Any:
        """The input at a dotted path, None if there is none."""
        value: Any = self.inputs
        for key in path.split("."):
            value = value.get(key) if isinstance(value, Mapping) else None
        # In the policy pack a list is a proxy, which is not equal to any list.
        return list(value) if isinstance(value, Iterable) and not isinstance(value, str | Mapping) else value


type Rule = Callable[[Subject], Iterator[str]]
type StackRule = Callable[[Iterable[Subject]], Iterator[tuple[str, str]]]
# For each type: the path of an input, and its allowed values.
type Demands = Mapping[str, Mapping[str, tuple[object, ...]]]


def _unmet(subject: Subject, demands: Demands) -> Iterator[str]:
    for path, allowed in demands.get(subject.token, {}).items():
        value = subject.at(path)
        if value not in allowed:
            listed = " or ".join(str(item) for item in allowed)
            yield f"{path} must be {listed}, got {value}"


_OFF = ("Disabled",)
_SECURE_SITE = {
    "httpsOnly": (True,),
    "siteConfig.minTlsVersion": ("1.2", "1.3"),
    "siteConfig.scmMinTlsVersion": ("1.2", "1.3"),
    "siteConfig.ftpsState": ("Disabled",),
}
_TLS: Demands = {
    "cdn:Route": {"forwardingProtocol": ("HttpsOnly",), "supportedProtocols": (["Https"],)},
    "redisenterprise:Database": {"clientProtocol": ("Encrypted",)},
    "redisenterprise:RedisEnterprise": {"minimumTlsVersion": ("1.2", "1.3")},
    "storage:StorageAccount": {
        "enableHttpsTrafficOnly": (True,),
        "minimumTlsVersion": ("TLS1_2", "TLS1_3"),
    },
    "web:WebApp": _SECURE_SITE,
    "web:WebAppSlot": _SECURE_SITE,
}
_NO_KEYS: Demands = {
    "applicationinsights:Component": {"disableLocalAuth": (True,)},
    "dbforpostgresql:Server": {
        "authConfig.passwordAuth": _OFF,
        "authConfig.activeDirectoryAuth": ("Enabled",),
    },
    "keyvault:Vault": {"properties.enableRbacAuthorization": (True,)},
    "operationalinsights:Workspace": {"features.disableLocalAuth": (True,)},
    "redisenterprise:Database": {"accessKeysAuthentication": _OFF},
    "storage:StorageAccount": {"allowSharedKeyAccess": (False,), "isLocalUserEnabled": (False,)},
    "web:WebAppFtpAllowed": {"allow": (False,)},
    "web:WebAppFtpAllowedSlot": {"allow": (False,)},
    "web:WebAppScmAllowed": {"allow": (False,)},
    "web:WebAppScmAllowedSlot": {"allow": (False,)},
    "webpubsub:WebPubSub": {"disableLocalAuth": (True,), "disableAadAuth": (False, None)},
}
_NEVER_ANONYMOUS: Demands = {
    "storage:BlobContainer": {"publicAccess": ("None", None)},
    "storage:StorageAccount": {"allowBlobPublicAccess": (False,)},
}
_PRIVATE: Demands = {
    "dbforpostgresql:Server": {"network.publicNetworkAccess": _OFF},
    "keyvault:Vault": {
        "properties.publicNetworkAccess": _OFF,
        "properties.networkAcls.defaultAction": ("Deny",),
    },
    "redisenterprise:RedisEnterprise": {"publicNetworkAccess": _OFF},
    "storage:StorageAccount": {"publicNetworkAccess": _OFF, "networkRuleSet.defaultAction": ("Deny",)},
}
# A parameter of a server is a resource of its own; `off` would allow connections without TLS.
_SECURE_PARAMETERS = {
    "require_secure_transport": ("on",),
    "ssl_min_protocol_version": ("TLSv1.2", "TLSv1.3"),
}


def tags_are_complete(subject: Subject) -> Iterator[str]:
    """Every resource that takes tags has tags that name its owner and its cost centre."""
    if subject.token in TAGGED:
        tags = subject.at("tags") or {}
        for tag in REQUIRED_TAGS:
            if not tags.get(tag):
                yield f"tag {tag} is missing"
        if tags.get("stack", subject.stack) != subject.stack:
            yield f"tag stack must be {subject.stack}, got {tags['stack']}"


def region_is_allowed(subject: Subject) -> Iterator[str]:
    """Every resource is in one of the regions that settings/regions.py lists, or global."""
    location = subject.at("location")
    if location is not None and str(location).replace(" ", "").lower() not in ALLOWED_REGIONS:
        yield f"region {location} is not allowed"


def sku_is_allowed(subject: Subject) -> Iterator[str]:
    """Every size is one of ALLOWED_SKUS."""
    allowed = ALLOWED_SKUS.get(subject.token)
    sku = subject.at("sku.name")
    if allowed is not None and sku not in allowed:
        yield f"SKU {sku} is not allowed"


def transport_is_encrypted(subject: Subject) -> Iterator[str]:
    """Every connection needs TLS 1.2 or newer, and FTP is off."""
    yield from _unmet(subject, _TLS)
    if subject.token == "dbforpostgresql:Configuration":  # noqa: S105 - a type
        allowed = _SECURE_PARAMETERS.get(str(subject.at("configurationName")))
        if allowed and subject.at("value") not in allowed:
            name, value = subject.at("configurationName"), subject.at("value")
            yield f"{name} must be {' or '.join(allowed)}, got {value}"


def no_shared_keys(subject: Subject) -> Iterator[str]:
    """Only Entra ID opens a service: account keys, passwords and publishing credentials are off."""
    yield from _unmet(subject, _NO_KEYS)


def no_public_data_plane(subject: Subject) -> Iterator[str]:
    """No data is public; outside OPEN_STACKS, public addresses serve only Front Door and clients."""
    yield from _unmet(subject, _NEVER_ANONYMOUS)
    if subject.stack in OPEN_STACKS:
        return
    yield from _unmet(subject, _PRIVATE)
    if subject.token == "dbforpostgresql:FirewallRule":  # noqa: S105 - a type
        yield "the firewall rule opens Postgres to public addresses"
    if subject.token == "webpubsub:WebPubSub":  # noqa: S105 - a type
        # Bots connect over the internet; everything else must use the private endpoint.
        open_to_all = _publicly_allowed(subject)
        if open_to_all - {"ClientConnection"}:
            yield f"public addresses may use {', '.join(sorted(open_to_all - {'ClientConnection'}))}"
    if subject.token in {"web:WebApp", "web:WebAppSlot"} and _answers_everyone(subject):
        yield "the app accepts requests that did not pass its Front Door"


_REQUESTS = frozenset({"ClientConnection", "RESTAPI", "ServerConnection", "Trace"})


def _publicly_allowed(subject: Subject) -> frozenset[str]:
    if subject.at("publicNetworkAccess") == "Disabled":
        return frozenset()
    network = subject.at("networkACLs.publicNetwork") or {}
    if subject.at("networkACLs.defaultAction") == "Deny":
        return frozenset(network.get("allow") or ())
    return _REQUESTS - frozenset(network.get("deny") or ())


def _answers_everyone(subject: Subject) -> bool:
    return bool(
        subject.at("publicNetworkAccess") != "Disabled"
        and subject.at("siteConfig.ipSecurityRestrictionsDefaultAction") != "Deny"
    )


def data_is_protected(subject: Subject) -> Iterator[str]:
    """Every resource that holds data is protected from deletion by an update."""
    if subject.token in HOLDS_DATA and not subject.protect:
        yield "the resource holds data and must be protected"


def diagnostics_everywhere(subjects: Iterable[Subject]) -> Iterator[tuple[str, str]]:
    """Every resource sends logs or metrics to the workspace, unless NOT_DIAGNOSED lists its type.

    Yields URN and text of each violation.
    """
    everything = list(subjects)
    diagnosed: set[str] = set()
    for subject in everything:
        if subject.token == "monitor:DiagnosticSetting" and subject.at("workspaceId"):  # noqa: S105 - a type
            diagnosed |= subject.depends_through.get("resourceUri", frozenset())
    for subject in everything:
        if subject.token not in NOT_DIAGNOSED and subject.urn not in diagnosed:
            yield subject.urn, f"{subject.name} must have a diagnostic setting"


RULES: Mapping[str, Rule] = MappingProxyType(
    {
        "tags": tags_are_complete,
        "regions": region_is_allowed,
        "skus": sku_is_allowed,
        "tls": transport_is_encrypted,
        "no-shared-keys": no_shared_keys,
        "no-public-data-plane": no_public_data_plane,
        "protected-data": data_is_protected,
    }
)
STACK_RULES: Mapping[str, StackRule] = MappingProxyType({"diagnostics": diagnostics_everywhere})
