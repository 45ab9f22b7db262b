"""Refuses settings that are valid alone and wrong together: Azure refuses them, or they make no sense."""

from infra.settings.model import ComputeSettings, Settings
from infra.settings.reader import SettingsReader
from infra.settings.regions import postgres_lacks
from infra.settings.zones import lost_with_a_zone, paid_for_zones


def check_combinations(settings: Settings, reader: SettingsReader) -> None:
    _check_instances(settings.compute, reader)
    _check_postgres(settings, reader)
    _check_units(settings, reader)
    _check_edge(settings, reader)
    _check_primary(settings, reader)
    _check_zones(settings, reader)
    _check_operations(settings, reader)
    _check_deployers(settings, reader)
    if settings.api_key_pepper_previous and settings.api_key_pepper_previous == settings.api_key_pepper:
        reader.conflict(
            "api_key_pepper_previous must differ from api_key_pepper: remove it when no key needs it",
            "api_key_pepper",
            "api_key_pepper_previous",
        )


def _check_instances(compute: ComputeSettings, reader: SettingsReader) -> None:
    scaling, flex = compute.scaling, compute.flex
    limits = ("autoscale_minimum", "autoscale_maximum")
    for key, value in (
        ("autoscale_default", scaling.default),
        ("autoscale_open_minimum", scaling.open_minimum),
    ):
        if not scaling.minimum <= value <= scaling.maximum:
            reader.conflict(
                f"{key} must be from autoscale_minimum ({scaling.minimum}) to autoscale_maximum "
                f"({scaling.maximum}), got {value}",
                key,
                *limits,
            )
    if compute.plan == "dedicated" and compute.zone_redundant and scaling.minimum < 2:
        reader.conflict(
            "zone_redundant needs autoscale_minimum of 2 or more",
            "plan",
            "zone_redundant",
            "autoscale_minimum",
        )
    if flex.always_ready > flex.maximum_instances:
        reader.conflict(
            "flex_always_ready must not be above flex_maximum_instances",
            "flex_always_ready",
            "flex_maximum_instances",
        )


def _check_postgres(settings: Settings, reader: SettingsReader) -> None:
    postgres = settings.postgres
    if postgres.high_availability and postgres.tier == "Burstable":
        reader.conflict(
            "postgres_high_availability needs another postgres_sku: a Burstable server has no standby",
            "postgres_high_availability",
            "postgres_sku",
        )
    lacks = ", and ".join(
        postgres_lacks(
            settings.location,
            postgres.sku,
            standby=postgres.high_availability,
            geo_backup=postgres.geo_backup,
        )
    )
    if lacks:
        keys = ("location", "postgres_sku", "postgres_high_availability", "postgres_geo_backup")
        reader.conflict(f"location {settings.location} does not fit Postgres: {lacks}", *keys)


def _check_zones(settings: Settings, reader: SettingsReader) -> None:
    """Refuses half of a redundancy: it costs money, and the first service without it stops the stack."""
    if settings.zones == "several":
        lost = dict(lost_with_a_zone(settings))
        if lost:
            needed = ", ".join(lost.values())
            reader.conflict(f"zones: several also needs {needed}", "zones", *lost)
    elif settings.zones == "one":
        paid = list(paid_for_zones(settings))
        if paid:
            reader.conflict(
                f"{' and '.join(paid)} must be false if zones is one: the stack would pay for another zone, "
                "and stop with the first all the same. Set zones to several, or to some if a part is wanted",
                "zones",
                *paid,
            )


def _check_deployers(settings: Settings, reader: SettingsReader) -> None:
    network = settings.network
    closed_slot = settings.compute.plan == "dedicated" and settings.edge.tier != "none"
    if closed_slot and not network.private and not network.deployers:
        reader.conflict(
            "deployer_addresses must name the machines that deploy: behind Front Door, the staging slot "
            "refuses all others, and without private_network there is no subnet for operations",
            "deployer_addresses",
            "private_network",
            "plan",
            "edge",
        )


def _check_units(settings: Settings, reader: SettingsReader) -> None:
    webpubsub = settings.webpubsub
    units = ("webpubsub_units", "webpubsub_maximum_units")
    if webpubsub.maximum_units < webpubsub.units:
        reader.conflict("webpubsub_maximum_units must not be below webpubsub_units", *units)
    if webpubsub.maximum_units > webpubsub.units and webpubsub.sku != "Premium_P1":
        reader.conflict(
            "webpubsub_maximum_units above webpubsub_units needs webpubsub_sku Premium_P1",
            "webpubsub_sku",
            *units,
        )
    if webpubsub.sku == "Free_F1" and webpubsub.units != 1:
        reader.conflict("webpubsub_sku Free_F1 has one unit", "webpubsub_sku", "webpubsub_units")
    if settings.network.private and webpubsub.sku == "Free_F1":
        reader.conflict(
            "private_network needs webpubsub_sku Standard_S1 or Premium_P1",
            "private_network",
            "webpubsub_sku",
        )


def _check_edge(settings: Settings, reader: SettingsReader) -> None:
    edge = settings.edge
    for key, value in (("domain", edge.domain), ("second_origin_host", edge.second_origin_host)):
        if value and edge.tier == "none":
            reader.conflict(f"{key} needs edge standard or premium: it is of Front Door", key, "edge")
    zone = edge.dns_zone_id.rsplit("/", 1)[-1]
    keys = ("domain", "dns_zone_id")
    if zone and not edge.domain:
        reader.conflict("dns_zone_id needs domain, whose records it gets", *keys)
    elif zone and edge.domain == zone:
        text = f"domain must be a name below {zone}: Azure does not renew the certificate of {zone} itself"
        reader.conflict(text, *keys)
    elif zone and not edge.domain.endswith(f".{zone}"):
        reader.conflict(f"domain {edge.domain} does not belong to the zone {zone}", *keys)
    if edge.second_origin_host and not settings.storage_replication.startswith("Standard_G"):
        reader.conflict(
            "second_origin_host needs storage_replication Standard_GRS or Standard_GZRS: with another one, "
            "licenses and keys are lost with the region",
            "second_origin_host",
            "storage_replication",
        )


def _check_primary(settings: Settings, reader: SettingsReader) -> None:
    """Refuses what a stack cannot have if its database is made as a replica of another stack's."""
    if settings.primary is None:
        return
    postgres, key = settings.postgres, "primary_postgres_id"
    if not settings.business.public_url:
        reader.conflict(
            "public_url must be the output url of the first region's stack: customers know no other address",
            "public_url",
            key,
        )
    for setting, refused, why in (
        ("postgres_sku", postgres.tier == "Burstable", "Azure makes no replica of that size"),
        ("postgres_high_availability", postgres.high_availability, "a replica has no standby"),
        ("postgres_geo_backup", postgres.geo_backup, "a server that was a replica never has such backups"),
        ("edge", settings.edge.tier != "none", "the Front Door of the first region leads here"),
    ):
        if refused:
            reader.conflict(f"{setting} does not fit primary_postgres_id: {why}", setting, key)


def _check_operations(settings: Settings, reader: SettingsReader) -> None:
    operations = settings.operations
    if operations.machine and not settings.network.private:
        reader.conflict(
            "operations_machine needs private_network: other stacks can be reached without a machine",
            "operations_machine",
            "private_network",
        )
    if operations.bastion and not operations.machine:
        reader.conflict(
            "operations_bastion needs operations_machine, because it leads to that machine alone",
            "operations_bastion",
            "operations_machine",
        )
