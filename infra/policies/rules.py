"""Defines the rules as plain functions, without a library; each yields the violations of a resource."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address
from types import MappingProxyType
from typing import Any

from infra.policies.tables import (
    ALLOWED_REGIONS,
    ALLOWED_SKUS,
    FLEX_REFUSES,
    FLEX_REFUSES_SETTINGS,
    HOLDS_DATA,
    MOST_ADMITTED_ADDRESSES,
    NOT_DIAGNOSED,
    OPEN_STACKS,
    PUBLIC_SERVICE_STACKS,
    REQUIRED_TAGS,
    TAGGED,
    UNPROTECTED_STACKS,
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


_SITES = frozenset({"web:WebApp", "web:WebAppSlot"})
_OFF = ("Disabled",)
_SECURE_SITE = {
    "httpsOnly": (True,),
    "siteConfig.minTlsVersion": ("1.2", "1.3"),
    "siteConfig.scmMinTlsVersion": ("1.2", "1.3"),
}
# Flex Consumption has no FTP, and refuses to be told.
_NO_FTP = {"siteConfig.ftpsState": ("Disabled",)}
_TLS: Demands = {
    "cdn:AFDCustomDomain": {"tlsSettings.minimumTlsVersion": ("TLS12", "TLS13")},
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
    "compute:VirtualMachine": {"osProfile.linuxConfiguration.disablePasswordAuthentication": (True,)},
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
    sku = subject.at("hardwareProfile.vmSize") or subject.at("sku.name")
    if allowed is not None and sku not in allowed:
        yield f"SKU {sku} is not allowed"


def transport_is_encrypted(subject: Subject) -> Iterator[str]:
    """Every connection needs TLS 1.2 or newer, and FTP is off."""
    yield from _unmet(subject, _TLS)
    if subject.token in _SITES and not _is_flex(subject):
        yield from _unmet(subject, {subject.token: _NO_FTP})
    if subject.token == "dbforpostgresql:Configuration":  # noqa: S105 - a type
        allowed = _SECURE_PARAMETERS.get(str(subject.at("configurationName")))
        if allowed and subject.at("value") not in allowed:
            name, value = subject.at("configurationName"), subject.at("value")
            yield f"{name} must be {' or '.join(allowed)}, got {value}"


def no_shared_keys(subject: Subject) -> Iterator[str]:
    """Only Entra ID opens a service: account keys, passwords and publishing credentials are off."""
    yield from _unmet(subject, _NO_KEYS)


def no_public_data_plane(subject: Subject) -> Iterator[str]:
    """No data is public; outside OPEN_STACKS, public addresses serve only Front Door and clients.

    In PUBLIC_SERVICE_STACKS they also serve the app and machines that deploy, if Entra ID lets them in.
    """
    yield from _unmet(subject, _NEVER_ANONYMOUS)
    if subject.stack in OPEN_STACKS:
        return
    if subject.stack in PUBLIC_SERVICE_STACKS:
        yield from _admits_many(subject)
    else:
        yield from _private_only(subject)
    if subject.token in _SITES and _answers_everyone(subject):
        yield "the app accepts requests that did not pass its Front Door"


def _private_only(subject: Subject) -> Iterator[str]:
    yield from _unmet(subject, _PRIVATE)
    if subject.token == "dbforpostgresql:FirewallRule":  # noqa: S105 - a type
        yield "the firewall rule opens Postgres to public addresses"
    if subject.token == "webpubsub:WebPubSub":  # noqa: S105 - a type
        # Bots connect over the internet; everything else must use the private endpoint.
        open_to_all = _publicly_allowed(subject)
        if open_to_all - {"ClientConnection"}:
            yield f"public addresses may use {', '.join(sorted(open_to_all - {'ClientConnection'}))}"
    if subject.token == "network:NetworkInterface":  # noqa: S105 - a type
        for address in subject.at("ipConfigurations") or ():
            if address.get("publicIPAddress"):
                yield "the machine has a public address"


def _admits_many(subject: Subject) -> Iterator[str]:
    if subject.token != "dbforpostgresql:FirewallRule":  # noqa: S105 - a type
        return
    first, last = (IPv4Address(subject.at(name)) for name in ("startIpAddress", "endIpAddress"))
    admitted = int(last) - int(first) + 1
    if admitted > MOST_ADMITTED_ADDRESSES:
        yield f"the firewall rule admits {admitted:,} addresses, more than {MOST_ADMITTED_ADDRESSES}"


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
    """Every resource that holds data is protected from deletion, outside UNPROTECTED_STACKS."""
    if subject.stack in UNPROTECTED_STACKS:
        return
    if subject.token in HOLDS_DATA and not subject.protect:
        yield "the resource holds data and must be protected"
    purgeable = subject.token == "keyvault:Vault" and not subject.at("properties.enablePurgeProtection")  # noqa: S105
    if purgeable:
        yield "properties.enablePurgeProtection must be True, because a purged pepper voids its API keys"


def flex_accepts(subject: Subject) -> Iterator[str]:
    """A site on Flex Consumption has no input and no setting that Azure refuses there."""
    if subject.token not in _SITES or not _is_flex(subject):
        return
    for path in sorted(FLEX_REFUSES):
        if subject.at(path) is not None:
            yield f"Flex Consumption refuses {path}"
    settings = {str(setting["name"]) for setting in subject.at("siteConfig.appSettings") or ()}
    for name in sorted(settings & FLEX_REFUSES_SETTINGS):
        yield f"Flex Consumption refuses the setting {name}"


def _is_flex(subject: Subject) -> bool:
    return subject.at("functionAppConfig") is not None


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
        "flex": flex_accepts,
    }
)
STACK_RULES: Mapping[str, StackRule] = MappingProxyType({"diagnostics": diagnostics_everywhere})
