"""Makes what all parts of a stack depend on, and the services that the app uses."""

from dataclasses import dataclass

import pulumi
from pulumi_azure_native import authorization, resources

from infra.components.identity import Identity, IdentityArgs
from infra.components.monitoring import Monitoring, MonitoringArgs
from infra.components.network import Network, NetworkArgs
from infra.components.placement import Placement
from infra.components.postgres import Postgres, PostgresArgs
from infra.components.realtime import Realtime, RealtimeArgs
from infra.components.redis import Redis, RedisArgs
from infra.components.storage import Storage, StorageArgs
from infra.components.vault import Vault, VaultArgs
from infra.naming import PROJECT, Names
from infra.settings.model import Settings


@dataclass(frozen=True, slots=True)
class Foundation:
    """Resources that all others depend on."""

    placement: Placement
    resource_group_id: pulumi.Output[str]
    identity: Identity
    network: Network | None
    monitoring: Monitoring
    tenant_id: pulumi.Output[str]
    subscription_id: pulumi.Output[str]


@dataclass(frozen=True, slots=True)
class Services:
    """Services that the app uses."""

    postgres: Postgres
    redis: Redis
    storage: Storage
    vault: Vault
    realtime: Realtime

    @property
    def ready(self) -> tuple[pulumi.Resource, ...]:
        """The last resource of each service, after which the app can use it by its name."""
        return (
            self.postgres.ready,
            self.redis.ready,
            *self.storage.ready,
            self.vault.ready,
            self.realtime.ready,
        )


def make_foundation(settings: Settings) -> Foundation:
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
        opts=pulumi.ResourceOptions(protect=settings.protect, retain_on_delete=settings.protect),
    )
    placement = Placement(group.name, settings.location, tags, names, settings.protect)
    client = authorization.get_client_config_output()
    network = (
        Network(
            "network",
            NetworkArgs(
                placement, settings.network.address_space, settings.compute.plan, settings.operations
            ),
        )
        if settings.network.private
        else None
    )
    return Foundation(
        placement=placement,
        resource_group_id=group.id,
        identity=Identity("identity", IdentityArgs(placement)),
        network=network,
        monitoring=Monitoring("monitoring", MonitoringArgs(placement, settings.monitoring)),
        tenant_id=client.tenant_id,
        subscription_id=client.subscription_id,
    )


def make_services(settings: Settings, base: Foundation) -> Services:
    place, network = base.placement, base.network
    deployers, primary = settings.network.deployers, settings.primary
    return Services(
        postgres=Postgres(
            "postgres",
            PostgresArgs(
                place,
                settings.postgres,
                network,
                deployers,
                base.tenant_id,
                primary_id=primary.postgres_id if primary else "",
            ),
        ),
        redis=Redis("redis", RedisArgs(place, settings.redis, network, base.identity.principal_id)),
        storage=Storage(
            "storage",
            StorageArgs(
                place,
                settings.storage_replication,
                network,
                deployments=settings.compute.plan == "flex",
                primary_id=primary.storage_id if primary else "",
            ),
        ),
        vault=Vault(
            "vault",
            VaultArgs(
                place,
                network,
                base.tenant_id,
                pulumi.Output.secret(settings.api_key_pepper),
                pulumi.Output.secret(settings.api_key_pepper_previous)
                if settings.api_key_pepper_previous
                else None,
                settings.business.secrets,
            ),
        ),
        realtime=Realtime(
            "realtime", RealtimeArgs(place, settings.webpubsub, network, base.identity.events_id)
        ),
    )
