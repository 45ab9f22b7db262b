"""Reads every key of a stack's configuration into frozen settings, and reports all problems together.

README.md of infra describes each key; a test holds the two together.
"""

import re
from typing import cast

from infra.settings.business_keys import read_business
from infra.settings.combinations import check_combinations
from infra.settings.compute_keys import read_compute, read_network
from infra.settings.model import Settings, Zones
from infra.settings.monitoring_keys import read_monitoring
from infra.settings.notification_keys import read_notifications
from infra.settings.operations_keys import read_operations
from infra.settings.passive import in_role
from infra.settings.reader import SettingsReader, StackConfig
from infra.settings.region_keys import read_primary, read_role
from infra.settings.service_keys import read_edge, read_postgres, read_redis, read_webpubsub

# The app refuses a shorter one too: shared/settings.py.
MIN_PEPPER_BYTES = 32


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
        zones=cast("Zones", reader.choice("zones", ("one", "several", "some"), default="one")),
        owner=reader.matching("owner", r"\S.{0,255}", "a team or an address"),
        cost_centre=reader.matching("cost_centre", r"\S.{0,255}", "what the bill is booked under"),
        name_suffix=reader.matching("name_suffix", r"[a-z0-9]{3,6}", "3 to 6 lower-case letters and digits"),
        protect=reader.boolean("protect", default=True),
        api_key_pepper=_pepper(reader, "api_key_pepper"),
        api_key_pepper_previous=_pepper(reader, "api_key_pepper_previous", default=""),
        role=read_role(reader),
        primary=read_primary(reader),
        license_export_key=_export_key(reader),
        storage_replication=reader.choice(
            "storage_replication", ("Standard_LRS", "Standard_ZRS", "Standard_GRS", "Standard_GZRS")
        ),
        network=read_network(reader),
        operations=read_operations(reader),
        compute=read_compute(reader),
        redis=read_redis(reader),
        postgres=read_postgres(reader),
        webpubsub=read_webpubsub(reader),
        edge=read_edge(reader),
        business=read_business(reader),
        monitoring=read_monitoring(reader),
        notifications=read_notifications(reader),
    )
    check_combinations(settings, reader)
    reader.finish()
    return in_role(settings)


def _export_key(reader: SettingsReader) -> str:
    """The public key of exports of licenses; without it, the stack makes none."""
    return reader.matching(
        "license_export_key",
        r"[A-Za-z0-9+/]{43}=",
        "a public key that `python -m operations.restore_licenses new-key` prints",
        default="",
    )


def _pepper(reader: SettingsReader, key: str, default: str | None = None) -> str:
    value = reader.secret(key, default)
    if value and len(value.encode()) < MIN_PEPPER_BYTES:
        reader.problem(f"{key} must be at least {MIN_PEPPER_BYTES} bytes", key)
    return value
