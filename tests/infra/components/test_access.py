"""Who reaches the app, its staging slot and its deployment site."""

from typing import Any

import pytest

from infra.offline.recording import Recording
from infra.settings.reader import ConfigurationError
from tests.infra.recording import VARIANTS, recorded, recorded_with, settings_of

SITE = "Microsoft.Web/sites"
SLOT = f"{SITE}/slots"
PUBLIC = {"operations_machine": "false", "private_network": "false"}


@pytest.fixture(params=VARIANTS)
def stack(request: pytest.FixtureRequest) -> Recording:
    return recorded(request.param)


def allowed(rules: list[dict[str, Any]]) -> list[str]:
    """Addresses and last words of subnets that the rules let in."""
    assert {rule["action"] for rule in rules} <= {"Allow"}
    return [rule.get("ipAddress") or rule["vnetSubnetResourceId"].rsplit("/", 1)[-1] for rule in rules]


def test_the_staging_slot_answers_machines_that_deploy_alone() -> None:
    stack = recorded_with("prod", deployer_addresses="203.0.113.7/32, 198.51.100.0/24")
    slot = stack.only(SLOT).inputs["siteConfig"]
    machines = ["203.0.113.7/32", "198.51.100.0/24", "operations"]
    assert allowed(slot["ipSecurityRestrictions"]) == machines
    assert slot["ipSecurityRestrictionsDefaultAction"] == "Deny"
    app = stack.only(SITE).inputs["siteConfig"]
    for site in (app, slot):
        assert allowed(site["scmIpSecurityRestrictions"]) == machines
        assert site["scmIpSecurityRestrictionsDefaultAction"] == "Deny"
    assert allowed(app["ipSecurityRestrictions"]) == ["AzureFrontDoor.Backend", "AzureWebPubSub"]


def test_a_second_region_answers_its_own_smoke_test_too() -> None:
    """Front Door sends nothing there before a promotion."""
    app = recorded("standby").only(SITE).inputs["siteConfig"]
    front, hub, *machines = allowed(app["ipSecurityRestrictions"])
    assert (front, hub) == ("AzureFrontDoor.Backend", "AzureWebPubSub")
    assert machines == allowed(app["scmIpSecurityRestrictions"])
    assert machines[-1] == "operations"
    assert app["ipSecurityRestrictionsDefaultAction"] == "Deny"


@pytest.mark.parametrize("variant", ["prod-subnet", "prod"])
def test_a_private_slot_answers_its_own_smoke_test(variant: str) -> None:
    """Without addresses the slot would refuse everybody, and no version could pass its smoke test."""
    stack = recorded(variant)
    network = stack.only("Microsoft.Network/virtualNetworks")
    subnet = f"{network.id}/subnets/operations"
    for site, rules in ((SLOT, "ipSecurityRestrictions"), (SITE, "scmIpSecurityRestrictions")):
        found = [each.get("vnetSubnetResourceId") for each in stack.only(site).inputs["siteConfig"][rules]]
        assert subnet in found
    (operations,) = (each for each in network.inputs["subnets"] if each["name"] == "operations")
    # A rule that names a subnet works only if the subnet has the endpoint of the service.
    assert operations["serviceEndpoints"] == [{"service": "Microsoft.Web"}]


def test_no_two_rules_have_a_priority_or_a_name(stack: Recording) -> None:
    for site in (*stack.of_type(SITE), *stack.of_type(SLOT)):
        for rules in ("ipSecurityRestrictions", "scmIpSecurityRestrictions"):
            found = site.inputs["siteConfig"][rules]
            assert len({each["priority"] for each in found}) == len(found)
            assert len({each["name"] for each in found}) == len(found)


def test_a_slot_that_nobody_could_test_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="deployer_addresses must name the machines that deploy"):
        settings_of("prod", deployer_addresses="", **PUBLIC)
    settings_of("prod", **PUBLIC)
    settings_of("prod", deployer_addresses="", edge="none", **PUBLIC)
    settings_of("prod", deployer_addresses="", plan="flex", **PUBLIC)
    settings_of("prod", deployer_addresses="")


def test_a_public_deployment_site_without_named_machines_asks_only_for_entra_id() -> None:
    site = recorded_with("dev", deployer_addresses="").only(SITE).inputs["siteConfig"]
    assert site["scmIpSecurityRestrictions"] == []
    assert site["scmIpSecurityRestrictionsDefaultAction"] == "Allow"
