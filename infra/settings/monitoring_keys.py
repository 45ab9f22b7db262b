"""Reads the settings of logs and the budget."""

from infra.settings.model import MonitoringSettings
from infra.settings.reader import SettingsReader

# Azure charges for a rule by its frequency, and the same for a quarter of an hour as for longer.
LOG_ALERT_MINUTES = ("5", "10", "15")


def read_monitoring(reader: SettingsReader) -> MonitoringSettings:
    return MonitoringSettings(
        slo_alerts=reader.boolean("slo_alerts", default=True),
        availability_test=reader.boolean("availability_test", default=True),
        log_alert_minutes=int(reader.choice("log_alert_minutes", LOG_ALERT_MINUTES, default="5")),
        log_retention_days=reader.integer("log_retention_days", 30, 730, default=30),
        log_daily_cap_gb=reader.integer("log_daily_cap_gb", 1, 1000, default=1),
        budget_usd=reader.integer("budget_usd", 1, 1_000_000),
        budget_start=reader.matching(
            "budget_start",
            r"(20[0-9][0-9]-(0[1-9]|1[0-2])-01)?",
            "the first day of a month, such as 2026-12-01, or empty",
            default="",
        ),
    )
