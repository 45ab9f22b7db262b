"""Lists every alert in one table: its text, its severity, what it watches and how often.

docs/operations.md has a runbook of the same name. The query of a log alert is the .kql file of its name
beside this module. It reads one window of the workspace, and returns rows only if something is wrong.
"""

from collections.abc import Iterator
from dataclasses import replace

from infra.alerts.kinds import BudgetAlert, HealthAlert, LogAlert, MetricAlert, RuleAlert
from infra.settings.model import Settings
from infra.slo import alert_name, alert_text, read_levels

# The availability test asks the app from five locations; components/monitoring.py makes it.
AVAILABILITY = RuleAlert(
    "unavailable", 0, "At least two of five test locations cannot reach the service.", "PT5M", "PT1M"
)

LOG_ALERTS = (
    LogAlert("requests-failing", 1, "More than 1% of requests failed with 5xx.", "PT10M", "PT5M"),
    LogAlert(
        "requests-slow", 2, "The 95th percentile of a route's duration is above its limit.", "PT15M", "PT5M"
    ),
    LogAlert("outbox-age", 1, "The oldest unsent signal has waited for over two minutes.", "PT10M", "PT5M"),
    LogAlert("publish-slow", 2, "Signals are sent over two seconds late on average.", "PT15M", "PT5M"),
    LogAlert(
        "signals-not-flowing", 1, "A symbol has no fresh bars during New York trading hours.", "PT10M", "PT5M"
    ),
    LogAlert(
        "no-signals", 2, "Fresh bars arrived for a day, and the engine published no signal.", "P1D", "PT1H"
    ),
    LogAlert(
        "bars-quarantined",
        2,
        "A feed sent prices too far from those before them; the engine does not use them yet.",
        "PT15M",
        "PT5M",
    ),
    LogAlert("timers-stopped", 1, "No timer has measured the outbox for 15 minutes.", "PT15M", "PT5M"),
    LogAlert(
        "training-frozen",
        2,
        "Training would change the average confidence by more than noise explains.",
        "PT1H",
        "PT15M",
    ),
    LogAlert("model-retired", 3, "A strategy serves the base rate in place of its model.", "PT1H", "PT15M"),
    LogAlert(
        "license-store-errors", 1, "The app cannot read or write keys in Table Storage.", "PT10M", "PT5M"
    ),
    LogAlert(
        "limiter-open", 2, "Redis is unavailable, so requests pass without a rate limit.", "PT10M", "PT5M"
    ),
    LogAlert(
        "connections-uncounted",
        2,
        "Postgres is unavailable, so clients connect without being counted against their license.",
        "PT10M",
        "PT5M",
    ),
    LogAlert(
        "connections-exceeded",
        3,
        "Clients are refused often, because their license has too many open connections.",
        "PT15M",
        "PT5M",
    ),
    LogAlert(
        "license-export-overdue",
        2,
        "The newest export of licenses and keys is older than 26 hours.",
        "P2D",
        "PT1H",
    ),
    LogAlert(
        "payments-late", 1, "A buyer's payment event has waited for over five minutes.", "PT10M", "PT5M"
    ),
    LogAlert("payments-failed", 2, "The app has given up a payment event.", "PT1H", "PT15M"),
    LogAlert(
        "notification-parked",
        2,
        "The app has given up ten or more notifications within an hour.",
        "PT1H",
        "PT15M",
    ),
    LogAlert("defects", 3, "The app raised unexpected errors.", "PT15M", "PT15M"),
    LogAlert(
        "logs-capped",
        2,
        "The workspace has reached its daily cap: log alerts see no new data.",
        "PT1H",
        "PT15M",
    ),
)


def _slo_alerts() -> Iterator[LogAlert]:
    """The alerts of the service levels, whose queries `python -m infra.slo` writes."""
    levels = read_levels()
    for level in levels.levels:
        for alert in levels.alerts:
            yield LogAlert(
                alert_name(level, alert),
                alert.severity,
                alert_text(levels, level, alert),
                alert.window,
                alert.frequency,
            )


SLO_ALERTS = tuple(_slo_alerts())
# They would fire all the time in a passive region, whose timers are off.
NEED_TIMERS = frozenset({"no-signals", "signals-not-flowing", "timers-stopped"})

# Shorter windows and frequencies than an hour, in minutes.
_MINUTES = {"PT1M": 1, "PT5M": 5, "PT10M": 10, "PT15M": 15}

# Azure's health report covers the standby. No metric does: those of replication are of read replicas.
HEALTH_ALERTS = (
    HealthAlert(
        "postgres-health",
        2,
        "Azure reports Postgres, or its standby, as degraded or unavailable.",
        "postgres",
        ("Degraded", "Unavailable"),
    ),
)

BUDGET_ALERTS = (
    BudgetAlert("budget-80", "This month's cost has reached 80% of the budget.", 80, "Actual"),
    BudgetAlert("budget-100", "This month's cost has reached the budget.", 100, "Actual"),
    BudgetAlert(
        "budget-forecast", "The forecast of this month's cost has reached the budget.", 100, "Forecasted"
    ),
)

REPLICATION_DELAY = "physical_replication_delay_in_seconds"
# Azure's default of max_connections, by the server's memory in GiB.
_CONNECTIONS = {2: 50, 4: 429, 8: 859, 16: 1_718, 32: 3_437}
_MOST_CONNECTIONS = 5_000
_RESERVED_CONNECTIONS = 15


def log_alerts(settings: Settings) -> Iterator[LogAlert]:
    """Alerts on logs and telemetry that the stack has, none run more often than `log_alert_minutes` says.

    A stack without a key of exports has no alert about them. A window is never shorter than the time between
    two runs, so that no row is missed.
    """
    minutes = settings.monitoring.log_alert_minutes
    slowest = f"PT{minutes}M"
    for alert in (*LOG_ALERTS, *(SLO_ALERTS if settings.monitoring.slo_alerts else ())):
        if alert.name == "license-export-overdue" and not settings.license_export_key:
            continue
        frequency = slowest if _MINUTES.get(alert.frequency, minutes) < minutes else alert.frequency
        window = slowest if _MINUTES.get(alert.window, minutes) < minutes else alert.window
        yield replace(alert, window=window, frequency=frequency)


def metric_alerts(settings: Settings) -> tuple[MetricAlert, ...]:
    """Alerts on metrics of the resources that the stack has."""
    return tuple(
        alert
        for alert in (*_always(settings), *_sometimes(settings))
        if alert.watches != "front_door" or settings.edge.tier != "none"
    )


def _always(settings: Settings) -> Iterator[MetricAlert]:
    connections = round(0.8 * usable_connections(settings.postgres.sku))
    healthy_percent = 25 if settings.edge.second_origin_host else 50  # a passive region's probe always fails
    for row in (
        ("app-errors", 1, "App Service counted more than 20 answers with 5xx in five minutes.",
         "PT5M", "PT1M", "app", "Http5xx", "Total", "GreaterThan", 20),
        ("postgres-down", 0, "Postgres does not answer.",
         "PT5M", "PT1M", "postgres", "is_db_alive", "Maximum", "LessThan", 1),
        ("postgres-storage", 2, "Postgres has used over 80% of its storage.",
         "PT15M", "PT5M", "postgres", "storage_percent", "Average", "GreaterThan", 80),
        ("postgres-cpu", 2, "Postgres uses over 80% of its processor.",
         "PT15M", "PT5M", "postgres", "cpu_percent", "Average", "GreaterThan", 80),
        ("postgres-connections", 2, "Postgres has over 80% of the connections that it accepts.",
         "PT5M", "PT1M", "postgres", "active_connections", "Maximum", "GreaterThan", connections),
        ("postgres-transaction-ids", 2, "Postgres has used 75% of its transaction ids, because vacuum lags.",
         "PT1H", "PT15M", "postgres", "maximum_used_transactionIDs", "Maximum", "GreaterThan", 1_500_000_000),
        ("redis-memory", 2, "Redis has used over 80% of its memory.",
         "PT5M", "PT5M", "redis", "usedmemorypercentage", "Maximum", "GreaterThan", 80),
        ("redis-evictions", 2, "Redis evicts keys before they expire, rate limits among them.",
         "PT5M", "PT5M", "redis", "evictedkeys", "Total", "GreaterThan", 0),
        ("redis-cpu", 2, "Redis uses over 80% of its processor.",
         "PT15M", "PT5M", "redis", "percentProcessorTime", "Maximum", "GreaterThan", 80),
        ("webpubsub-quota", 2, "Web PubSub has over 80% of the connections that it accepts.",
         "PT5M", "PT1M", "webpubsub", "ConnectionQuotaUtilization", "Maximum", "GreaterThan", 80),
        ("webpubsub-load", 2, "Web PubSub's server load is over 70%: messages become late.",
         "PT5M", "PT1M", "webpubsub", "ServerLoad", "Maximum", "GreaterThan", 70),
        ("edge-errors", 1, "Front Door answers over 5% of requests with 5xx.",
         "PT5M", "PT1M", "front_door", "Percentage5XX", "Average", "GreaterThan", 5),
        ("edge-origin", 1, "Front Door's health probe of the app fails.",
         "PT5M", "PT1M", "front_door", "OriginHealthPercentage", "Average", "LessThan", healthy_percent),
    ):  # fmt: skip
        yield MetricAlert(*row)


def _sometimes(settings: Settings) -> Iterator[MetricAlert]:
    if settings.compute.plan == "dedicated":
        yield MetricAlert(
            "app-unhealthy", 2, "App Service's health check fails on at least one instance.",
            "PT15M", "PT5M", "app", "HealthCheckStatus", "Average", "LessThan", 100,
        )  # fmt: skip
        yield MetricAlert(
            "plan-cpu", 2, "Instances use over 85% of their processors, although autoscale is on.",
            "PT15M", "PT5M", "plan", "CpuPercentage", "Average", "GreaterThan", 85,
        )  # fmt: skip
        yield MetricAlert(
            "plan-memory", 2, "Instances use over 90% of their memory.",
            "PT15M", "PT5M", "plan", "MemoryPercentage", "Average", "GreaterThan", 90,
        )  # fmt: skip
    if settings.notifications.pagerduty_keys:
        yield MetricAlert(
            "pager-failing", 1, "An alert did not reach PagerDuty.",
            "PT15M", "PT5M", "pager", "RunsFailed", "Total", "GreaterThan", 0,
        )  # fmt: skip
    if settings.notifications.slack_urls:
        yield MetricAlert(
            "slack-failing", 2, "An alert did not reach Slack.",
            "PT15M", "PT5M", "slack", "RunsFailed", "Total", "GreaterThan", 0,
        )  # fmt: skip
    if settings.primary is not None or settings.edge.second_origin_host:
        # Azure measures it on the server that is the replica, whichever of the two that is.
        yield MetricAlert(
            "postgres-lag", 1, "The second region's database is over 300 seconds behind.",
            "PT5M", "PT1M", "postgres", REPLICATION_DELAY, "Maximum", "GreaterThan", 300,
        )  # fmt: skip
    if settings.postgres.has_pgbouncer:
        yield MetricAlert(
            "postgres-waiting", 2, "More than 10 clients wait for a connection of PgBouncer.",
            "PT5M", "PT1M", "postgres", "client_connections_waiting", "Maximum", "GreaterThan", 10,
        )  # fmt: skip


def usable_connections(sku: str) -> int:
    """Connections that a server of that size accepts by default, without those that Azure reserves."""
    family, size = sku.removeprefix("Standard_")[0], sku.removeprefix("Standard_")[1:]
    processors = int("".join(character for character in size.partition("_")[0] if character.isdigit()))
    if family == "B":
        memory_gib = {"1ms": 2, "2s": 4}.get(size, processors * 4)
    else:
        memory_gib = processors * (8 if family == "E" else 4)
    return _CONNECTIONS.get(memory_gib, _MOST_CONNECTIONS) - _RESERVED_CONNECTIONS
