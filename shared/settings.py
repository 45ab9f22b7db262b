"""The only reader of the environment: frozen settings, with every problem reported at once."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Literal
from urllib.parse import parse_qs, urlsplit

from shared.errors import ConfigurationError

MIN_PEPPER_BYTES = 32
# Any of these means that a platform runs us, where bars may never set the clock.
_PLATFORM_MARKERS = ("WEBSITE_INSTANCE_ID", "WEBSITE_SITE_NAME", "CONTAINER_NAME_FOR_FUNCTIONS")
# Set by the platform where an identity is assigned to the app.
_IDENTITY_MARKER = "IDENTITY_ENDPOINT"
# An app setting holds a secret by reference; the platform puts the value in its place before the app starts.
_KEY_VAULT_REFERENCE = "@microsoft.keyvault("
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


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
    """Everything that differs between deployments; see README.md for what each means.

    With an `azure_client_id`, Entra ID opens every service, at `tables_endpoint` and `webpubsub_endpoint`;
    without one, the connection strings and passwords do. `managed_identity` says that it is the platform's
    own identity.
    """

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
    api_key_pepper_previous: str = ""
    azure_client_id: str = ""
    managed_identity: bool = False
    tables_endpoint: str = ""
    webpubsub_endpoint: str = ""
    azure_tenant_id: str = ""
    webpubsub_events_principal: str = ""
    telemetry: TelemetrySettings = TelemetrySettings()


class _Reader:
    def __init__(self, environment: Mapping[str, str]) -> None:
        self.environment = environment
        self.problems: list[str] = []

    def text(self, name: str, default: str | None = None) -> str:
        value = self.environment.get(name, "").strip() or default
        if value is None:
            self.problems.append(f"{name} is not set")
            return ""
        if value.casefold().startswith(_KEY_VAULT_REFERENCE):
            self.problems.append(
                f"{name} is a Key Vault reference that the platform has not resolved: check the app's "
                "access to the vault, then restart the app"
            )
            return ""
        return value

    def optional(self, name: str) -> str:
        return self.environment.get(name, "").strip()

    def address(self, name: str, scheme: str) -> str:
        """An address of `scheme` that names a host and no user or password."""
        value = self.text(name)
        if value and not _is_address(value, scheme):
            self.problems.append(f"{name} must be {scheme}://<host>... without a user or a password")
        return value

    def uuid(self, name: str) -> str:
        value = self.text(name)
        if value and not _UUID.fullmatch(value):
            self.problems.append(f"{name} must be a UUID")
        return value.lower()

    def refuse(self, why: str, *names: str) -> None:
        self.problems.extend(f"{name} {why}" for name in names if self.environment.get(name, "").strip())

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
    client_id = _client_id(reader)
    pepper = _pepper(reader, "API_KEY_PEPPER")
    previous = _pepper(reader, "API_KEY_PEPPER_PREVIOUS", default="")
    settings = Settings(
        database_url=_database_url(reader) if client_id else reader.text("DATABASE_URL"),
        database_role=reader.text("DATABASE_ROLE", "signal_functions"),
        database_pool_size=reader.integer("DATABASE_POOL_SIZE", 8, 1, 100),
        redis_url=reader.address("REDIS_URL", "rediss") if client_id else reader.text("REDIS_URL"),
        tables_connection_string="" if client_id else reader.text("TABLES_CONNECTION_STRING"),
        webpubsub_connection_string="" if client_id else reader.text("WEBPUBSUB_CONNECTION_STRING"),
        webpubsub_hub=reader.text("WEBPUBSUB_HUB", "signals"),
        api_key_pepper=pepper,
        api_key_pepper_previous=previous,
        market_clock="bars" if reader.choice("MARKET_CLOCK", "wall", ("wall", "bars")) == "bars" else "wall",
        log_level=reader.choice("LOG_LEVEL", "INFO", ("DEBUG", "INFO", "WARNING", "ERROR")),
        azure_client_id=client_id,
        managed_identity=bool(environment.get(_IDENTITY_MARKER)),
        tables_endpoint=reader.address("TABLES_ENDPOINT", "https") if client_id else "",
        webpubsub_endpoint=reader.address("WEBPUBSUB_ENDPOINT", "https") if client_id else "",
        azure_tenant_id=reader.uuid("AZURE_TENANT_ID") if client_id else "",
        webpubsub_events_principal=reader.uuid("WEBPUBSUB_EVENTS_PRINCIPAL") if client_id else "",
        telemetry=_telemetry(reader),
    )
    if previous and previous == pepper:
        reader.problems.append("API_KEY_PEPPER_PREVIOUS is the pepper itself: leave it empty")
    if settings.market_clock == "bars" and _on_platform(environment):
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


def pepper_bytes(pepper: str, setting: str = "API_KEY_PEPPER") -> bytes:
    """The key of every key's hash; raises ConfigurationError for one that is too short."""
    key = pepper.encode()
    if len(key) < MIN_PEPPER_BYTES:
        raise ConfigurationError(f"{setting} must be at least {MIN_PEPPER_BYTES} bytes")
    return key


def _on_platform(environment: Mapping[str, str]) -> bool:
    return any(environment.get(name) for name in _PLATFORM_MARKERS)


def _client_id(reader: _Reader) -> str:
    """AZURE_CLIENT_ID, which decides which other settings are read; empty where it is not set."""
    value = reader.environment.get("AZURE_CLIENT_ID", "").strip()
    if not value:
        reader.refuse("is for Entra ID and needs AZURE_CLIENT_ID", "TABLES_ENDPOINT", "WEBPUBSUB_ENDPOINT")
        return ""
    if not _UUID.fullmatch(value):
        reader.problems.append("AZURE_CLIENT_ID must be the client id of an identity, a UUID")
    if _on_platform(reader.environment) and not reader.environment.get(_IDENTITY_MARKER):
        reader.problems.append("AZURE_CLIENT_ID is set, but no identity is assigned to this app")
    reader.refuse(
        "is a key beside Entra ID: unset it, or AZURE_CLIENT_ID",
        "TABLES_CONNECTION_STRING",
        "WEBPUBSUB_CONNECTION_STRING",
    )
    return value


def _database_url(reader: _Reader) -> str:
    """DATABASE_URL for Entra ID: it names the login, and proves whom the token is shown to."""
    value = reader.text("DATABASE_URL")
    try:
        url = urlsplit(value)
        user, password, mode = url.username, url.password, parse_qs(url.query).get("sslmode")
    except ValueError:
        user, password, mode = None, None, None
    if value and (not user or password is not None or mode != ["verify-full"]):
        reader.problems.append(
            "DATABASE_URL must be postgresql://<user>@<host>...?sslmode=verify-full without a password, "
            "where AZURE_CLIENT_ID is set"
        )
    return value


def _pepper(reader: _Reader, name: str, default: str | None = None) -> str:
    value = reader.text(name, default)
    if value and len(value.encode()) < MIN_PEPPER_BYTES:
        or_empty = "" if default is None else ", or empty"
        reader.problems.append(f"{name} must be at least {MIN_PEPPER_BYTES} bytes{or_empty}")
    return value


def _is_address(value: str, scheme: str) -> bool:
    try:
        url = urlsplit(value)
        _ = url.port  # raises where it is no number
    except ValueError:
        return False
    return url.scheme == scheme and bool(url.hostname) and "@" not in url.netloc


@cache
def current_settings() -> Settings:
    """The process's settings, read on first use."""
    return read_settings(os.environ)
