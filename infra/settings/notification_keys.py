"""Reads the settings that say who gets alerts, and on which ways."""

import re

from infra.settings.model import NotificationSettings
from infra.settings.reader import SettingsReader

_EMAIL = re.compile(r"[^@\s,]+@[^@\s,]+\.[^@\s,]+")
_NUMBER = re.compile(r"\+[0-9]{1,3} [0-9]{4,14}")
# Slack for governments has a host of its own.
_SLACK = re.compile(r"https://hooks\.slack(-gov)?\.com/services/[A-Za-z0-9/_-]{1,200}")
_PAGERDUTY = re.compile(r"[A-Za-z0-9]{32}")
_HTTPS = re.compile(r"https://[^\s/,]+(/[^\s,]*)?")
# Azure allows an action group ten text messages, ten webhooks and ten workflows.
MOST_TARGETS = 10


def read_notifications(reader: SettingsReader) -> NotificationSettings:
    return NotificationSettings(
        quiet=reader.boolean("alerts_quiet", default=False),
        emails=reader.listed("alert_emails", _EMAIL.fullmatch, "mail addresses"),
        sms=_few(reader, "alert_sms", reader.listed("alert_sms", _NUMBER.fullmatch, _NUMBERS, default="")),
        slack_urls=_secrets(
            reader,
            "alert_slack_urls",
            _SLACK,
            "addresses of incoming webhooks, such as https://hooks.slack.com/services/...",
        ),
        pagerduty_keys=_secrets(
            reader,
            "alert_pagerduty_keys",
            _PAGERDUTY,
            "integration keys of Events API v2, 32 characters each",
        ),
        pagerduty_region=reader.choice("alert_pagerduty_region", ("us", "eu"), default="us"),
        webhook_urls=_secrets(
            reader,
            "alert_webhook_urls",
            _HTTPS,
            "https:// addresses, because alerts name weak points",
        ),
    )


_NUMBERS = "numbers such as +1 3125550100"


def _secrets(reader: SettingsReader, key: str, pattern: re.Pattern[str], meaning: str) -> tuple[str, ...]:
    """Values with commas between them, which no problem repeats."""
    parts = tuple(part.strip() for part in reader.secret(key, default="").split(",") if part.strip())
    wrong = [str(position) for position, part in enumerate(parts, 1) if not pattern.fullmatch(part)]
    if wrong:
        reader.problem(f"{key} must be {meaning}, with commas between them; wrong: {', '.join(wrong)}", key)
    return _few(reader, key, parts)


def _few(reader: SettingsReader, key: str, parts: tuple[str, ...]) -> tuple[str, ...]:
    if len(parts) > MOST_TARGETS:
        reader.problem(f"{key} must have at most {MOST_TARGETS} values, got {len(parts)}", key)
    return parts
