"""Who may send requests to the app: Front Door, Web PubSub, those who deploy."""

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
from pulumi_azure_native import web

Rules = list[web.IpSecurityRestrictionArgs]


@dataclass(frozen=True, slots=True)
class Access:
    """`rules` of what may come; `everybody` whether all else may too."""

    rules: Rules
    everybody: bool

    @property
    def default_action(self) -> web.DefaultAction:
        return web.DefaultAction.ALLOW if self.everybody else web.DefaultAction.DENY


def site_access(front_door_id: pulumi.Output[str] | None) -> Access:
    """Behind Front Door: that one Front Door, and Web PubSub, which calls `ws/events` directly.

    Both tags cover every customer's Front Doors and Web PubSubs. The header tells ours from theirs; for Web
    PubSub the token that comes with an event does. Health checks and warm-up come from inside.
    """
    if front_door_id is None:
        return Access([], everybody=True)
    rules = [
        web.IpSecurityRestrictionArgs(
            name="front-door",
            description="Through our Front Door alone",
            priority=100,
            action="Allow",
            tag=web.IpFilterTag.SERVICE_TAG,
            ip_address="AzureFrontDoor.Backend",
            headers={"x-azure-fdid": [front_door_id]},
        ),
        web.IpSecurityRestrictionArgs(
            name="web-pubsub",
            description="Events of connections",
            priority=200,
            action="Allow",
            tag=web.IpFilterTag.SERVICE_TAG,
            ip_address="AzureWebPubSub",
        ),
    ]
    return Access(rules, everybody=False)


def staging_access(behind_front_door: bool, deployers: Sequence[str]) -> Access:
    """A slot that runs the same app on the same data has no other door than the smoke test's."""
    return Access(_from_addresses(deployers), everybody=not behind_front_door)


def deployment_access(deployers: Sequence[str]) -> Access:
    """The deployment site asks for Entra ID whoever comes; addresses narrow it where they are known."""
    return Access(_from_addresses(deployers), everybody=not deployers)


def _from_addresses(addresses: Sequence[str]) -> Rules:
    return [
        web.IpSecurityRestrictionArgs(
            name=f"deployer-{index}",
            description="A machine that deploys",
            priority=300 + index,
            action="Allow",
            ip_address=address,
        )
        for index, address in enumerate(addresses)
    ]
