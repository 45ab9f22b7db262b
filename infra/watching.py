"""Makes everything that watches a stack's resources: alerts, diagnostic settings, budget, workbook."""

from datetime import date

import pulumi

from infra.alerts.kinds import Watched
from infra.components.compute import Compute
from infra.components.diagnostics import Diagnosed
from infra.components.edge import Edge
from infra.components.monitoring import Targets
from infra.components.notifications import Notifications, NotificationsArgs
from infra.foundation import Foundation, Services
from infra.settings.model import Settings


def watch(
    settings: Settings,
    base: Foundation,
    services: Services,
    compute: Compute,
    *,
    edge: Edge | None,
    others: list[Diagnosed],
    today: date,
) -> None:
    """Makes alerts, diagnostic settings and everything else that watches the other resources.

    `others` are resources with logs beyond the services and the network. `today` is in UTC.
    """
    notifications = Notifications("notifications", NotificationsArgs(base.placement, settings.notifications))
    watched: dict[Watched, pulumi.Output[str]] = {
        "app": compute.app_id,
        "plan": compute.plan_id,
        "postgres": services.postgres.server_id,
        "redis": services.redis.cluster_id,
        "webpubsub": services.realtime.service_id,
        **notifications.workflow_ids,
    }
    diagnosed = [Diagnosed(kind, resource_id) for kind, resource_id in watched.items()]
    diagnosed += [*_unwatched(base, services, compute), *others]
    if edge is not None:
        watched["front_door"] = edge.profile_id
        diagnosed.append(Diagnosed("front-door", edge.profile_id))
    base.monitoring.watch(
        Targets(
            url=pulumi.Output.concat("https://", edge.host if edge else compute.host),
            resource_group_id=base.resource_group_id,
            watched=watched,
            group_ids=notifications.group_ids,
            diagnosed=tuple(diagnosed),
        ),
        settings,
        today,
    )


def _unwatched(base: Foundation, services: Services, compute: Compute) -> list[Diagnosed]:
    """Resources with logs or metrics that no metric alert watches."""
    storage = services.storage
    diagnosed = [
        Diagnosed("redis-database", services.redis.database_id),
        Diagnosed("host-storage", storage.host_account_id),
        Diagnosed("host-blobs", storage.host_blobs_id),
        Diagnosed("host-queues", pulumi.Output.concat(storage.host_account_id, "/queueServices/default")),
        Diagnosed("host-tables", pulumi.Output.concat(storage.host_account_id, "/tableServices/default")),
        Diagnosed("workspace", base.monitoring.workspace_id),
        Diagnosed("vault", services.vault.vault_id),
    ]
    for blobs_id in storage.data_blobs_ids:
        tables_id = pulumi.Output.concat(storage.data_account_id, "/tableServices/default")
        diagnosed += [
            Diagnosed("data-storage", storage.data_account_id),
            Diagnosed("tables", tables_id),
            Diagnosed("data-blobs", blobs_id),
        ]
    if compute.slot_id is not None:
        diagnosed.append(Diagnosed("staging-slot", compute.slot_id))
    if base.network is not None:
        diagnosed.append(Diagnosed("network", base.network.network_id))
        rules = base.network.rules_ids.items()
        diagnosed += [Diagnosed("network-rules", resource_id, subnet) for subnet, resource_id in rules]
    return diagnosed
