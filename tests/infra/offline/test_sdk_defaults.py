"""Judges every value that Pulumi's SDK adds to the program's inputs by itself, because Azure may refuse it.

The schema has defaults that the documents of Azure call defaults, and that some plans and tiers refuse.
"""

import re
import sys
from collections.abc import Iterator
from typing import Any

import pulumi
import pytest
from pulumi import _types

from infra.offline.recording import record
from tests.infra.recording import VARIANTS, recorded, settings_of

SDK = "pulumi_azure_native."
_AS_AZURE = "the service's own default, in every tier"
_ON_LINUX = "for Windows; Azure ignores it on a dedicated Linux plan, and Flex Consumption gets none"
# The class of arguments, the argument and its value, with the reason why Azure accepts it.
JUDGED: dict[tuple[str, str, object], str] = {
    ("applicationinsights.Component", "flow_type", "Bluefield"): _AS_AZURE,
    ("applicationinsights.Component", "public_network_access_for_ingestion", "Enabled"): _AS_AZURE,
    ("applicationinsights.Component", "public_network_access_for_query", "Enabled"): _AS_AZURE,
    ("applicationinsights.Component", "request_source", "rest"): _AS_AZURE,
    ("dbforpostgresql.HighAvailability", "standby_availability_zone", ""): "Azure chooses the zone",
    ("dbforpostgresql.Server", "availability_zone", ""): "Azure chooses the zone",
    ("keyvault.VaultProperties", "enabled_for_deployment", False): _AS_AZURE,
    ("keyvault.VaultProperties", "enabled_for_disk_encryption", False): _AS_AZURE,
    ("keyvault.VaultProperties", "enabled_for_template_deployment", False): _AS_AZURE,
    ("monitor.WebhookReceiver", "use_aad_auth", False): _AS_AZURE,
    ("network.BastionHost", "disable_copy_paste", False): _AS_AZURE,
    ("network.BastionHost", "enable_file_copy", False): _AS_AZURE,
    ("network.BastionHost", "enable_ip_connect", False): _AS_AZURE,
    ("network.BastionHost", "enable_kerberos", False): _AS_AZURE,
    ("network.BastionHost", "enable_private_only_bastion", False): _AS_AZURE,
    ("network.BastionHost", "enable_session_recording", False): _AS_AZURE,
    ("network.BastionHost", "enable_shareable_link", False): _AS_AZURE,
    ("network.Subnet", "private_endpoint_network_policies", "Disabled"): "no endpoint is in such a subnet",
    ("network.Subnet", "private_link_service_network_policies", "Enabled"): _AS_AZURE,
    ("network.VirtualNetwork", "enable_ddos_protection", False): _AS_AZURE,
    ("network.VirtualNetwork", "enable_vm_protection", False): _AS_AZURE,
    ("web.SiteConfig", "local_my_sql_enabled", False): _ON_LINUX,
    ("web.SiteConfig", "net_framework_version", "v4.6"): _ON_LINUX,
    ("web.WebApp", "hyper_v", False): _ON_LINUX,
    ("web.WebApp", "is_xenon", False): _ON_LINUX,
    ("web.WebApp", "scm_site_also_stopped", False): _AS_AZURE,
    ("web.WebAppSlot", "hyper_v", False): _ON_LINUX,
    ("web.WebAppSlot", "is_xenon", False): _ON_LINUX,
    ("web.WebAppSlot", "scm_site_also_stopped", False): _AS_AZURE,
    ("webpubsub.WebPubSub", "region_endpoint_enabled", "Enabled"): _AS_AZURE,
    ("webpubsub.WebPubSub", "resource_stopped", "false"): _AS_AZURE,
    ("webpubsub.WebPubSubHubProperties", "web_socket_keep_alive_interval_in_seconds", 20): _AS_AZURE,
}

# Variants that together have every type of resource, in each of its plans and tiers.
DIFFERENT = ("dev", "premium", "prod-flex", "prod-two", "rehearse", "standby")

type Added = dict[tuple[str, str], object]


def _loaded() -> Iterator[type]:
    """The SDK's classes of arguments and of resources that recordings have loaded."""
    modules = [module for name, module in list(sys.modules.items()) if name.startswith(SDK)]
    for each in {value for module in modules for value in vars(module).values() if isinstance(value, type)}:
        if each.__module__.startswith(SDK):
            yield each


def _name(kind: type) -> str:
    name = kind.__name__.removesuffix("Args").removesuffix("Init")
    return f"{kind.__module__.removeprefix(SDK).split('.')[0]}.{name}"


@pytest.fixture
def added(monkeypatch: pytest.MonkeyPatch) -> Added:
    """What the SDK adds while all stacks are recorded."""
    found: Added = {}
    given_to: dict[str, set[str]] = {}
    recorded("prod")  # loads the SDK's modules
    recorded("dev")

    def watch_arguments(kind: Any) -> None:
        original = kind.__init__

        def watching(self: Any, *positional: Any, **given: Any) -> None:
            original(self, *positional, **given)
            if type(self) is kind:
                absent = {name: value for name, value in vars(self).items() if given.get(name) is None}
                found.update(
                    {(_name(kind), name): value for name, value in absent.items() if value is not None}
                )

        monkeypatch.setattr(kind, "__init__", watching)

    def watch_resource(kind: Any) -> None:
        original = kind._internal_init

        def watching(self: Any, resource_name: str, /, *positional: Any, **given: Any) -> None:
            given_to[resource_name] = {
                key.replace("_", "") for key, value in given.items() if value is not None
            }
            original(self, resource_name, *positional, **given)

        monkeypatch.setattr(kind, "_internal_init", watching)

    for kind in _loaded():
        if kind.__name__.endswith("Args") and _types.is_input_type(kind):
            watch_arguments(kind)
        elif issubclass(kind, pulumi.CustomResource) and hasattr(kind, "_internal_init"):
            watch_resource(kind)
    for stack, changed in (VARIANTS[variant] for variant in DIFFERENT):
        for resource in record(settings_of(stack, **changed)).resources:
            kind_name = resource.token.removeprefix("azure-native:").replace(":", ".")
            for key, value in resource.inputs.items():
                if key.lower() not in given_to[resource.name]:
                    found[kind_name, re.sub("([A-Z])", r"_\1", key).lower()] = value
    return found


def test_every_default_of_the_sdk_is_judged(added: Added) -> None:
    found = {(kind, name, value) for (kind, name), value in added.items()}
    assert found - JUDGED.keys() == set(), "does Azure accept it in each of our plans and tiers?"
    assert JUDGED.keys() - found == set(), "the SDK does not add it any more"
