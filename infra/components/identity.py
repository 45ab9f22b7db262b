"""Makes the system's identities first, so that their roles exist before the app starts."""

from dataclasses import dataclass

import pulumi
from pulumi_azure_native import managedidentity

from infra.components.placement import Placement, under


@dataclass(frozen=True, slots=True)
class IdentityArgs:
    placement: Placement


class Identity(pulumi.ComponentResource):
    """The app's identity, which both slots share, that of its timers in Postgres, and Web PubSub's.

    Only the first has roles in Azure. The second is a login to Postgres and nothing else: HTTP functions and
    timers are one app, so the app has both identities, but only the code of timers logs in as the second.
    """

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
        self.jobs_name = place.names.local("id", "jobs")
        jobs = managedidentity.UserAssignedIdentity(
            "jobs-identity",
            resource_name_=self.jobs_name,
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
        self.jobs_id = jobs.id
        self.jobs_client_id = jobs.client_id
        self.jobs_principal_id = jobs.principal_id
        self.events_id = events.id
        self.events_principal_id = events.principal_id
        self.register_outputs({"id": self.id})
