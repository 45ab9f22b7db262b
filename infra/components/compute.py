"""Makes the function app: on a dedicated plan with a staging slot, or on Flex Consumption without one."""

from dataclasses import dataclass
from typing import Any

import pulumi
from pulumi_azure_native import web

from infra.components.access import Deployers, deployment_access, site_access, staging_access
from infra.components.app_settings import (
    AppValues,
    app_values,
    dedicated_values,
    host_storage_values,
    slot_values,
    sticky_names,
    timer_values,
)
from infra.components.placement import Placement, Turns, under
from infra.components.site_config import (
    dedicated_site,
    flex_function_app,
    flex_site,
    without_sdk_defaults,
)
from infra.settings.model import ComputeSettings

STAGING = "staging"


@dataclass(frozen=True, slots=True)
class ComputeArgs:
    """`subnet_id` and `front_door_id` are None if the stack has no private network or no Front Door.

    `testers` are machines that reach the app itself and not by Front Door alone; None if there are none.

    `timers_on` is False in a passive region, whose database refuses what timers write.

    `depends_on` are the resources that the function host needs when it starts, such as roles: it does not
    try again if its storage refuses it.
    """

    placement: Placement
    settings: ComputeSettings
    identity_id: pulumi.Output[str]
    jobs_identity_id: pulumi.Output[str]
    client_id: pulumi.Output[str]
    values: AppValues
    host_storage_account: str
    deployments_url: str
    subnet_id: pulumi.Output[str] | None
    front_door_id: pulumi.Output[str] | None
    testers: Deployers | None
    timers_on: bool
    deployers: Deployers
    depends_on: tuple[pulumi.Resource, ...]


class Compute(pulumi.ComponentResource):
    """`staging_host` is None on Flex Consumption, which has no slots."""

    def __init__(self, name: str, args: ComputeArgs) -> None:
        super().__init__("signal-cloud:infra:Compute", name)
        self._args = args
        self._place = args.placement
        self.app_name = app_name(args.placement)
        self.host = app_host(args.placement)
        self.staging_host: str | None = None
        self.slot_id: pulumi.Output[str] | None = None
        self._values = app_values(args.values, args.settings.schedules) | host_storage_values(
            args.host_storage_account, args.client_id
        )
        self._identity = web.ManagedServiceIdentityArgs(
            type=web.ManagedServiceIdentityType.USER_ASSIGNED,
            user_assigned_identities=[args.identity_id, args.jobs_identity_id],
        )
        # All traffic, so that the network's rules apply to every outgoing connection.
        self._routing = web.OutboundVnetRoutingArgs(all_traffic=True) if args.subnet_id is not None else None
        if args.settings.plan == "dedicated":
            self._values |= dedicated_values(args.settings.plan_size.processors)
            self.plan = self._dedicated_plan()
            self.app = self._dedicated_app()
            turns = Turns(self.app)
            self._slot(turns)
            self.staging_host = f"{self.app_name}-{STAGING}.azurewebsites.net"
        else:
            if not args.timers_on:
                self._values |= timer_values(on=False)
            self.plan = self._flex_plan()
            self.app = self._flex_app()
            turns = Turns(self.app)
        self._refuse_passwords(turns)
        self.plan_id = self.plan.id
        self.app_id = self.app.id
        self.register_outputs({"host": self.host})

    def _dedicated_plan(self) -> web.AppServicePlan:
        settings = self._args.settings
        return web.AppServicePlan(
            "plan",
            web.AppServicePlanArgs(
                name=self._place.names.local("plan"),
                resource_group_name=self._place.resource_group_name,
                location=self._place.location,
                kind="linux",
                reserved=True,
                sku=web.SkuDescriptionArgs(
                    name=settings.plan_size.name,
                    tier=settings.plan_size.tier,
                    capacity=settings.scaling.default,
                ),
                zone_redundant=settings.zone_redundant,
                tags=self._place.tags,
            ),
            # Autoscale sets the number of instances, and an update must not reset it.
            opts=pulumi.ResourceOptions(parent=self, ignore_changes=["sku.capacity"]),
        )

    def _common(self) -> dict[str, Any]:
        """Arguments that every site has, on either plan."""
        return {
            "resource_group_name": self._place.resource_group_name,
            "location": self._place.location,
            "kind": "functionapp,linux",
            "server_farm_id": self.plan.id,
            "identity": self._identity,
            "key_vault_reference_identity": self._args.identity_id,
            "https_only": True,
            "client_affinity_enabled": False,
            "public_network_access": "Enabled",
            "virtual_network_subnet_id": self._args.subnet_id,
            "tags": self._place.tags,
        }

    def _dedicated_app(self) -> web.WebApp:
        args = self._args
        return web.WebApp(
            "app",
            web.WebAppArgs(
                name=self.app_name,
                **self._common(),
                reserved=True,
                outbound_vnet_routing=self._routing,
                site_config=dedicated_site(
                    self._values
                    | slot_values("production", self._place.names.stack, timers_on=args.timers_on),
                    site_access(args.front_door_id, args.testers),
                    deployment_access(args.deployers),
                ),
            ),
            opts=self._started_last(),
        )

    def _slot(self, turns: Turns) -> None:
        """Makes the staging slot: the same app under the same identity, with its timers off.

        App Service accepts one change of a site at a time, and its slots count as parts of it.
        """
        args, group = self._args, self._place.resource_group_name
        turns.take(
            web.WebAppSlotConfigurationNames(
                "sticky-settings",
                web.WebAppSlotConfigurationNamesArgs(
                    name=self.app.name, resource_group_name=group, app_setting_names=sticky_names()
                ),
                opts=turns.options(under(self)),
            )
        )
        slot = web.WebAppSlot(
            "staging-slot",
            web.WebAppSlotArgs(
                name=self.app.name,
                slot=STAGING,
                **self._common(),
                reserved=True,
                outbound_vnet_routing=self._routing,
                site_config=dedicated_site(
                    self._values | slot_values("staging", self._place.names.stack),
                    staging_access(args.front_door_id is not None, args.deployers),
                    deployment_access(args.deployers),
                ),
            ),
            opts=turns.options(self._started_last()),
        )
        turns.take(slot)
        self.slot_id = slot.id
        turns.take(
            web.WebAppFtpAllowedSlot(
                "staging-no-ftp",
                web.WebAppFtpAllowedSlotArgs(
                    name=self.app.name, slot=STAGING, resource_group_name=group, allow=False
                ),
                opts=turns.options(under(self)),
            )
        )
        turns.take(
            web.WebAppScmAllowedSlot(
                "staging-no-passwords",
                web.WebAppScmAllowedSlotArgs(
                    name=self.app.name, slot=STAGING, resource_group_name=group, allow=False
                ),
                opts=turns.options(under(self)),
            )
        )

    def _flex_plan(self) -> web.AppServicePlan:
        return web.AppServicePlan(
            "plan",
            web.AppServicePlanArgs(
                name=self._place.names.local("plan"),
                resource_group_name=self._place.resource_group_name,
                location=self._place.location,
                kind="functionapp",
                reserved=True,
                sku=web.SkuDescriptionArgs(name="FC1", tier="FlexConsumption"),
                zone_redundant=self._args.settings.zone_redundant,
                tags=self._place.tags,
            ),
            opts=under(self),
        )

    def _flex_app(self) -> web.WebApp:
        args = self._args
        return web.WebApp(
            "app",
            web.WebAppArgs(
                name=self.app_name,
                **self._common(),
                function_app_config=flex_function_app(
                    args.settings.flex, args.deployments_url, args.identity_id
                ),
                site_config=flex_site(
                    self._values,
                    site_access(args.front_door_id, args.testers),
                    deployment_access(args.deployers),
                ),
            ),
            opts=pulumi.ResourceOptions.merge(
                self._started_last(), pulumi.ResourceOptions(transformations=[without_sdk_defaults])
            ),
        )

    def _refuse_passwords(self, turns: Turns) -> None:
        """Refuses passwords for FTP and for the deployment site, so that publishing needs Entra ID."""
        group = self._place.resource_group_name
        turns.take(
            web.WebAppFtpAllowed(
                "no-ftp",
                web.WebAppFtpAllowedArgs(name=self.app.name, resource_group_name=group, allow=False),
                opts=turns.options(under(self)),
            )
        )
        turns.take(
            web.WebAppScmAllowed(
                "no-passwords",
                web.WebAppScmAllowedArgs(name=self.app.name, resource_group_name=group, allow=False),
                opts=turns.options(under(self)),
            )
        )

    def _started_last(self) -> pulumi.ResourceOptions:
        return pulumi.ResourceOptions(parent=self, depends_on=list(self._args.depends_on))


def app_name(placement: Placement) -> str:
    return placement.names.unique("func")


def app_host(placement: Placement) -> str:
    """The app's own host name; Front Door needs it before the app exists."""
    return f"{app_name(placement)}.azurewebsites.net"
