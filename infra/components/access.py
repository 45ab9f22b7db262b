"""Says who may send requests to the app: Front Door, Web PubSub, and machines that deploy."""

from dataclasses import dataclass

import pulumi
from pulumi_azure_native import web

Rules = list[web.IpSecurityRestrictionArgs]


@dataclass(frozen=True, slots=True)
class Deployers:
    """Machines that deploy: addresses in CIDR form, and the subnet `operations` of a private network."""

    addresses: tuple[str, ...]
    subnet_id: pulumi.Output[str] | None

    @property
    def named(self) -> bool:
        """Whether the stack says where its machines that deploy are."""
        return bool(self.addresses) or self.subnet_id is not None


@dataclass(frozen=True, slots=True)
class Access:
    """`rules` name the allowed senders; `everybody` allows all others too."""

    rules: Rules
    everybody: bool

    @property
    def default_action(self) -> web.DefaultAction:
        return web.DefaultAction.ALLOW if self.everybody else web.DefaultAction.DENY


def site_access(front_door_id: pulumi.Output[str] | None, deployers: Deployers | None = None) -> Access:
    """Behind Front Door, only our Front Door and Web PubSub, which calls `ws/events` directly, reach the app.

    A service tag covers the services of every customer of Azure. The header identifies our Front Door, and
    the token of an event identifies our Web PubSub. A rule cannot be for one path, so another tenant's Web
    PubSub passes it. But that service sends events only to an address that consents to its origin, which only
    `ws/events` does, and only for our own. Health checks and warm-up requests are not restricted.

    With `deployers`, machines that deploy reach it too: those of a second region, to which Front Door sends
    nothing, so that nobody else could test it.
    """
    if front_door_id is None:
        return Access([], everybody=True)
    rules = [
        web.IpSecurityRestrictionArgs(
            name="front-door",
            description="Only our Front Door",
            priority=100,
            action="Allow",
            tag=web.IpFilterTag.SERVICE_TAG,
            ip_address="AzureFrontDoor.Backend",
            headers={"x-azure-fdid": [front_door_id]},
        ),
        web.IpSecurityRestrictionArgs(
            name="web-pubsub",
            description="Events of Web PubSub connections",
            priority=200,
            action="Allow",
            tag=web.IpFilterTag.SERVICE_TAG,
            ip_address="AzureWebPubSub",
        ),
    ]
    return Access([*rules, *(_of_deployers(deployers) if deployers else [])], everybody=False)


def staging_access(behind_front_door: bool, deployers: Deployers) -> Access:
    """Behind Front Door, only machines that deploy reach the staging slot, because it uses the live data."""
    return Access(_of_deployers(deployers), everybody=not behind_front_door)


def deployment_access(deployers: Deployers) -> Access:
    """The deployment site always asks for Entra ID, and restricts senders if the stack names any."""
    return Access(_of_deployers(deployers), everybody=not deployers.named)


def _of_deployers(deployers: Deployers) -> Rules:
    rules = [
        web.IpSecurityRestrictionArgs(
            name=f"deployer-{index}",
            description="A machine that deploys",
            priority=300 + index,
            action="Allow",
            ip_address=address,
        )
        for index, address in enumerate(deployers.addresses)
    ]
    if deployers.subnet_id is not None:
        rules.append(
            web.IpSecurityRestrictionArgs(
                name="operations",
                description="Machines in the subnet for operations, through its service endpoint",
                priority=250,
                action="Allow",
                vnet_subnet_resource_id=deployers.subnet_id,
            )
        )
    return rules
