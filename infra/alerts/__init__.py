"""Every alert, in one table: what it says, how bad that is, what it watches and how often.

A runbook of the same name lies in docs/operations.md. Queries are in the .kql files beside this one, each
over one window of the workspace: it gives rows when something is wrong, and none when all is well.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from infra.settings.model import Settings

RUNBOOKS = "docs/operations.md"
_HERE = Path(__file__).parent

# Critical: bots cannot trade. Error: they soon cannot, or trade without signals. Warning: look today.
# Informational: know it.
Severity = Literal[0, 1, 2, 3]
SEVERITIES = {0: "critical", 1: "error", 2: "warning", 3: "informational"}

Watched = Literal["app", "plan", "postgres", "redis", "webpubsub", "front_door"]
NAMESPACES: dict[Watched, str] = {
    "app": "Microsoft.Web/sites",
    "plan": "Microsoft.Web/serverfarms",
    "postgres": "Microsoft.DBforPostgreSQL/flexibleServers",
    "redis": "Microsoft.Cache/redisEnterprise",
    "webpubsub": "Microsoft.SignalRService/WebPubSub",
    "front_door": "Microsoft.Cdn/profiles",
}


@dataclass(frozen=True, slots=True)
class Alert:
    name: str
    severity: Severity
    says: str

    @property
    def runbook(self) -> str:
        return f"{RUNBOOKS}#{self.name}"

    @property
    def properties(self) -> dict[str, str]:
        """What goes with every message of the alert."""
        return {"runbook": self.runbook}

    @property
    def description(self) -> str:
        return f"{self.says} Runbook: {self.runbook}"


@dataclass(frozen=True, slots=True)
class RuleAlert(Alert):
    """Evaluated every so often, each time over a window; both in ISO 8601."""

    window: str
    frequency: str


@dataclass(frozen=True, slots=True)
class LogAlert(RuleAlert):
    """Fires when its query gives any row."""

    @property
    def query(self) -> str:
        return (_HERE / f"{self.name}.kql").read_text(encoding="utf-8")


@dataclass(frozen=True, slots=True)
class MetricAlert(RuleAlert):
    """Fires when a metric of the platform passes its threshold over the window."""

    watches: Watched
    metric: str
    aggregation: Literal["Average", "Maximum", "Total"]
    operator: Literal["GreaterThan", "LessThan"]
    threshold: float


@dataclass(frozen=True, slots=True)
class HealthAlert(Alert):
    """Fires when Azure's own judgement of a resource becomes one of `states`.

    It comes once for each change, without an all-clear; Azure knows no severity of such an alert.
    """

    watches: Watched
    states: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class BudgetAlert:
    """Fires when the month's cost, actual or forecast, passes a share of the budget."""

    name: str
    says: str
    percent: int
    kind: Literal["Actual", "Forecasted"]


# What reaches the app from outside, from several places of the world at once.
AVAILABILITY = RuleAlert(
    "unavailable", 0, "The service cannot be reached from two places or more.", "PT5M", "PT1M"
)

LOG_ALERTS = (
    LogAlert("requests-failing", 1, "More than 1% of requests are answered 5xx.", "PT10M", "PT5M"),
    LogAlert("requests-slow", 2, "A route's 95th percentile is above its limit.", "PT15M", "PT5M"),
    LogAlert("outbox-age", 1, "Signals wait to be sent for over two minutes.", "PT10M", "PT5M"),
    LogAlert("publish-slow", 2, "Signals go out over two seconds late.", "PT15M", "PT5M"),
    LogAlert("signals-not-flowing", 1, "Symbols have no fresh bars while New York trades.", "PT10M", "PT5M"),
    LogAlert("no-signals", 2, "Bars came for a day, and no signal was made of them.", "P1D", "PT1H"),
    LogAlert(
        "timers-stopped", 1, "No timer has told of the outbox for a quarter of an hour.", "PT15M", "PT5M"
    ),
    LogAlert("model-retired", 3, "A strategy fell back from its model to the base rate.", "PT1H", "PT15M"),
    LogAlert("license-store-errors", 1, "Table Storage fails to tell of keys.", "PT10M", "PT5M"),
    LogAlert("limiter-open", 2, "Requests pass without a rate limit: Redis is away.", "PT10M", "PT5M"),
    LogAlert("defects", 3, "The app raised errors that nobody expected.", "PT15M", "PT15M"),
    LogAlert(
        "logs-capped", 2, "The workspace takes no more logs today; log alerts are blind.", "PT1H", "PT15M"
    ),
)

# Azure judges the standby too: no metric tells of it, for those of replication are of read replicas.
HEALTH_ALERTS = (
    HealthAlert(
        "postgres-health",
        2,
        "Azure finds Postgres, or the readiness of its standby, degraded or gone.",
        "postgres",
        ("Degraded", "Unavailable"),
    ),
)

BUDGET_ALERTS = (
    BudgetAlert("budget-80", "The month has cost 80% of its budget.", 80, "Actual"),
    BudgetAlert("budget-100", "The month has cost all of its budget.", 100, "Actual"),
    BudgetAlert("budget-forecast", "The month is going to cost more than its budget.", 100, "Forecasted"),
)

# Connections that Postgres takes by default, by the server's memory in GiB; Azure sets it so.
_CONNECTIONS = {2: 50, 4: 429, 8: 859, 16: 1_718, 32: 3_437}
_MOST_CONNECTIONS = 5_000
_RESERVED_CONNECTIONS = 15


def metric_alerts(settings: Settings) -> tuple[MetricAlert, ...]:
    """Those that make sense for a stack's own resources."""
    return tuple(
        alert
        for alert in (*_always(settings), *_sometimes(settings))
        if alert.watches != "front_door" or settings.edge.tier != "none"
    )


def alerts_of(settings: Settings) -> tuple[Alert, ...]:
    """Every alert of a stack but those of its budget."""
    return (AVAILABILITY, *LOG_ALERTS, *metric_alerts(settings), *HEALTH_ALERTS)


def _always(settings: Settings) -> Iterator[MetricAlert]:
    connections = round(0.8 * usable_connections(settings.postgres.sku))
    for row in (
        ("app-errors", 1, "The platform counts 5xx, also where the app itself cannot.",
         "PT5M", "PT1M", "app", "Http5xx", "Total", "GreaterThan", 20),
        ("postgres-down", 0, "Postgres does not answer.",
         "PT5M", "PT1M", "postgres", "is_db_alive", "Maximum", "LessThan", 1),
        ("postgres-storage", 2, "Postgres has used 80% of its storage.",
         "PT15M", "PT5M", "postgres", "storage_percent", "Average", "GreaterThan", 80),
        ("postgres-cpu", 2, "Postgres computes at over 80%.",
         "PT15M", "PT5M", "postgres", "cpu_percent", "Average", "GreaterThan", 80),
        ("postgres-connections", 2, "Postgres has 80% of the connections that it takes.",
         "PT5M", "PT1M", "postgres", "active_connections", "Maximum", "GreaterThan", connections),
        ("postgres-transaction-ids", 2, "Three quarters of all transaction ids are used: vacuum lags.",
         "PT1H", "PT15M", "postgres", "maximum_used_transactionIDs", "Maximum", "GreaterThan", 1_500_000_000),
        ("redis-memory", 2, "Redis has used 80% of its memory.",
         "PT5M", "PT5M", "redis", "usedmemorypercentage", "Maximum", "GreaterThan", 80),
        ("redis-evictions", 2, "Redis drops keys before their time, rate limits among them.",
         "PT5M", "PT5M", "redis", "evictedkeys", "Total", "GreaterThan", 0),
        ("redis-cpu", 2, "Redis computes at over 80%.",
         "PT15M", "PT5M", "redis", "percentProcessorTime", "Maximum", "GreaterThan", 80),
        ("webpubsub-quota", 2, "Web PubSub has 80% of the connections that it takes.",
         "PT5M", "PT1M", "webpubsub", "ConnectionQuotaUtilization", "Maximum", "GreaterThan", 80),
        ("webpubsub-load", 2, "Web PubSub works at over 70%: messages will come late.",
         "PT5M", "PT1M", "webpubsub", "ServerLoad", "Maximum", "GreaterThan", 70),
        ("edge-errors", 1, "Front Door answers over 5% with 5xx.",
         "PT5M", "PT1M", "front_door", "Percentage5XX", "Average", "GreaterThan", 5),
        ("edge-origin", 1, "Front Door finds the app unhealthy.",
         "PT5M", "PT1M", "front_door", "OriginHealthPercentage", "Average", "LessThan", 50),
    ):  # fmt: skip
        yield MetricAlert(*row)


def _sometimes(settings: Settings) -> Iterator[MetricAlert]:
    if settings.compute.plan == "dedicated":
        yield MetricAlert(
            "app-unhealthy", 2, "The platform's health check fails on some instance.",
            "PT15M", "PT5M", "app", "HealthCheckStatus", "Average", "LessThan", 100,
        )  # fmt: skip
        yield MetricAlert(
            "plan-cpu", 2, "Instances compute at over 85%, for all that autoscale does.",
            "PT15M", "PT5M", "plan", "CpuPercentage", "Average", "GreaterThan", 85,
        )  # fmt: skip
        yield MetricAlert(
            "plan-memory", 2, "Instances have used over 90% of their memory.",
            "PT15M", "PT5M", "plan", "MemoryPercentage", "Average", "GreaterThan", 90,
        )  # fmt: skip
    if settings.postgres.has_pgbouncer:
        yield MetricAlert(
            "postgres-waiting", 2, "Clients wait for a connection of PgBouncer's.",
            "PT5M", "PT1M", "postgres", "client_connections_waiting", "Maximum", "GreaterThan", 10,
        )  # fmt: skip


def usable_connections(sku: str) -> int:
    """What a server of that size takes by default, less those that Azure keeps for itself."""
    family, size = sku.removeprefix("Standard_")[0], sku.removeprefix("Standard_")[1:]
    processors = int("".join(character for character in size.partition("_")[0] if character.isdigit()))
    if family == "B":
        memory_gib = {"1ms": 2, "2s": 4}.get(size, processors * 4)
    else:
        memory_gib = processors * (8 if family == "E" else 4)
    return _CONNECTIONS.get(memory_gib, _MOST_CONNECTIONS) - _RESERVED_CONNECTIONS
