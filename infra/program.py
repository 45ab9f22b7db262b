"""Makes the whole system of one stack, in the order in which its parts depend on each other."""

from dataclasses import dataclass

import pulumi
from pulumi_azure_native import authorization, resources

from infra.alerts import Watched
from infra.components.app_settings import AppValues
from infra.components.autoscale import PlanAutoscale, PlanAutoscaleArgs, UnitAutoscale, UnitAutoscaleArgs
from infra.components.compute import Compute, ComputeArgs, app_host
from infra.components.diagnostics import Diagnosed
from infra.components.edge import Edge, EdgeArgs
from infra.components.identity import Identity, IdentityArgs
from infra.components.monitoring import Monitoring, MonitoringArgs, Targets
from infra.components.network import Network, NetworkArgs
from infra.components.placement import Placement
from infra.components.postgres import DATABASE, Postgres, PostgresArgs
from infra.components.realtime import HUB, Realtime, RealtimeArgs
from infra.components.redis import Redis, RedisArgs
from infra.components.storage import Storage, StorageArgs
from infra.components.vault import Vault, VaultArgs
from infra.naming import PROJECT, Names
from infra.roles import assign
from infra.settings.model import Settings

# The database role of every request's transaction; the migrations make it.
DATABASE_ROLE = "signal_functions"


@dataclass(frozen=True, slots=True)
class _Foundation:
    """Resources that all others depend on."""

    placement: Placement
    resource_group_id: pulumi.Output[str]
    identity: Identity
    network: Network | None
    monitoring: Monitoring
    tenant_id: pulumi.Output[str]
    subscription_id: pulumi.Output[str]


@dataclass(frozen=True, slots=True)
class _Services:
    """Services that the app uses."""

    postgres: Postgres
    redis: Redis
    storage: Storage
    vault: Vault
    realtime: Realtime


def build(settings: Settings) -> dict[str, pulumi.Input[object]]:
    """Makes every resource; returns the stack's outputs, none of them secret."""
    base = _foundation(settings)
    services = _services(settings, base)
    needed = [services.postgres.ready, services.redis.ready, *_names_of(base.network, services)]
    needed += _roles(settings, base, services)
    edge = _edge(settings, base)
    compute = _compute(settings, base, services, edge, tuple(needed))
    services.realtime.send_events_to(compute.host, depends_on=[compute.app])
    scaling = _autoscale(settings, base, services, compute)
    _watch(settings, base, services, compute, edge=edge, scaling=scaling)
    return _outputs(base, services, compute, edge)


def _foundation(settings: Settings) -> _Foundation:
    names = Names(settings.stack, settings.name_suffix)
    tags = {
        "project": PROJECT,
        "stack": settings.stack,
        "owner": settings.owner,
        "cost-centre": settings.cost_centre,
    }
    group = resources.ResourceGroup(
        "resource-group",
        resources.ResourceGroupArgs(
            resource_group_name=names.local("rg"), location=settings.location, tags=tags
        ),
        opts=pulumi.ResourceOptions(protect=True, retain_on_delete=True),
    )
    placement = Placement(group.name, settings.location, tags, names)
    client = authorization.get_client_config_output()
    network = (
        Network("network", NetworkArgs(placement, settings.network.address_space, settings.compute.plan))
        if settings.network.private
        else None
    )
    return _Foundation(
        placement=placement,
        resource_group_id=group.id,
        identity=Identity("identity", IdentityArgs(placement)),
        network=network,
        monitoring=Monitoring("monitoring", MonitoringArgs(placement, settings.monitoring)),
        tenant_id=client.tenant_id,
        subscription_id=client.subscription_id,
    )


def _services(settings: Settings, base: _Foundation) -> _Services:
    place, private = base.placement, settings.network.private
    return _Services(
        postgres=Postgres("postgres", PostgresArgs(place, settings.postgres, private, base.tenant_id)),
        redis=Redis("redis", RedisArgs(place, settings.redis, private, base.identity.principal_id)),
        storage=Storage(
            "storage",
            StorageArgs(
                place, settings.storage_replication, private, deployments=settings.compute.plan == "flex"
            ),
        ),
        vault=Vault(
            "vault",
            VaultArgs(
                place,
                private,
                base.tenant_id,
                pulumi.Output.secret(settings.api_key_pepper),
                pulumi.Output.secret(settings.api_key_pepper_previous)
                if settings.api_key_pepper_previous
                else None,
            ),
        ),
        realtime=Realtime(
            "realtime", RealtimeArgs(place, settings.webpubsub, private, base.identity.events_id)
        ),
    )


def _names_of(network: Network | None, services: _Services) -> list[pulumi.Resource]:
    """Makes private endpoints for every service, if there is a private network."""
    if network is None:
        return []
    parts = (services.postgres, services.redis, services.storage, services.vault, services.realtime)
    return [network.connect(target) for part in parts for target in part.private_targets()]


def _roles(settings: Settings, base: _Foundation, services: _Services) -> list[pulumi.Resource]:
    return [
        *assign(
            {
                "host-storage": services.storage.host_account_id,
                "table-licenses": services.storage.table_ids["licenses"],
                "table-apikeys": services.storage.table_ids["apikeys"],
                "table-endings": services.storage.table_ids["endings"],
                "pepper": services.vault.pepper_id,
                "pepper-previous": services.vault.previous_pepper_id,
                "webpubsub": services.realtime.service_id,
                "application-insights": base.monitoring.application_insights_id,
            },
            principal_id=base.identity.principal_id,
            subscription_id=base.subscription_id,
            stack=settings.stack,
            suffix=settings.name_suffix,
        )
    ]


def _edge(settings: Settings, base: _Foundation) -> Edge | None:
    if settings.edge.tier == "none":
        return None
    return Edge("edge", EdgeArgs(base.placement, settings.edge, app_host(base.placement)))


def _compute(
    settings: Settings,
    base: _Foundation,
    services: _Services,
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
            front_door_id=edge.front_door_id if edge else None,
            deployers=settings.network.deployers,
            depends_on=needed,
        ),
    )


def _autoscale(
    settings: Settings, base: _Foundation, services: _Services, compute: Compute
) -> list[Diagnosed]:
    """Makes autoscale settings; Flex Consumption scales by itself, Web PubSub only in its Premium tier."""
    webpubsub_id = services.realtime.service_id
    made: list[Diagnosed] = []
    if settings.compute.plan == "dedicated":
        plan = PlanAutoscale(
            "plan-autoscale",
            PlanAutoscaleArgs(base.placement, settings.compute.scaling, compute.plan_id, webpubsub_id),
        )
        made.append(Diagnosed("plan-autoscale", plan.setting_id))
    if settings.webpubsub.maximum_units > settings.webpubsub.units:
        units = UnitAutoscale(
            "webpubsub-autoscale", UnitAutoscaleArgs(base.placement, settings.webpubsub, webpubsub_id)
        )
        made.append(Diagnosed("webpubsub-autoscale", units.setting_id))
    return made


def _watch(
    settings: Settings,
    base: _Foundation,
    services: _Services,
    compute: Compute,
    *,
    edge: Edge | None,
    scaling: list[Diagnosed],
) -> None:
    """Makes alerts, diagnostic settings and everything else that watches the other resources."""
    storage = services.storage
    watched: dict[Watched, pulumi.Output[str]] = {
        "app": compute.app_id,
        "plan": compute.plan_id,
        "postgres": services.postgres.server_id,
        "redis": services.redis.cluster_id,
        "webpubsub": services.realtime.service_id,
    }
    diagnosed = [
        *(Diagnosed(kind, resource_id) for kind, resource_id in watched.items()),
        Diagnosed("redis-database", services.redis.database_id),
        Diagnosed("data-storage", storage.data_account_id),
        Diagnosed("host-storage", storage.host_account_id),
        Diagnosed("tables", pulumi.Output.concat(storage.data_account_id, "/tableServices/default")),
        Diagnosed("data-blobs", storage.data_blobs_id),
        Diagnosed("host-blobs", storage.host_blobs_id),
        Diagnosed("host-queues", pulumi.Output.concat(storage.host_account_id, "/queueServices/default")),
        Diagnosed("host-tables", pulumi.Output.concat(storage.host_account_id, "/tableServices/default")),
        Diagnosed("workspace", base.monitoring.workspace_id),
        Diagnosed("vault", services.vault.vault_id),
        *scaling,
    ]
    if compute.slot_id is not None:
        diagnosed.append(Diagnosed("staging-slot", compute.slot_id))
    if edge is not None:
        watched["front_door"] = edge.profile_id
        diagnosed.append(Diagnosed("front-door", edge.profile_id))
    if base.network is not None:
        diagnosed.append(Diagnosed("network", base.network.network_id))
        rules = base.network.rules_ids.items()
        diagnosed += [Diagnosed("network-rules", resource_id, subnet) for subnet, resource_id in rules]
    base.monitoring.watch(
        Targets(
            url=pulumi.Output.concat("https://", edge.host if edge else compute.host),
            resource_group_id=base.resource_group_id,
            watched=watched,
            diagnosed=tuple(diagnosed),
        ),
        settings,
    )


def _outputs(
    base: _Foundation, services: _Services, compute: Compute, edge: Edge | None
) -> dict[str, pulumi.Input[object]]:
    app_url = f"https://{compute.host}"
    outputs: dict[str, pulumi.Input[object]] = {
        "url": pulumi.Output.concat("https://", edge.host) if edge else app_url,
        "app_url": app_url,
        "app_name": compute.app_name,
        "resource_group": base.placement.resource_group_name,
        "identity_name": base.identity.name,
        "identity_client_id": base.identity.client_id,
        "identity_principal_id": base.identity.principal_id,
        "jobs_identity_name": base.identity.jobs_name,
        "jobs_identity_principal_id": base.identity.jobs_principal_id,
        "events_principal_id": base.identity.events_principal_id,
        "postgres_server": services.postgres.server_name,
        "postgres_host": services.postgres.host,
        "database": DATABASE,
        "redis_host": services.redis.host,
        "data_storage_account": services.storage.data_account,
        "host_storage_account": services.storage.host_account,
        "webpubsub_endpoint": services.realtime.endpoint,
        "key_vault": services.vault.name,
    }
    if compute.staging_host:
        outputs["staging_url"] = f"https://{compute.staging_host}"
    return outputs
