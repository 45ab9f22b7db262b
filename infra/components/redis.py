"""Makes Azure Managed Redis: one database behind TLS that only Entra ID opens."""

from dataclasses import dataclass

import pulumi
from pulumi_azure_native import redisenterprise

from infra.components.network import Network, PrivateTarget
from infra.components.placement import Placement, Turns, under
from infra.settings.model import RedisSettings

PORT = 10000


@dataclass(frozen=True, slots=True)
class RedisArgs:
    placement: Placement
    settings: RedisSettings
    network: Network | None
    app_principal_id: pulumi.Output[str]


class Redis(pulumi.ComponentResource):
    """A cache only: its data may be lost at any time, so it is neither persisted nor protected."""

    def __init__(self, name: str, args: RedisArgs) -> None:
        super().__init__("signal-cloud:infra:Redis", name)
        place = args.placement
        cluster = redisenterprise.RedisEnterprise(
            "redis",
            redisenterprise.RedisEnterpriseArgs(
                cluster_name=place.names.unique("redis"),
                resource_group_name=place.resource_group_name,
                location=place.location,
                sku=redisenterprise.SkuArgs(name=args.settings.sku),
                high_availability="Enabled" if args.settings.high_availability else "Disabled",
                minimum_tls_version="1.2",
                public_network_access="Disabled" if args.network else "Enabled",
                tags=place.tags,
            ),
            opts=under(self),
        )
        # The cluster accepts one change at a time.
        turns = Turns(cluster)
        if args.network is not None:
            args.network.connect(PrivateTarget("redis", cluster.id, "redis"), turns)
        database = redisenterprise.Database(
            "redis-database",
            _database_args(place, cluster.name),
            opts=turns.options(under(self)),
        )
        turns.take(database)
        # An access policy of Redis itself, and so not in the table of role assignments.
        access = redisenterprise.AccessPolicyAssignment(
            "redis-app-access",
            redisenterprise.AccessPolicyAssignmentArgs(
                access_policy_assignment_name="app",
                access_policy_name="default",
                cluster_name=cluster.name,
                database_name=database.name,
                resource_group_name=place.resource_group_name,
                user=redisenterprise.AccessPolicyAssignmentPropertiesUserArgs(
                    object_id=args.app_principal_id
                ),
            ),
            opts=turns.options(under(self)),
        )
        self.cluster_id = cluster.id
        self.database_id = database.id
        self.host = cluster.host_name
        self.url = pulumi.Output.concat("rediss://", cluster.host_name, f":{PORT}/0")
        self.ready: pulumi.Resource = access
        self.register_outputs({"cluster_id": self.cluster_id})


def _database_args(place: Placement, cluster_name: pulumi.Output[str]) -> redisenterprise.DatabaseArgs:
    return redisenterprise.DatabaseArgs(
        cluster_name=cluster_name,
        database_name="default",
        resource_group_name=place.resource_group_name,
        port=PORT,
        client_protocol="Encrypted",
        # The hot path's script uses several keys in one call, which needs a single shard.
        clustering_policy="NoCluster",
        access_keys_authentication="Disabled",
        # Every key has a TTL. If memory is full, Redis evicts the keys that expire first: confidences
        # after 2 s, rate limits after 60 s. Refused writes would open the rate limiter instead.
        eviction_policy="VolatileTTL",
        defer_upgrade="NotDeferred",
    )
