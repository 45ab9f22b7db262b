"""Reads the app's settings from the environment, and reports every problem at once."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Literal
from urllib.parse import parse_qs, urlsplit

from shared.errors import ConfigurationError
from shared.notification_settings import NotificationSettings, read_notifications
from shared.payment_settings import PaymentSettings, read_payment_settings
from shared.settings_reader import SettingsReader, is_origin, is_uuid

MIN_PEPPER_BYTES = 32
# If one of these is set, the app runs on a platform, where bars must not set the clock.
_PLATFORM_MARKERS = ("WEBSITE_INSTANCE_ID", "WEBSITE_SITE_NAME", "CONTAINER_NAME_FOR_FUNCTIONS")
# The platform sets this if an identity is assigned to the app.
_IDENTITY_MARKER = "IDENTITY_ENDPOINT"


@dataclass(frozen=True, slots=True)
class TelemetrySettings:
    """The destinations of traces and metrics; none if both `connection_string` and `file` are empty.

    `client_id` names the managed identity that sends to Application Insights.
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
    """Every value that differs between deployments; README.md says what each means.

    With an `azure_client_id`, the app logs in to every service by Entra ID, and `tables_endpoint` and
    `webpubsub_endpoint` are set; without it, the app uses connection strings and passwords.
    `managed_identity` is True if the client id names the platform's managed identity. Timers log in to
    Postgres by `jobs_database_url`, with Entra ID as the identity `jobs_client_id`; if both are empty, by
    `database_url`.
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
    jobs_database_url: str = ""
    jobs_client_id: str = ""
    telemetry: TelemetrySettings = TelemetrySettings()
    payments: PaymentSettings = field(default_factory=PaymentSettings)
    cors_origins: tuple[str, ...] = ()
    license_export_key: str = ""
    license_export_endpoint: str = ""
    public_url: str = "http://localhost:7071"
    front_door_id: str = ""
    notifications: NotificationSettings = field(default_factory=NotificationSettings)

    @property
    def tables_address(self) -> str:
        """The endpoint with Entra ID, else the connection string."""
        return self.tables_endpoint or self.tables_connection_string

    @property
    def exports_address(self) -> str:
        """The blob endpoint with Entra ID, else the connection string of the tables' account."""
        return self.license_export_endpoint or self.tables_connection_string

    @property
    def webpubsub_address(self) -> str:
        """The endpoint with Entra ID, else the connection string."""
        return self.webpubsub_endpoint or self.webpubsub_connection_string


def read_settings(environment: Mapping[str, str]) -> Settings:
    """The settings in `environment`; raises a ConfigurationError that names every problem, never a value."""
    reader = SettingsReader(environment)
    client_id = _client_id(reader)
    pepper = _pepper(reader, "API_KEY_PEPPER")
    previous = _pepper(reader, "API_KEY_PEPPER_PREVIOUS", default="")
    jobs_url = reader.optional("JOBS_DATABASE_URL")
    settings = Settings(
        database_url=_database_url(reader) if client_id else reader.text("DATABASE_URL"),
        jobs_database_url=_database_url(reader, "JOBS_DATABASE_URL", "") if client_id else jobs_url,
        jobs_client_id=reader.optional("JOBS_CLIENT_ID") if client_id else "",
        database_role=reader.text("DATABASE_ROLE", "signal_functions"),
        database_pool_size=reader.integer("DATABASE_POOL_SIZE", 8, 1, 100),
        redis_url=reader.address("REDIS_URL", "rediss") if client_id else reader.text("REDIS_URL"),
        tables_connection_string="" if client_id else reader.text("TABLES_CONNECTION_STRING"),
        webpubsub_connection_string="" if client_id else reader.text("WEBPUBSUB_CONNECTION_STRING"),
        webpubsub_hub=reader.text("WEBPUBSUB_HUB", "signals"),
        api_key_pepper=pepper,
        api_key_pepper_previous=previous,
        market_clock=reader.choice("MARKET_CLOCK", "wall", ("wall", "bars")),
        log_level=reader.choice("LOG_LEVEL", "INFO", ("DEBUG", "INFO", "WARNING", "ERROR")),
        azure_client_id=client_id,
        managed_identity=bool(environment.get(_IDENTITY_MARKER)),
        tables_endpoint=reader.address("TABLES_ENDPOINT", "https") if client_id else "",
        webpubsub_endpoint=reader.address("WEBPUBSUB_ENDPOINT", "https") if client_id else "",
        azure_tenant_id=reader.uuid("AZURE_TENANT_ID") if client_id else "",
        webpubsub_events_principal=reader.uuid("WEBPUBSUB_EVENTS_PRINCIPAL") if client_id else "",
        telemetry=_telemetry(reader),
        payments=read_payment_settings(reader),
        # Not CORS_ALLOWED_ORIGINS: on some plans the Functions host reads that, and answers preflights.
        cors_origins=reader.origins("CORS_ORIGINS"),
        license_export_key=_export_key(reader),
        license_export_endpoint=_export_endpoint(reader) if client_id else "",
        public_url=_public_url(reader),
        front_door_id=_front_door_id(reader),
        notifications=read_notifications(reader, on_platform=_on_platform(environment)),
    )
    if previous and previous == pepper:
        reader.report("API_KEY_PEPPER_PREVIOUS is the pepper itself: leave it empty")
    if settings.market_clock == "bars" and _on_platform(environment):
        reader.report("MARKET_CLOCK=bars is for replays on one machine; leave it unset on this platform")
    if client_id and bool(settings.jobs_database_url) != bool(settings.jobs_client_id):
        reader.report("JOBS_DATABASE_URL and JOBS_CLIENT_ID belong together: set both or neither")
    if settings.jobs_client_id and not is_uuid(settings.jobs_client_id):
        reader.report("JOBS_CLIENT_ID must be the client id of an identity, a UUID")
    reader.check()
    return settings


def _telemetry(reader: SettingsReader) -> TelemetrySettings:
    # The Functions host defines and reads the first two names, too.
    connection_string = reader.optional("APPLICATIONINSIGHTS_CONNECTION_STRING")
    if connection_string and "instrumentationkey=" not in connection_string.lower():
        reader.report("APPLICATIONINSIGHTS_CONNECTION_STRING has no InstrumentationKey")
    identity = reader.optional("APPLICATIONINSIGHTS_AUTHENTICATION_STRING")
    found = re.fullmatch(r"Authorization=AAD;ClientId=([0-9A-Fa-f-]{36})", identity)
    if identity and found is None:
        reader.report(
            "APPLICATIONINSIGHTS_AUTHENTICATION_STRING must read Authorization=AAD;ClientId=<client id>"
        )
    return TelemetrySettings(
        connection_string=connection_string,
        client_id=found[1] if found else "",
        file=reader.optional("TELEMETRY_FILE"),
        sample_ratio=reader.share("TELEMETRY_SAMPLE_RATIO", 0.05),
    )


def pepper_bytes(pepper: str, setting: str = "API_KEY_PEPPER") -> bytes:
    """The pepper as the HMAC key of key hashes; raises ConfigurationError if it is too short."""
    key = pepper.encode()
    if len(key) < MIN_PEPPER_BYTES:
        raise ConfigurationError(f"{setting} must be at least {MIN_PEPPER_BYTES} bytes")
    return key


def _on_platform(environment: Mapping[str, str]) -> bool:
    return any(environment.get(name) for name in _PLATFORM_MARKERS)


def _client_id(reader: SettingsReader) -> str:
    """AZURE_CLIENT_ID, which decides which other settings are read; empty if it is not set."""
    value = reader.optional("AZURE_CLIENT_ID")
    if not value:
        reader.refuse("is for Entra ID and needs AZURE_CLIENT_ID", "TABLES_ENDPOINT", "WEBPUBSUB_ENDPOINT")
        return ""
    if not is_uuid(value):
        reader.report("AZURE_CLIENT_ID must be the client id of an identity, a UUID")
    if _on_platform(reader.environment) and not reader.environment.get(_IDENTITY_MARKER):
        reader.report("AZURE_CLIENT_ID is set, but no identity is assigned to this app")
    reader.refuse(
        "is not used with Entra ID: unset it, or unset AZURE_CLIENT_ID",
        "TABLES_CONNECTION_STRING",
        "WEBPUBSUB_CONNECTION_STRING",
    )
    return value


def _database_url(reader: SettingsReader, name: str = "DATABASE_URL", default: str | None = None) -> str:
    """An address for Entra ID: it names the login, and verifies the server before that gets the token."""
    value = reader.text(name, default)
    try:
        url = urlsplit(value)
        user, password, mode = url.username, url.password, parse_qs(url.query).get("sslmode")
    except ValueError:
        user, password, mode = None, None, None
    if value and (not user or password is not None or mode != ["verify-full"]):
        reader.report(
            f"{name} must be postgresql://<user>@<host>...?sslmode=verify-full without a password, "
            "because AZURE_CLIENT_ID is set"
        )
    return value


def _public_url(reader: SettingsReader) -> str:
    """The origin under which customers reach the app; the platform names its own host of the app."""
    host = reader.optional("WEBSITE_HOSTNAME")
    value = reader.text("PUBLIC_URL", f"https://{host}" if host else "http://localhost:7071")
    if not is_origin(value) or (_on_platform(reader.environment) and not value.startswith("https://")):
        reader.report(
            "PUBLIC_URL must be the scheme and the host under which customers reach the app, such as "
            "https://signals.example.com; on this platform with https, and without a path"
        )
    return value


def _export_key(reader: SettingsReader) -> str:
    """The public key of exports, which is not secret; empty if this deployment makes none."""
    value = reader.optional("LICENSE_EXPORT_KEY")
    if value and re.fullmatch(r"[A-Za-z0-9+/]{43}=", value) is None:
        reader.report("LICENSE_EXPORT_KEY must be a public key: 32 bytes in base64")
    return value


def _export_endpoint(reader: SettingsReader) -> str:
    is_needed = bool(reader.optional("LICENSE_EXPORT_ENDPOINT") or reader.optional("LICENSE_EXPORT_KEY"))
    return reader.address("LICENSE_EXPORT_ENDPOINT", "https") if is_needed else ""


def _front_door_id(reader: SettingsReader) -> str:
    """The X-Azure-FDID of the Front Door before this app, without which its headers are not believed."""
    value = reader.optional("FRONT_DOOR_ID")
    if value and not is_uuid(value):
        reader.report("FRONT_DOOR_ID must be the id of a Front Door, a UUID, or empty")
    return value


def _pepper(reader: SettingsReader, name: str, default: str | None = None) -> str:
    value = reader.text(name, default)
    if value and len(value.encode()) < MIN_PEPPER_BYTES:
        or_empty = "" if default is None else ", or empty"
        reader.report(f"{name} must be at least {MIN_PEPPER_BYTES} bytes{or_empty}")
    return value


@cache
def current_settings() -> Settings:
    """The settings of this process, read on first use."""
    return read_settings(os.environ)
