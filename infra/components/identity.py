"""The identity that the app runs as, made first, so that its roles exist before the app starts."""

from dataclasses import dataclass

import pulumi
from pulumi_azure_native import managedidentity

from infra.components.placement import Placement, under


@dataclass(frozen=True, slots=True)
class IdentityArgs:
    placement: Placement


class Identity(pulumi.ComponentResource):
    """User-assigned: both slots share it, and a new app keeps its roles."""

    def __init__(self, name: str, args: IdentityArgs) -> None:
        super().__init__("signal-cloud:infra:Identity", name)
        place = args.placement
        self.name = place.names.local("id")
        app = managedidentity.UserAssignedIdentity(
            "app-identity",
            resource_name_=self.name,
            resource_group_name=place.resource_group_name,
            location=place.location,
            tags=place.tags,
            opts=under(self),
        )
        self.id = app.id
        self.client_id = app.client_id
        self.principal_id = app.principal_id
        self.register_outputs({"id": self.id})
