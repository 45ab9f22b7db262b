"""Holds a stack's settings as frozen values.

`keys.py` reads them; README.md of infra describes each key.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Literal

PlanKind = Literal["dedicated", "flex"]
# An active stack serves and runs its timers; a passive one waits in the second region.
Role = Literal["active", "passive"]
EdgeTier = Literal["none", "standard", "premium"]
Zones = Literal["one", "several", "some"]


@dataclass(frozen=True, slots=True)
class PlanSize:
    """A size of a dedicated plan, with the tier that Azure requires beside it."""

    name: str
    tier: str
    processors: int
    memory_gb: float


# Standard or better, because lower tiers have neither autoscale nor a staging slot.
PLAN_SIZES = {
    size.name: size
    for size in (
        PlanSize("S1", "Standard", 1, 1.75),
        PlanSize("S2", "Standard", 2, 3.5),
        PlanSize("S3", "Standard", 4, 7),
        PlanSize("P0v3", "Premium0V3", 1, 4),
        PlanSize("P1v3", "PremiumV3", 2, 8),
        PlanSize("P2v3", "PremiumV3", 4, 16),
        PlanSize("P3v3", "PremiumV3", 8, 32),
        PlanSize("P1mv3", "PremiumMV3", 2, 16),
        PlanSize("P2mv3", "PremiumMV3", 4, 32),
    )
}


# Burstable sizes: 2 processors with 4 GB, 2 with 8 GB, 4 with 8 GB. `pulumi up` needs more than 1 GB.
MACHINE_SIZES = ("Standard_B2als_v2", "Standard_B2as_v2", "Standard_B4als_v2")


@dataclass(frozen=True, slots=True)
class NetworkSettings:
    """`deployers` are the addresses of machines that deploy, in CIDR form."""

    private: bool
    address_space: str
    deployers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class OperationsSettings:
    """The machine within a private network, and the Bastion that leads to it."""

    machine: bool
    machine_size: str
    bastion: bool


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
    telemetry_sample_ratio: Decimal
    cors_origins: tuple[str, ...]
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
        """The SKU's tier, which Azure requires beside it."""
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
    """`domain` is the name that bots use; `dns_zone_id` is the zone in Azure DNS that gets its records.

    `second_origin_host` is the app's host in the second region. All three are empty if the stack has none.
    """

    tier: EdgeTier
    requests_per_minute: int
    domain: str
    dns_zone_id: str
    second_origin_host: str


@dataclass(frozen=True, slots=True)
class MonitoringSettings:
    """How long logs are kept, what a month may cost, and whether service levels have alerts.

    `availability_test` is whether Azure asks the app from five places, and `log_alert_minutes` the shortest
    time between runs of a log alert.
    `budget_start` is the first day of a month, or empty for the month in which Azure makes the budget.
    """

    slo_alerts: bool
    availability_test: bool
    log_alert_minutes: int
    log_retention_days: int
    log_daily_cap_gb: int
    budget_usd: int
    budget_start: str


@dataclass(frozen=True, slots=True)
class NotificationSettings:
    """Who gets alerts. `quiet` makes the rules of all alerts and leaves them off.

    `webhook_urls` get Azure's common alert schema as it is.
    """

    quiet: bool
    emails: tuple[str, ...]
    sms: tuple[str, ...]
    slack_urls: tuple[str, ...] = field(repr=False)
    pagerduty_keys: tuple[str, ...] = field(repr=False)
    pagerduty_region: str
    webhook_urls: tuple[str, ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class BusinessSettings:
    """What the stack sells, and whom the app notifies.

    `secrets` has only those that are set, by the names of VENDOR_SECRETS. Without a `public_url`, customers
    reach the app under the stack's own address.
    """

    secrets: Mapping[str, str] = field(repr=False)
    payment_plans: str
    payment_mode: str
    discord_guild_id: str
    discord_roles: str
    public_url: str


@dataclass(frozen=True, slots=True)
class PrimarySettings:
    """What a stack in the second region shares with that of the first: the ids of its database server, of its
    storage account with licenses and keys, and of its Front Door.
    """

    postgres_id: str
    storage_id: str
    front_door_id: str


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that differs between stacks.

    `zones`: the stack lives in `one` zone and pays for no other, survives the loss of a zone (`several`), or
    only `some` of its services do. `protect` keeps resources with data when the stack is destroyed.
    """

    stack: str
    location: str
    zones: Zones
    owner: str
    cost_centre: str
    name_suffix: str
    protect: bool
    api_key_pepper: str = field(repr=False)
    api_key_pepper_previous: str = field(repr=False)
    role: Role
    primary: PrimarySettings | None
    license_export_key: str
    storage_replication: str
    network: NetworkSettings
    operations: OperationsSettings
    compute: ComputeSettings
    redis: RedisSettings
    postgres: PostgresSettings
    webpubsub: WebPubSubSettings
    edge: EdgeSettings
    business: BusinessSettings
    monitoring: MonitoringSettings
    notifications: NotificationSettings
