"""Makes the whole system of one stack, in the order in which its parts depend on each other."""

from datetime import date

import pulumi

from infra.components.access import Deployers
from infra.components.app_settings import AppValues
from infra.components.autoscale import PlanAutoscale, PlanAutoscaleArgs, UnitAutoscale, UnitAutoscaleArgs
from infra.components.compute import Compute, ComputeArgs, app_host
from infra.components.diagnostics import Diagnosed
from infra.components.edge import Edge, EdgeArgs
from infra.components.operations_machine import OperationsMachine, OperationsMachineArgs
from infra.components.postgres import DATABASE
from infra.components.realtime import HUB
from infra.foundation import Foundation, Services, make_foundation, make_services
from infra.roles import assign, vendor_scope
from infra.settings.model import Settings
from infra.watching import watch

# The database role of every request's transaction; the migrations make it.
DATABASE_ROLE = "signal_functions"


def build(settings: Settings, today: date) -> dict[str, pulumi.Input[object]]:
    """Makes every resource; returns the stack's outputs, none of them secret. `today` is in UTC."""
    base = make_foundation(settings)
    services = make_services(settings, base)
    needed = (*services.ready, *_roles(base, services))
    edge = _edge(settings, base)
    compute = _compute(settings, base, services, edge, needed)
    services.realtime.send_events_to(compute.host, depends_on=[compute.app])
    scaling = _autoscale(settings, base, services, compute)
    machine = _operations(settings, base)
    others = [*scaling]
    if machine is not None and machine.bastion_id is not None:
        others.append(Diagnosed("bastion", machine.bastion_id))
    watch(settings, base, services, compute, edge=edge, others=others, today=today)
    return {
        "role": settings.role,
        "location": settings.location,
        **_outputs(base, services, compute, edge),
        **_operations_outputs(machine),
    }


def _roles(base: Foundation, services: Services) -> list[pulumi.Resource]:
    return [
        *assign(
            {
                "host-storage": services.storage.host_account_id,
                "table-licenses": services.storage.table_ids["licenses"],
                "table-apikeys": services.storage.table_ids["apikeys"],
                "table-endings": services.storage.table_ids["endings"],
                "license-exports": services.storage.exports_id,
                "pepper": services.vault.pepper_id,
                "pepper-previous": services.vault.previous_pepper_id,
                **{
                    vendor_scope(name): identity
                    for name, identity in services.vault.vendor_secret_ids.items()
                },
                "webpubsub": services.realtime.service_id,
                "application-insights": base.monitoring.application_insights_id,
            },
            principal_id=base.identity.principal_id,
            subscription_id=base.subscription_id,
        )
    ]


def _edge(settings: Settings, base: Foundation) -> Edge | None:
    if settings.edge.tier == "none":
        return None
    return Edge("edge", EdgeArgs(base.placement, settings.edge, app_host(base.placement)))


def _compute(
    settings: Settings,
    base: Foundation,
    services: Services,
    edge: Edge | None,
    needed: tuple[pulumi.Resource, ...],
) -> Compute:
    values = AppValues(
        azure_client_id=base.identity.client_id,
        azure_tenant_id=base.tenant_id,
        database_url=services.postgres.url(base.identity.name),
        jobs_database_url=services.postgres.url(base.identity.jobs_name),
        jobs_client_id=base.identity.jobs_client_id,
        database_role=DATABASE_ROLE,
        database_pool_size=settings.compute.database_pool_size,
        redis_url=services.redis.url,
        tables_endpoint=services.storage.tables_endpoint,
        webpubsub_endpoint=services.realtime.endpoint,
        webpubsub_hub=HUB,
        webpubsub_events_principal=base.identity.events_principal_id,
        api_key_pepper=services.vault.pepper_reference,
        api_key_pepper_previous=services.vault.previous_pepper_reference,
        log_level=settings.compute.log_level,
        telemetry_sample_ratio=str(settings.compute.telemetry_sample_ratio),
        applicationinsights_connection_string=base.monitoring.connection_string,
        cors_origins=settings.compute.cors_origins,
        license_export_key=settings.license_export_key,
        license_export_endpoint=services.storage.exports_endpoint,
        front_door_id=_front_door_id(settings, edge),
        public_url=_public_url(settings, base, edge),
        payment_plans=settings.business.payment_plans,
        payment_mode=settings.business.payment_mode,
        discord_guild_id=settings.business.discord_guild_id,
        discord_roles=settings.business.discord_roles,
        vendor_secrets=services.vault.vendor_references,
    )
    deployers = Deployers(
        settings.network.deployers, base.network.operations_subnet_id if base.network else None
    )
    return Compute(
        "compute",
        ComputeArgs(
            placement=base.placement,
            settings=settings.compute,
            identity_id=base.identity.id,
            jobs_identity_id=base.identity.jobs_id,
            client_id=base.identity.client_id,
            values=values,
            host_storage_account=services.storage.host_account,
            deployments_url=services.storage.deployments_url,
            subnet_id=base.network.app_subnet_id if base.network else None,
            front_door_id=_front_door_id(settings, edge),
            testers=deployers if settings.primary is not None else None,
            timers_on=settings.role == "active",
            deployers=deployers,
            depends_on=needed,
        ),
    )


def _public_url(settings: Settings, base: Foundation, edge: Edge | None) -> pulumi.Input[str]:
    """The address under which customers reach the app, for the links in messages."""
    if settings.business.public_url:
        return settings.business.public_url
    host = edge.host if edge else app_host(base.placement)
    return pulumi.Output.concat("https://", host)


def _front_door_id(settings: Settings, edge: Edge | None) -> pulumi.Output[str] | None:
    """The Front Door whose requests the app accepts: the stack's own, or the first region's."""
    if settings.primary is not None:
        return pulumi.Output.from_input(settings.primary.front_door_id)
    return edge.front_door_id if edge else None


def _autoscale(settings: Settings, base: Foundation, services: Services, compute: Compute) -> list[Diagnosed]:
    """Makes autoscale settings; Flex Consumption scales by itself, Web PubSub only in its Premium tier."""
    webpubsub_id = services.realtime.service_id
    made: list[Diagnosed] = []
    if settings.compute.plan == "dedicated":
        plan = PlanAutoscale(
            "plan-autoscale",
            PlanAutoscaleArgs(
                base.placement,
                settings.compute.scaling,
                settings.compute.plan_size,
                compute.plan_id,
                webpubsub_id,
            ),
        )
        made.append(Diagnosed("plan-autoscale", plan.setting_id))
    if settings.webpubsub.maximum_units > settings.webpubsub.units:
        units = UnitAutoscale(
            "webpubsub-autoscale", UnitAutoscaleArgs(base.placement, settings.webpubsub, webpubsub_id)
        )
        made.append(Diagnosed("webpubsub-autoscale", units.setting_id))
    return made


def _operations(settings: Settings, base: Foundation) -> OperationsMachine | None:
    """Makes the machine in the subnet for operations, if the stack has one."""
    if base.network is None or not settings.operations.machine:
        return None
    return OperationsMachine(
        "operations",
        OperationsMachineArgs(
            base.placement,
            settings.operations,
            base.network.operations_subnet_id,
            base.network.bastion_subnet_id if settings.operations.bastion else None,
        ),
    )


def _operations_outputs(machine: OperationsMachine | None) -> dict[str, pulumi.Input[object]]:
    outputs: dict[str, pulumi.Input[object]] = {}
    if machine is not None:
        outputs["operations_machine"] = machine.name
        if machine.bastion_id is not None:
            outputs["operations_bastion"] = machine.bastion_name
    return outputs


def _outputs(
    base: Foundation, services: Services, compute: Compute, edge: Edge | None
) -> dict[str, pulumi.Input[object]]:
    app_url = f"https://{compute.host}"
    outputs: dict[str, pulumi.Input[object]] = {
        "url": pulumi.Output.concat("https://", edge.host) if edge else app_url,
        "app_url": app_url,
        "app_host": compute.host,
        "app_name": compute.app_name,
        "resource_group": base.placement.resource_group_name,
        "identity_name": base.identity.name,
        "identity_client_id": base.identity.client_id,
        "identity_principal_id": base.identity.principal_id,
        "jobs_identity_name": base.identity.jobs_name,
        "jobs_identity_principal_id": base.identity.jobs_principal_id,
        "events_principal_id": base.identity.events_principal_id,
        "postgres_server": services.postgres.server_name,
        "postgres_server_id": services.postgres.server_id,
        "postgres_host": services.postgres.host,
        "database": DATABASE,
        "redis_host": services.redis.host,
        "data_storage_account": services.storage.data_account,
        "data_storage_account_id": services.storage.data_account_id,
        "host_storage_account": services.storage.host_account,
        "webpubsub_endpoint": services.realtime.endpoint,
        "key_vault": services.vault.name,
        **(edge.outputs if edge else {}),
    }
    if compute.staging_host:
        outputs["staging_url"] = f"https://{compute.staging_host}"
    return outputs
