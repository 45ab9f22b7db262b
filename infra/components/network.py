"""Makes the private network: subnets with their rules, private endpoints, and names that resolve to them."""

import ipaddress
from dataclasses import dataclass
from typing import Literal

import pulumi
from pulumi_azure_native import network, privatedns

from infra.components.network_rules import app_rules, bastion_rules, endpoint_rules, operations_rules
from infra.components.operations_machine import way_out
from infra.components.placement import Placement, Turns, under
from infra.settings.model import OperationsSettings

PrivateService = Literal["blob", "queue", "table", "vault", "postgres", "redis", "webpubsub"]

# The private DNS zone of each service, and Azure's group id of its endpoint.
ZONES: dict[PrivateService, tuple[str, str]] = {
    "blob": ("privatelink.blob.core.windows.net", "blob"),
    "queue": ("privatelink.queue.core.windows.net", "queue"),
    "table": ("privatelink.table.core.windows.net", "table"),
    "vault": ("privatelink.vaultcore.azure.net", "vault"),
    "postgres": ("privatelink.postgres.database.azure.com", "postgresqlServer"),
    "redis": ("privatelink.redis.azure.net", "redisEnterprise"),
    "webpubsub": ("privatelink.webpubsub.azure.com", "webpubsub"),
}
# Azure wants this name.
_BASTION_SUBNET = "AzureBastionSubnet"
# Azure delegates the app's subnet to the service that runs the plan.
_DELEGATIONS = {"dedicated": "Microsoft.Web/serverFarms", "flex": "Microsoft.App/environments"}


@dataclass(frozen=True, slots=True)
class NetworkArgs:
    placement: Placement
    address_space: str
    plan: Literal["dedicated", "flex"]
    operations: OperationsSettings


@dataclass(frozen=True, slots=True)
class PrivateTarget:
    """A resource that gets a private endpoint; `name` is unique in the stack."""

    name: str
    resource_id: pulumi.Output[str]
    service: PrivateService


class Network(pulumi.ComponentResource):
    """Three subnets of 256 addresses each: for the app, for private endpoints, and for operations.

    The machine that deploys and administers is in the subnet for operations, because it must reach the
    database too. A Bastion that leads to this machine has a fourth subnet.
    """

    def __init__(self, name: str, args: NetworkArgs) -> None:
        super().__init__("signal-cloud:infra:Network", name)
        self._place = args.placement
        # Each zone with its link to the network, without which a name of the zone does not resolve there.
        self._zones: dict[PrivateService, tuple[privatedns.PrivateZone, privatedns.VirtualNetworkLink]] = {}
        self.rules_ids: dict[str, pulumi.Output[str]] = {}
        gateway = way_out(self._place, self) if args.operations.machine else None
        self._network = network.VirtualNetwork(
            "network",
            network.VirtualNetworkInitArgs(
                virtual_network_name=self._place.names.local("vnet"),
                resource_group_name=self._place.resource_group_name,
                location=self._place.location,
                address_space=network.AddressSpaceArgs(address_prefixes=[args.address_space]),
                subnets=self._subnets(args, gateway),
                tags=self._place.tags,
            ),
            opts=under(self),
        )
        self.network_id = self._network.id
        self.app_subnet_id = pulumi.Output.concat(self._network.id, "/subnets/app")
        self.operations_subnet_id = pulumi.Output.concat(self._network.id, "/subnets/operations")
        self.bastion_subnet_id = pulumi.Output.concat(self._network.id, "/subnets/", _BASTION_SUBNET)
        self.register_outputs({"app_subnet_id": self.app_subnet_id})

    def _subnets(self, args: NetworkArgs, gateway: network.NatGateway | None) -> list[network.SubnetArgs]:
        quarters = ipaddress.IPv4Network(args.address_space).subnets(new_prefix=24)
        app, endpoints, operations, rest = (str(next(quarters)) for _ in range(4))
        # The smallest that Azure accepts for a Bastion.
        bastion = str(next(ipaddress.IPv4Network(rest).subnets(new_prefix=26)))
        entrance = bastion if args.operations.bastion else None
        subnets = [
            network.SubnetArgs(
                name="app",
                address_prefix=app,
                delegations=[network.DelegationArgs(name="app", service_name=_DELEGATIONS[args.plan])],
                network_security_group=self._rules("app", app_rules(app, endpoints, args.address_space)),
            ),
            network.SubnetArgs(
                name="endpoints",
                address_prefix=endpoints,
                default_outbound_access=False,
                # Without this setting, security rules do not apply to private endpoints.
                private_endpoint_network_policies="Enabled",
                network_security_group=self._rules("endpoints", endpoint_rules([app, operations], endpoints)),
            ),
            network.SubnetArgs(
                name="operations",
                address_prefix=operations,
                default_outbound_access=False,
                nat_gateway=network.SubResourceArgs(id=gateway.id) if gateway else None,
                # Lets the app's access rules name this subnet.
                service_endpoints=[network.ServiceEndpointPropertiesFormatArgs(service="Microsoft.Web")],
                network_security_group=self._rules("operations", operations_rules(endpoints, entrance)),
            ),
        ]
        if entrance:
            rules = self._rules("bastion", bastion_rules())
            subnets.append(
                network.SubnetArgs(
                    name=_BASTION_SUBNET, address_prefix=entrance, network_security_group=rules
                )
            )
        return subnets

    def connect(self, target: PrivateTarget, turns: Turns) -> None:
        """Makes a private endpoint for `target`, and its names: when they exist, they resolve in the network.

        Both take their turn among the changes of the target, because Azure makes an endpoint by a change of
        its target.
        """
        _, group_id = ZONES[target.service]
        zone, link = self._zone(target.service)
        endpoint = network.PrivateEndpoint(
            f"endpoint-{target.name}",
            network.PrivateEndpointArgs(
                private_endpoint_name=self._place.names.local("pe", target.name),
                resource_group_name=self._place.resource_group_name,
                location=self._place.location,
                custom_network_interface_name=self._place.names.local("nic", target.name),
                subnet=network.SubnetArgs(id=pulumi.Output.concat(self._network.id, "/subnets/endpoints")),
                private_link_service_connections=[
                    network.PrivateLinkServiceConnectionArgs(
                        name=target.name,
                        private_link_service_id=target.resource_id,
                        group_ids=[group_id],
                    )
                ],
                tags=self._place.tags,
            ),
            opts=turns.options(under(self)),
        )
        names = network.PrivateDnsZoneGroup(
            f"endpoint-names-{target.name}",
            network.PrivateDnsZoneGroupArgs(
                private_dns_zone_group_name="default",
                private_endpoint_name=endpoint.name,
                resource_group_name=self._place.resource_group_name,
                private_dns_zone_configs=[
                    network.PrivateDnsZoneConfigArgs(name=target.service, private_dns_zone_id=zone.id)
                ],
            ),
            opts=pulumi.ResourceOptions(parent=self, depends_on=[endpoint, link]),
        )
        turns.take(names)

    def _zone(self, service: PrivateService) -> tuple[privatedns.PrivateZone, privatedns.VirtualNetworkLink]:
        """The service's zone and its link to the network; makes both on first use."""
        if service not in self._zones:
            zone = privatedns.PrivateZone(
                f"zone-{service}",
                privatedns.PrivateZoneArgs(
                    private_zone_name=ZONES[service][0],
                    resource_group_name=self._place.resource_group_name,
                    location="global",
                    tags=self._place.tags,
                ),
                opts=under(self),
            )
            link = privatedns.VirtualNetworkLink(
                f"zone-link-{service}",
                privatedns.VirtualNetworkLinkArgs(
                    virtual_network_link_name=self._place.names.local("link", service),
                    private_zone_name=zone.name,
                    resource_group_name=self._place.resource_group_name,
                    location="global",
                    registration_enabled=False,
                    virtual_network=privatedns.SubResourceArgs(id=self._network.id),
                    tags=self._place.tags,
                ),
                opts=under(self),
            )
            self._zones[service] = zone, link
        return self._zones[service]

    def _rules(self, subnet: str, rules: list[network.SecurityRuleArgs]) -> network.NetworkSecurityGroupArgs:
        group = network.NetworkSecurityGroup(
            f"rules-{subnet}",
            network.NetworkSecurityGroupInitArgs(
                network_security_group_name=self._place.names.local("nsg", subnet),
                resource_group_name=self._place.resource_group_name,
                location=self._place.location,
                security_rules=rules,
                tags=self._place.tags,
            ),
            opts=under(self),
        )
        self.rules_ids[subnet] = group.id
        return network.NetworkSecurityGroupArgs(id=group.id)
