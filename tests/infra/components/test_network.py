"""The private network: closed public addresses, an endpoint and a name for every service, ruled subnets."""

import ipaddress

import pytest

from infra.components.network import ZONES
from infra.offline.recording import Recording
from tests.infra.recording import VARIANTS, recorded


@pytest.fixture(params=VARIANTS)
def stack(request: pytest.FixtureRequest) -> Recording:
    return recorded(request.param)


def test_private_stacks_close_every_public_data_plane(stack: Recording) -> None:
    private = stack.settings.network.private
    wanted = "Disabled" if private else "Enabled"
    accounts = stack.of_type("Microsoft.Storage/storageAccounts")
    own = 2 if stack.settings.primary is None else 1
    assert [each.inputs["publicNetworkAccess"] for each in accounts] == [wanted] * own
    vault = stack.only("Microsoft.KeyVault/vaults")
    assert vault.inputs["properties"]["publicNetworkAccess"] == wanted
    assert stack.only("Microsoft.Cache/redisEnterprise").inputs["publicNetworkAccess"] == wanted
    postgres = stack.only("Microsoft.DBforPostgreSQL/flexibleServers")
    assert postgres.inputs["network"] == {"publicNetworkAccess": wanted}
    firewall = stack.of_type("Microsoft.DBforPostgreSQL/flexibleServers/firewallRules")
    assert bool(firewall) is not private


def test_private_endpoints_reach_every_service_and_resolve(stack: Recording) -> None:
    endpoints = stack.of_type("Microsoft.Network/privateEndpoints")
    if not stack.settings.network.private:
        assert not endpoints
        assert not stack.of_type("Microsoft.Network/privateDnsZones")
        assert not stack.of_type("Microsoft.Network/virtualNetworks")
        return
    network = stack.only("Microsoft.Network/virtualNetworks")
    reached = set()
    for endpoint in endpoints:
        (connection,) = endpoint.inputs["privateLinkServiceConnections"]
        target_id = connection["privateLinkServiceId"]
        (group,) = connection["groupIds"]
        primary = stack.settings.primary
        shared = primary is not None and target_id == primary.storage_id
        reached.add(("data-storage" if shared else stack.by_id(target_id).name, group))
        assert endpoint.inputs["subnet"]["id"] == f"{network.id}/subnets/endpoints"
        (names,) = (
            each
            for each in stack.of_type("Microsoft.Network/privateEndpoints/privateDnsZoneGroups")
            if each.inputs["privateEndpointName"] == endpoint.own_name
        )
        (zone,) = names.inputs["privateDnsZoneConfigs"]
        expected = next(zone_name for zone_name, zone_group in ZONES.values() if zone_group == group)
        assert stack.by_id(zone["privateDnsZoneId"]).own_name == expected
    assert reached == {
        ("postgres", "postgresqlServer"),
        ("redis", "redisEnterprise"),
        ("vault", "vault"),
        ("webpubsub", "webpubsub"),
        ("data-storage", "table"),
        ("data-storage", "blob"),
        ("host-storage", "blob"),
        ("host-storage", "queue"),
        ("host-storage", "table"),
    }


def test_every_private_zone_is_linked_to_the_network(stack: Recording) -> None:
    zones = {each.own_name for each in stack.of_type("Microsoft.Network/privateDnsZones")}
    links = stack.of_type("Microsoft.Network/privateDnsZones/virtualNetworkLinks")
    assert {each.inputs["privateZoneName"] for each in links} == zones
    for link in links:
        network = stack.only("Microsoft.Network/virtualNetworks")
        assert link.inputs["virtualNetwork"]["id"] == network.id
        assert link.inputs["registrationEnabled"] is False


def test_zones_are_azure_s() -> None:
    assert {zone for zone, _ in ZONES.values()} == {
        "privatelink.blob.core.windows.net",
        "privatelink.queue.core.windows.net",
        "privatelink.table.core.windows.net",
        "privatelink.vaultcore.azure.net",
        "privatelink.postgres.database.azure.com",
        "privatelink.redis.azure.net",
        "privatelink.webpubsub.azure.com",
    }


def test_subnets_are_apart_and_ruled() -> None:
    stack = recorded("prod")
    network = stack.only("Microsoft.Network/virtualNetworks")
    subnets = {each["name"]: each for each in network.inputs["subnets"]}
    ranges = [ipaddress.IPv4Network(each["addressPrefix"]) for each in subnets.values()]
    space = ipaddress.IPv4Network(network.inputs["addressSpace"]["addressPrefixes"][0])
    assert all(each.subnet_of(space) for each in ranges)
    assert not any(a.overlaps(b) for a in ranges for b in ranges if a is not b)
    groups = {stack.by_id(each["networkSecurityGroup"]["id"]).own_name for each in subnets.values()}
    assert len(groups) == 3
    assert subnets["app"]["delegations"] == [{"name": "app", "serviceName": "Microsoft.Web/serverFarms"}]
    assert subnets["endpoints"]["privateEndpointNetworkPolicies"] == "Enabled"
    endpoints = stack.by_id(subnets["endpoints"]["networkSecurityGroup"]["id"])
    allow, deny = endpoints.inputs["securityRules"]
    assert allow["sourceAddressPrefixes"] == [
        subnets["app"]["addressPrefix"],
        subnets["operations"]["addressPrefix"],
    ]
    assert set(allow["destinationPortRanges"]) == {"443", "5432", "6432", "10000"}
    assert (deny["access"], deny["sourceAddressPrefix"], deny["destinationPortRange"]) == ("Deny", "*", "*")
    assert allow["priority"] < deny["priority"]


def test_the_app_reaches_the_services_and_nothing_else_in_the_network() -> None:
    stack = recorded("prod")
    network = stack.only("Microsoft.Network/virtualNetworks")
    subnets = {each["name"]: each for each in network.inputs["subnets"]}
    rules = stack.by_id(subnets["app"]["networkSecurityGroup"]["id"]).inputs["securityRules"]
    services, itself, deny = sorted(rules, key=lambda rule: int(rule["priority"]))
    assert services["destinationAddressPrefix"] == subnets["endpoints"]["addressPrefix"]
    assert itself["destinationAddressPrefix"] == subnets["app"]["addressPrefix"]
    space = network.inputs["addressSpace"]["addressPrefixes"][0]
    assert (deny["access"], deny["destinationAddressPrefix"]) == ("Deny", space)
    assert {rule["direction"] for rule in rules} == {"Outbound"}


def test_flex_consumption_gets_a_subnet_of_its_kind() -> None:
    network = recorded("prod-flex").only("Microsoft.Network/virtualNetworks")
    (app,) = (each for each in network.inputs["subnets"] if each["name"] == "app")
    assert app["delegations"][0]["serviceName"] == "Microsoft.App/environments"
