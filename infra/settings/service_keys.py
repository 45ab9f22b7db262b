"""Reads the settings of Postgres, Redis, Web PubSub and Front Door."""

from typing import cast

from infra.settings.model import EdgeSettings, EdgeTier, PostgresSettings, RedisSettings, WebPubSubSettings
from infra.settings.reader import SettingsReader

# Azure sells single units of Web PubSub up to this number, and then tens.
MAX_UNITS = 10
# As `pulumi stack output` and `az` write it.
RESOURCE_GROUP_ID = r"/subscriptions/[0-9a-f-]{36}/resourceGroups/[\w().-]{1,90}"
_LABEL = "[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"


def read_postgres(reader: SettingsReader) -> PostgresSettings:
    return PostgresSettings(
        sku=reader.matching(
            "postgres_sku",
            r"Standard_(B|D|E)\w+",
            "a compute size of a flexible server, such as Standard_B2s",
        ),
        storage_gb=int(
            reader.choice(
                "postgres_storage_gb", ("32", "64", "128", "256", "512", "1024", "2048"), default="32"
            )
        ),
        high_availability=reader.boolean("postgres_high_availability"),
        geo_backup=reader.boolean("postgres_geo_backup"),
        backup_days=reader.integer("postgres_backup_days", 7, 35),
        admin_object_id=reader.uuid("postgres_admin_object_id"),
        admin_name=reader.text("postgres_admin_name"),
        admin_type=reader.choice(
            "postgres_admin_type", ("Group", "User", "ServicePrincipal"), default="Group"
        ),
    )


def read_webpubsub(reader: SettingsReader) -> WebPubSubSettings:
    units = reader.integer("webpubsub_units", 1, MAX_UNITS, default=1)
    return WebPubSubSettings(
        sku=reader.choice("webpubsub_sku", ("Free_F1", "Standard_S1", "Premium_P1")),
        units=units,
        maximum_units=reader.integer("webpubsub_maximum_units", 1, MAX_UNITS, default=units),
    )


def read_redis(reader: SettingsReader) -> RedisSettings:
    return RedisSettings(
        sku=reader.matching(
            "redis_sku",
            r"(Balanced|MemoryOptimized|ComputeOptimized)_[BMX][0-9]{1,4}",
            "a SKU of Azure Managed Redis, such as Balanced_B1",
        ),
        high_availability=reader.boolean("redis_high_availability"),
    )


def read_edge(reader: SettingsReader) -> EdgeSettings:
    return EdgeSettings(
        tier=cast("EdgeTier", reader.choice("edge", ("none", "standard", "premium"))),
        requests_per_minute=reader.integer("edge_requests_per_minute", 10, 1_000_000, default=3000),
        domain=reader.matching(
            "domain", rf"({_LABEL}\.)+[a-z]{{2,63}}", "a name such as api.example.com", default=""
        ),
        dns_zone_id=reader.matching(
            "dns_zone_id",
            rf"{RESOURCE_GROUP_ID}/providers/Microsoft\.Network/dnsZones/[a-z0-9.-]+",
            "the resource id of a zone in Azure DNS",
            default="",
        ),
        second_origin_host=reader.matching(
            "second_origin_host",
            r"[a-z0-9-]{2,60}\.azurewebsites\.net",
            "the output app_host of the stack in the second region",
            default="",
        ),
    )
