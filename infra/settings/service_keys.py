"""Reads the settings of Postgres, Redis, Web PubSub and Front Door."""

from typing import cast

from infra.settings.model import EdgeSettings, EdgeTier, PostgresSettings, RedisSettings, WebPubSubSettings
from infra.settings.reader import SettingsReader

# Azure sells single units of Web PubSub up to this number, and then tens.
MAX_UNITS = 10


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
    )
