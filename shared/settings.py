"""The only reader of the environment: frozen settings, with every problem reported at once."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Literal

from shared.errors import ConfigurationError

MIN_PEPPER_BYTES = 32
# Any of these means that a platform runs us, where bars may never set the clock.
_PLATFORM_MARKERS = ("WEBSITE_INSTANCE_ID", "WEBSITE_SITE_NAME", "CONTAINER_NAME_FOR_FUNCTIONS")


@dataclass(frozen=True, slots=True)
class TelemetrySettings:
    """Where traces and metrics go; nowhere while both `connection_string` and `file` are empty.

    `client_id` is of the managed identity that Application Insights knows us by.
    """

    connection_string: str = ""
    client_id: str = ""
    file: str = ""
    sample_ratio: float = 0.05

    @property
    def is_on(self) -> bool:
        return bool(self.connection_string or self.file)


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that differs between deployments; see README.md for what each means."""

    database_url: str
    database_role: str
    database_pool_size: int
    redis_url: str
    tables_connection_string: str
    webpubsub_connection_string: str
    webpubsub_hub: str
    api_key_pepper: str
    market_clock: Literal["wall", "bars"]
    log_level: str
    telemetry: TelemetrySettings = TelemetrySettings()
    api_key_pepper_previous: str = ""


class _Reader:
    def __init__(self, environment: Mapping[str, str]) -> None:
        self.environment = environment
        self.problems: list[str] = []

    def text(self, name: str, default: str | None = None) -> str:
        value = self.environment.get(name, "").strip() or default
        if value is None:
            self.problems.append(f"{name} is not set")
            return ""
        return value

    def optional(self, name: str) -> str:
        return self.environment.get(name, "").strip()

    def integer(self, name: str, default: int, low: int, high: int) -> int:
        raw = self.environment.get(name, "").strip()
        if not raw:
            return default
        if not raw.isascii() or not raw.isdigit() or not low <= int(raw) <= high:
            self.problems.append(f"{name} must be a whole number from {low} to {high}")
            return default
        return int(raw)

    def share(self, name: str, default: float) -> float:
        raw = self.environment.get(name, "").strip()
        if raw and not re.fullmatch(r"[01]|0?\.\d{1,9}|1\.0{1,9}", raw):
            self.problems.append(f"{name} must be a share from 0 to 1, such as {default}")
            return default
        return float(raw or default)

    def choice(self, name: str, default: str, allowed: tuple[str, ...]) -> str:
        value = self.environment.get(name, "").strip() or default
        if value not in allowed:
            self.problems.append(f"{name} must be one of {', '.join(allowed)}")
            return default
        return value


def read_settings(environment: Mapping[str, str]) -> Settings:
    """Settings from `environment`; raises ConfigurationError naming every problem, never a value."""
    reader = _Reader(environment)
    settings = Settings(
        database_url=reader.text("DATABASE_URL"),
        database_role=reader.text("DATABASE_ROLE", "signal_functions"),
        database_pool_size=reader.integer("DATABASE_POOL_SIZE", 8, 1, 100),
        redis_url=reader.text("REDIS_URL"),
        tables_connection_string=reader.text("TABLES_CONNECTION_STRING"),
        webpubsub_connection_string=reader.text("WEBPUBSUB_CONNECTION_STRING"),
        webpubsub_hub=reader.text("WEBPUBSUB_HUB", "signals"),
        api_key_pepper=reader.text("API_KEY_PEPPER"),
        api_key_pepper_previous=reader.text("API_KEY_PEPPER_PREVIOUS", ""),
        market_clock="bars" if reader.choice("MARKET_CLOCK", "wall", ("wall", "bars")) == "bars" else "wall",
        log_level=reader.choice("LOG_LEVEL", "INFO", ("DEBUG", "INFO", "WARNING", "ERROR")),
        telemetry=_telemetry(reader),
    )
    if settings.api_key_pepper and len(settings.api_key_pepper.encode()) < MIN_PEPPER_BYTES:
        reader.problems.append(f"API_KEY_PEPPER must be at least {MIN_PEPPER_BYTES} bytes")
    previous = settings.api_key_pepper_previous
    if previous and len(previous.encode()) < MIN_PEPPER_BYTES:
        reader.problems.append(f"API_KEY_PEPPER_PREVIOUS must be at least {MIN_PEPPER_BYTES} bytes, or empty")
    if previous and previous == settings.api_key_pepper:
        reader.problems.append("API_KEY_PEPPER_PREVIOUS is the pepper itself: leave it empty")
    if settings.market_clock == "bars" and any(environment.get(name) for name in _PLATFORM_MARKERS):
        reader.problems.append("MARKET_CLOCK=bars is for a replay on one machine and refused here")
    if reader.problems:
        raise ConfigurationError("; ".join(reader.problems))
    return settings


def _telemetry(reader: _Reader) -> TelemetrySettings:
    # The names of the first two are the Functions host's, which reads them too.
    connection_string = reader.optional("APPLICATIONINSIGHTS_CONNECTION_STRING")
    if connection_string and "instrumentationkey=" not in connection_string.lower():
        reader.problems.append("APPLICATIONINSIGHTS_CONNECTION_STRING has no InstrumentationKey")
    identity = reader.optional("APPLICATIONINSIGHTS_AUTHENTICATION_STRING")
    found = re.fullmatch(r"Authorization=AAD;ClientId=([0-9A-Fa-f-]{36})", identity)
    if identity and found is None:
        reader.problems.append(
            "APPLICATIONINSIGHTS_AUTHENTICATION_STRING must read Authorization=AAD;ClientId=<client id>"
        )
    return TelemetrySettings(
        connection_string=connection_string,
        client_id=found[1] if found else "",
        file=reader.optional("TELEMETRY_FILE"),
        sample_ratio=reader.share("TELEMETRY_SAMPLE_RATIO", 0.05),
    )


@cache
def current_settings() -> Settings:
    """The process's settings, read on first use."""
    return read_settings(os.environ)
