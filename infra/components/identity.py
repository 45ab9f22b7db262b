"""Makes the system's identities first, so that their roles exist before the app starts."""

from dataclasses import dataclass

import pulumi
from pulumi_azure_native import managedidentity

from infra.components.placement import Placement, under


@dataclass(frozen=True, slots=True)
class IdentityArgs:
    placement: Placement


class Identity(pulumi.ComponentResource):
    """The app's identity, which both slots share, and Web PubSub's, which has no role."""

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
        # Its tokens prove to the app that an event comes from our Web PubSub.
        events = managedidentity.UserAssignedIdentity(
            "events-identity",
            resource_name_=place.names.local("id", "events"),
            resource_group_name=place.resource_group_name,
            location=place.location,
            tags=place.tags,
            opts=under(self),
        )
        self.id = app.id
        self.client_id = app.client_id
        self.principal_id = app.principal_id
        self.events_id = events.id
        self.events_principal_id = events.principal_id
        self.register_outputs({"id": self.id})
