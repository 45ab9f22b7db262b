"""Reads every key of a stack's configuration into frozen settings, and reports all problems together.

README.md of infra describes each key; a test holds the two together.
"""

import ipaddress
import re
from decimal import Decimal
from typing import cast

from infra.settings.combinations import check_combinations
from infra.settings.model import (
    PLAN_SIZES,
    ComputeSettings,
    EdgeSettings,
    EdgeTier,
    FlexSettings,
    MonitoringSettings,
    NetworkSettings,
    PlanKind,
    PostgresSettings,
    RedisSettings,
    ScalingSettings,
    Settings,
    WebPubSubSettings,
)
from infra.settings.reader import SettingsReader, StackConfig
from infra.timers import timers

# The app refuses a shorter one too: shared/settings.py.
MIN_PEPPER_BYTES = 32
# Azure sells these memory sizes for Flex Consumption instances, and no others.
FLEX_MEMORY_MB = ("512", "2048", "4096")
# Azure sells single units of Web PubSub up to this number, and then tens.
MAX_UNITS = 10
_LABEL = "[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_ORIGIN = re.compile(
    rf"(?P<scheme>https?)://(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9a-f:.]{{2,45}}\])(?::(?P<port>[1-9][0-9]{{0,4}}))?"
)
_USUAL_PORTS = {("http", "80"), ("https", "443")}
_EMAIL = re.compile(r"[^@\s,]+@[^@\s,]+\.[^@\s,]+")


def read_settings(config: StackConfig) -> Settings:
    """Settings of one stack; raises ConfigurationError that names every problem and no secret."""
    reader = SettingsReader(config)
    if not re.fullmatch(r"[a-z][a-z0-9]{1,7}", config.stack):
        reader.problem(
            "the stack's name must be 2 to 8 lower-case letters and digits, because names of resources hold "
            f"it, got {config.stack!r}"
        )
    settings = Settings(
        stack=config.stack,
        location=reader.matching(
            "location", r"[a-z]+[0-9]?", "a region as Azure writes it, such as centralus"
        ),
        owner=reader.matching("owner", r"\S.{0,255}", "a team or an address"),
        cost_centre=reader.matching("cost_centre", r"\S.{0,255}", "what the bill is booked under"),
        name_suffix=reader.matching("name_suffix", r"[a-z0-9]{3,6}", "3 to 6 lower-case letters and digits"),
        api_key_pepper=_pepper(reader, "api_key_pepper"),
        api_key_pepper_previous=_pepper(reader, "api_key_pepper_previous", default=""),
        storage_replication=reader.choice(
            "storage_replication", ("Standard_LRS", "Standard_ZRS", "Standard_GRS", "Standard_GZRS")
        ),
        network=_network(reader),
        compute=_compute(reader),
        redis=RedisSettings(
            sku=reader.matching(
                "redis_sku",
                r"(Balanced|MemoryOptimized|ComputeOptimized)_[BMX][0-9]{1,4}",
                "a SKU of Azure Managed Redis, such as Balanced_B1",
            ),
            high_availability=reader.boolean("redis_high_availability"),
        ),
        postgres=_postgres(reader),
        webpubsub=_webpubsub(reader),
        edge=EdgeSettings(
            tier=cast("EdgeTier", reader.choice("edge", ("none", "standard", "premium"))),
            requests_per_minute=reader.integer("edge_requests_per_minute", 10, 1_000_000, default=3000),
        ),
        monitoring=_monitoring(reader),
    )
    check_combinations(settings, reader)
    reader.finish()
    return settings


def _pepper(reader: SettingsReader, key: str, default: str | None = None) -> str:
    value = reader.secret(key, default)
    if value and len(value.encode()) < MIN_PEPPER_BYTES:
        reader.problem(f"{key} must be at least {MIN_PEPPER_BYTES} bytes", key)
    return value


def _network(reader: SettingsReader) -> NetworkSettings:
    network = NetworkSettings(
        private=reader.boolean("private_network"),
        address_space=reader.text("address_space", "10.40.0.0/22"),
        deployers=reader.listed(
            "deployer_addresses",
            lambda part: "/" in part and _ipv4_range(part),
            "IPv4 ranges such as 203.0.113.7/32",
            default="",
        ),
    )
    space = _ipv4_range(network.address_space)
    if space is None or not space.is_private or space.prefixlen > 22:
        reader.must_be(
            "address_space",
            "a private IPv4 range of /22 or larger, such as 10.40.0.0/22",
            network.address_space,
        )
    return network


def _ipv4_range(text: str) -> ipaddress.IPv4Network | None:
    try:
        return ipaddress.IPv4Network(text)
    except ValueError:
        return None


def _compute(reader: SettingsReader) -> ComputeSettings:
    return ComputeSettings(
        plan=cast("PlanKind", reader.choice("plan", ("dedicated", "flex"), default="dedicated")),
        plan_size=PLAN_SIZES[reader.choice("plan_sku", tuple(PLAN_SIZES), default="P0v3")],
        zone_redundant=reader.boolean("zone_redundant", default=False),
        scaling=ScalingSettings(
            minimum=reader.integer("autoscale_minimum", 1, 30, default=1),
            maximum=reader.integer("autoscale_maximum", 1, 30, default=10),
            default=reader.integer("autoscale_default", 1, 30, default=2),
            open_minimum=reader.integer("autoscale_open_minimum", 1, 30, default=4),
        ),
        flex=FlexSettings(
            memory_mb=int(reader.choice("flex_memory_mb", FLEX_MEMORY_MB, default="2048")),
            always_ready=reader.integer("flex_always_ready", 0, 1000, default=0),
            maximum_instances=reader.integer("flex_maximum_instances", 1, 1000, default=40),
            http_concurrency=reader.integer("flex_http_concurrency", 1, 1000, default=100),
        ),
        database_pool_size=reader.integer("database_pool_size", 1, 100, default=8),
        log_level=reader.choice("log_level", ("DEBUG", "INFO", "WARNING", "ERROR"), default="INFO"),
        telemetry_sample_ratio=reader.share("telemetry_sample_ratio", default=Decimal("0.05")),
        cors_origins=reader.listed(
            "cors_origins",
            _is_origin,
            "origins as browsers send them, such as https://app.example.com: in lower case, no path, no *",
            default="",
        ),
        schedules={
            timer.setting: reader.schedule(timer.setting.lower(), default=timer.schedule)
            for timer in timers()
        },
    )


def _is_origin(text: str) -> bool:
    """As shared/settings_reader.py has it, which refuses other origins when the app starts."""
    found = _ORIGIN.fullmatch(text)
    if found is None or len(text) > 255:
        return False
    port = found["port"]
    return port is None or (int(port) <= 65_535 and (found["scheme"], port) not in _USUAL_PORTS)


def _postgres(reader: SettingsReader) -> PostgresSettings:
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


def _webpubsub(reader: SettingsReader) -> WebPubSubSettings:
    units = reader.integer("webpubsub_units", 1, MAX_UNITS, default=1)
    return WebPubSubSettings(
        sku=reader.choice("webpubsub_sku", ("Free_F1", "Standard_S1", "Premium_P1")),
        units=units,
        maximum_units=reader.integer("webpubsub_maximum_units", 1, MAX_UNITS, default=units),
    )


def _monitoring(reader: SettingsReader) -> MonitoringSettings:
    webhook = reader.secret("alert_webhook_url", default="")
    if webhook and not re.fullmatch(r"https://[^\s/]+(/\S*)?", webhook):
        reader.problem("alert_webhook_url must be an https:// address, because alerts name weak points")
    return MonitoringSettings(
        alert_emails=reader.listed("alert_emails", _EMAIL.fullmatch, "mail addresses"),
        alert_sms=reader.matching(
            "alert_sms",
            r"(\+[0-9]{1,3} [0-9]{4,14})?",
            "a number such as +1 3125550100, or empty",
            default="",
        ),
        alert_webhook_url=webhook,
        log_retention_days=reader.integer("log_retention_days", 30, 730, default=30),
        log_daily_cap_gb=reader.integer("log_daily_cap_gb", 1, 1000, default=1),
        budget_usd=reader.integer("budget_usd", 1, 1_000_000),
        budget_start=reader.matching(
            "budget_start", r"20[0-9][0-9]-(0[1-9]|1[0-2])-01", "the first day of a month, such as 2026-12-01"
        ),
    )
