"""The stack's configuration, read once into frozen settings, with every problem reported at once.

Each key is described in README.md beside this file; a test keeps that so.
"""

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, cast

from infra.config_reader import ConfigReader, StackConfig
from infra.regions import postgres_lacks

PlanKind = Literal["dedicated", "flex"]
EdgeTier = Literal["none", "standard", "premium"]

MIN_PEPPER_BYTES = 32
SCHEDULES = {
    "ENGINE_SCHEDULE": "*/10 * * * * *",
    "RELAY_SCHEDULE": "*/5 * * * * *",
    "HEARTBEAT_SCHEDULE": "*/10 * * * * *",
    "TRAINING_SCHEDULE": "0 */15 * * * *",
    "LICENSE_SCHEDULE": "0 * * * * *",
    "UPKEEP_SCHEDULE": "0 30 3 * * *",
}
# Azure sells these memory sizes for Flex Consumption instances, and no others.
FLEX_MEMORY_MB = ("512", "2048", "4096")
# Web PubSub is sold in single units up to here, then in tens.
MAX_UNITS = 10
_UUID = r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_NCRONTAB = r"[-\d*,/]+( [-\d*,/A-Za-z]+){5}"
_EMAIL = re.compile(r"[^@\s,]+@[^@\s,]+\.[^@\s,]+")


@dataclass(frozen=True, slots=True)
class PlanSize:
    """A size of a dedicated plan, with the tier that Azure wants named beside it."""

    name: str
    tier: str
    processors: int


# Standard or better: below it there is neither autoscale nor a staging slot.
PLAN_SIZES = {
    size.name: size
    for size in (
        PlanSize("S1", "Standard", 1),
        PlanSize("S2", "Standard", 2),
        PlanSize("S3", "Standard", 4),
        PlanSize("P0v3", "Premium0V3", 1),
        PlanSize("P1v3", "PremiumV3", 2),
        PlanSize("P2v3", "PremiumV3", 4),
        PlanSize("P3v3", "PremiumV3", 8),
        PlanSize("P1mv3", "PremiumMV3", 2),
        PlanSize("P2mv3", "PremiumMV3", 4),
    )
}


@dataclass(frozen=True, slots=True)
class NetworkSettings:
    """`deployers` are the addresses of machines that deploy, in CIDR form."""

    private: bool
    address_space: str
    deployers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ScalingSettings:
    """Instances of a dedicated plan; `open_minimum` holds from 09:15 to 10:15 New York time on weekdays."""

    minimum: int
    maximum: int
    default: int
    open_minimum: int


@dataclass(frozen=True, slots=True)
class FlexSettings:
    """`http_concurrency` is requests that one instance takes at a time."""

    memory_mb: int
    always_ready: int
    maximum_instances: int
    http_concurrency: int


@dataclass(frozen=True, slots=True)
class ComputeSettings:
    plan: PlanKind
    plan_size: PlanSize
    zone_redundant: bool
    scaling: ScalingSettings
    flex: FlexSettings
    database_pool_size: int
    log_level: str
    telemetry_sample_ratio: str
    schedules: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class RedisSettings:
    sku: str
    high_availability: bool


@dataclass(frozen=True, slots=True)
class PostgresSettings:
    sku: str
    storage_gb: int
    high_availability: bool
    geo_backup: bool
    backup_days: int
    admin_object_id: str
    admin_name: str
    admin_type: str

    @property
    def tier(self) -> str:
        """The SKU's tier, which Azure wants named beside it."""
        if self.sku.startswith("Standard_B"):
            return "Burstable"
        return "MemoryOptimized" if self.sku.startswith("Standard_E") else "GeneralPurpose"

    @property
    def has_pgbouncer(self) -> bool:
        return self.tier != "Burstable"


@dataclass(frozen=True, slots=True)
class WebPubSubSettings:
    """A unit carries 1,000 connections; the Premium tier scales from `units` to `maximum_units`."""

    sku: str
    units: int
    maximum_units: int


@dataclass(frozen=True, slots=True)
class EdgeSettings:
    tier: EdgeTier
    requests_per_minute: int


@dataclass(frozen=True, slots=True)
class MonitoringSettings:
    """Whom alerts reach, how long logs stay, and what the month may cost."""

    alert_emails: tuple[str, ...]
    alert_sms: str
    alert_webhook_url: str = field(repr=False)
    log_retention_days: int
    log_daily_cap_gb: int
    budget_usd: int
    budget_start: str


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that differs between stacks."""

    stack: str
    location: str
    owner: str
    cost_centre: str
    name_suffix: str
    api_key_pepper: str = field(repr=False)
    api_key_pepper_previous: str = field(repr=False)
    storage_replication: str
    network: NetworkSettings
    compute: ComputeSettings
    redis: RedisSettings
    postgres: PostgresSettings
    webpubsub: WebPubSubSettings
    edge: EdgeSettings
    monitoring: MonitoringSettings


def read_settings(config: StackConfig) -> Settings:
    """Settings of one stack; raises ConfigurationProblems naming every problem, never a secret's value."""
    reader = ConfigReader(config)
    if not re.fullmatch(r"[a-z][a-z0-9]{1,7}", config.stack):
        reader.problem("the stack's name must be 2 to 8 lower-case letters and digits: names are made of it")
    settings = Settings(
        stack=config.stack,
        location=reader.matching(
            "location", r"[a-z]+[0-9]?", "a region as Azure writes it, such as centralus"
        ),
        owner=reader.matching("owner", r"\S.{0,255}", "a team or an address"),
        cost_centre=reader.matching("cost_centre", r"\S.{0,255}", "what the bill is booked under"),
        name_suffix=reader.matching("name_suffix", r"[a-z0-9]{3,6}", "3 to 6 lower-case letters and digits"),
        api_key_pepper=reader.secret("api_key_pepper"),
        api_key_pepper_previous=reader.secret("api_key_pepper_previous", default=""),
        storage_replication=reader.choice(
            "storage_replication", ("Standard_LRS", "Standard_ZRS", "Standard_GRS", "Standard_GZRS")
        ),
        network=NetworkSettings(
            private=reader.flag("private_network"),
            address_space=reader.text("address_space", "10.40.0.0/22"),
            deployers=tuple(filter(None, reader.text("deployer_addresses", "").replace(" ", "").split(","))),
        ),
        compute=_compute(reader),
        redis=RedisSettings(
            sku=reader.matching(
                "redis_sku", r"(Balanced|MemoryOptimized|ComputeOptimized)_[BMX]\d{1,4}", "a SKU"
            ),
            high_availability=reader.flag("redis_high_availability"),
        ),
        postgres=_postgres(reader),
        webpubsub=_webpubsub(reader),
        edge=EdgeSettings(
            tier=cast("EdgeTier", reader.choice("edge", ("none", "standard", "premium"))),
            requests_per_minute=reader.integer("edge_requests_per_minute", 10, 1_000_000, default=3000),
        ),
        monitoring=_monitoring(reader),
    )
    _check_together(settings, reader)
    reader.finish()
    return settings


def _compute(reader: ConfigReader) -> ComputeSettings:
    return ComputeSettings(
        plan=cast("PlanKind", reader.choice("plan", ("dedicated", "flex"), default="dedicated")),
        plan_size=PLAN_SIZES[reader.choice("plan_sku", tuple(PLAN_SIZES), default="P0v3")],
        zone_redundant=reader.flag("zone_redundant", default=False),
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
        telemetry_sample_ratio=reader.matching(
            "telemetry_sample_ratio", r"(0(\.\d{1,6})?|1(\.0{1,6})?)", "a share from 0 to 1", default="0.05"
        ),
        schedules={
            name: reader.matching(name.lower(), _NCRONTAB, "six NCRONTAB fields, UTC", default=default)
            for name, default in SCHEDULES.items()
        },
    )


def _postgres(reader: ConfigReader) -> PostgresSettings:
    return PostgresSettings(
        sku=reader.matching("postgres_sku", r"Standard_(B|D|E)\w+", "a Flexible Server compute size"),
        storage_gb=int(
            reader.choice(
                "postgres_storage_gb", ("32", "64", "128", "256", "512", "1024", "2048"), default="32"
            )
        ),
        high_availability=reader.flag("postgres_high_availability"),
        geo_backup=reader.flag("postgres_geo_backup"),
        backup_days=reader.integer("postgres_backup_days", 7, 35),
        admin_object_id=reader.matching("postgres_admin_object_id", _UUID, "an Entra object id"),
        admin_name=reader.text("postgres_admin_name"),
        admin_type=reader.choice(
            "postgres_admin_type", ("Group", "User", "ServicePrincipal"), default="Group"
        ),
    )


def _webpubsub(reader: ConfigReader) -> WebPubSubSettings:
    units = reader.integer("webpubsub_units", 1, MAX_UNITS, default=1)
    return WebPubSubSettings(
        sku=reader.choice("webpubsub_sku", ("Free_F1", "Standard_S1", "Premium_P1")),
        units=units,
        maximum_units=reader.integer("webpubsub_maximum_units", 1, MAX_UNITS, default=units),
    )


def _monitoring(reader: ConfigReader) -> MonitoringSettings:
    emails = tuple(part.strip() for part in reader.text("alert_emails").split(",") if part.strip())
    if reader.has("alert_emails") and not (emails and all(map(_EMAIL.fullmatch, emails))):
        reader.problem("alert_emails must be mail addresses with commas between them")
    webhook = reader.secret("alert_webhook_url", default="")
    if webhook and not re.fullmatch(r"https://[^\s/]+(/\S*)?", webhook):
        reader.problem("alert_webhook_url must be an https:// address: alerts name what is weak")
    return MonitoringSettings(
        alert_emails=emails,
        alert_sms=reader.matching(
            "alert_sms", r"(\+\d{1,3} \d{4,14})?", "a number such as +1 3125550100, or empty", default=""
        ),
        alert_webhook_url=webhook,
        log_retention_days=reader.integer("log_retention_days", 30, 730, default=30),
        log_daily_cap_gb=reader.integer("log_daily_cap_gb", 1, 1000, default=1),
        budget_usd=reader.integer("budget_usd", 1, 1_000_000),
        budget_start=reader.matching(
            "budget_start", r"20\d\d-(0[1-9]|1[0-2])-01", "the first day of a month"
        ),
    )


def _check_together(settings: Settings, reader: ConfigReader) -> None:
    """What each value alone cannot tell: combinations that Azure refuses, or that make no sense."""
    _check_instances(settings.compute, reader)
    _check_postgres(settings, reader)
    _check_units(settings, reader)
    pepper, previous = settings.api_key_pepper, settings.api_key_pepper_previous
    for key, value in (("api_key_pepper", pepper), ("api_key_pepper_previous", previous)):
        if value and len(value.encode()) < MIN_PEPPER_BYTES:
            reader.problem(f"{key} must be at least {MIN_PEPPER_BYTES} bytes")
    if previous and previous == pepper:
        reader.problem("api_key_pepper_previous is the pepper itself: remove it")
    _check_addresses(settings.network, reader)


def _check_instances(compute: ComputeSettings, reader: ConfigReader) -> None:
    scaling, flex = compute.scaling, compute.flex
    between = ("autoscale_minimum", "autoscale_maximum")
    if not scaling.minimum <= scaling.default <= scaling.maximum:
        reader.together(
            f"autoscale_default must lie between {between[0]} and {between[1]}", "autoscale_default", *between
        )
    if not scaling.minimum <= scaling.open_minimum <= scaling.maximum:
        reader.together(
            f"autoscale_open_minimum must lie between {between[0]} and {between[1]}",
            "autoscale_open_minimum",
            *between,
        )
    if compute.plan == "dedicated" and compute.zone_redundant and scaling.minimum < 2:
        reader.together("zone_redundant needs autoscale_minimum of 2 or more", "plan", "autoscale_minimum")
    if flex.always_ready > flex.maximum_instances:
        reader.together(
            "flex_always_ready must not be above flex_maximum_instances",
            "flex_always_ready",
            "flex_maximum_instances",
        )


def _check_postgres(settings: Settings, reader: ConfigReader) -> None:
    postgres = settings.postgres
    if postgres.high_availability and postgres.tier == "Burstable":
        reader.together(
            "postgres_high_availability is not to be had on a Burstable postgres_sku",
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
        reader.together(f"location {settings.location} does not fit Postgres: {lacks}", *keys)


def _check_units(settings: Settings, reader: ConfigReader) -> None:
    webpubsub = settings.webpubsub
    units = ("webpubsub_units", "webpubsub_maximum_units")
    if webpubsub.maximum_units < webpubsub.units:
        reader.together("webpubsub_maximum_units must not be below webpubsub_units", *units)
    if webpubsub.maximum_units > webpubsub.units and webpubsub.sku != "Premium_P1":
        reader.together(
            "webpubsub_maximum_units above webpubsub_units needs webpubsub_sku Premium_P1",
            "webpubsub_sku",
            *units,
        )
    if webpubsub.sku == "Free_F1" and webpubsub.units != 1:
        reader.together("webpubsub_sku Free_F1 has one unit", "webpubsub_sku", "webpubsub_units")
    if settings.network.private and webpubsub.sku == "Free_F1":
        reader.together(
            "private_network needs webpubsub_sku Standard_S1 or Premium_P1",
            "private_network",
            "webpubsub_sku",
        )


def _check_addresses(network: NetworkSettings, reader: ConfigReader) -> None:
    try:
        space = ipaddress.IPv4Network(network.address_space)
    except ValueError:
        reader.problem("address_space must be an IPv4 range such as 10.40.0.0/22")
    else:
        if not space.is_private or space.prefixlen > 22:
            reader.problem("address_space must be a private range of /22 or larger")
    for deployer in network.deployers:
        try:
            ipaddress.IPv4Network(deployer)
        except ValueError:
            reader.problem(f"deployer_addresses must be IPv4 ranges such as 203.0.113.7/32, not {deployer!r}")
        else:
            if "/" not in deployer:
                reader.problem(f"deployer_addresses needs a length after {deployer}, such as /32")
