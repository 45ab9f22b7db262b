"""The whole system of one stack, in the order in which it comes to be."""

import pulumi
from pulumi_azure_native import resources

from infra.components.identity import Identity, IdentityArgs
from infra.components.placement import Placement
from infra.naming import PROJECT, Names
from infra.settings import Settings


def build(settings: Settings) -> dict[str, pulumi.Input[object]]:
    """Makes every resource; returns the stack's outputs, none of them secret."""
    names = Names(settings.stack, settings.name_suffix)
    tags = {
        "project": PROJECT,
        "stack": settings.stack,
        "owner": settings.owner,
        "cost-centre": settings.cost_centre,
    }
    group = resources.ResourceGroup(
        "resource-group",
        resource_group_name=names.local("rg"),
        location=settings.location,
        tags=tags,
        opts=pulumi.ResourceOptions(protect=True, retain_on_delete=True),
    )
    placement = Placement(group.name, settings.location, tags, names)
    identity = Identity("identity", IdentityArgs(placement))
    return {
        "resource_group": group.name,
        "identity_name": identity.name,
        "identity_client_id": identity.client_id,
    }
