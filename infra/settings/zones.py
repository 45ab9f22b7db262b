"""Says what a stack loses if Azure loses one zone of the region, by the settings of its services.

From Microsoft's articles on the reliability of each service, read on 2026-11-28. App Service needs Premium v2
to v4 and two instances (MicrosoftDocs/reliability-docs, reliability-app-service.md of 2025-10-31), Web PubSub
its Premium tier (concept-availability-zones), Azure Managed Redis high availability in a region with zones
(reliability-managed-redis), Postgres a standby in another zone, and storage copies in several zones. Front
Door, Key Vault and the directory need no setting.
"""

from collections.abc import Iterator

from infra.settings.model import Settings

# The host's own storage has copies in several zones wherever this does, see components/storage.py.
_ZONED_STORAGE = frozenset({"Standard_ZRS", "Standard_GZRS"})
MINIMUM_INSTANCES = 2


def lost_with_a_zone(settings: Settings) -> Iterator[tuple[str, str]]:
    """Yields each service that does not survive, as the setting that decides and what is needed instead."""
    compute = settings.compute
    if not compute.zone_redundant:
        yield "zone_redundant", "zone_redundant: true"
    elif compute.plan == "dedicated" and not compute.plan_size.tier.startswith("Premium"):
        yield "plan_sku", "a plan_sku of Premium v3"
    if compute.plan == "dedicated" and compute.scaling.minimum < MINIMUM_INSTANCES:
        yield "autoscale_minimum", f"autoscale_minimum of {MINIMUM_INSTANCES} or more"
    if not settings.postgres.high_availability:
        yield "postgres_high_availability", "postgres_high_availability: true"
    if not settings.redis.high_availability:
        yield "redis_high_availability", "redis_high_availability: true"
    if settings.webpubsub.sku != "Premium_P1":
        yield "webpubsub_sku", "webpubsub_sku Premium_P1"
    if settings.storage_replication not in _ZONED_STORAGE:
        yield "storage_replication", "storage_replication Standard_ZRS or Standard_GZRS"


def paid_for_zones(settings: Settings) -> Iterator[str]:
    """Yields the settings that cost money, or an instance, only so that a zone may be lost."""
    if settings.postgres.high_availability:
        yield "postgres_high_availability"
    if settings.compute.zone_redundant:
        yield "zone_redundant"
