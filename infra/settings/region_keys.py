"""Reads the settings of a stack that has a partner in a second region."""

from typing import cast

from infra.settings.model import PrimarySettings, Role
from infra.settings.reader import SettingsReader
from infra.settings.service_keys import RESOURCE_GROUP_ID

_KEYS = ("primary_postgres_id", "primary_storage_id", "primary_front_door_id")


def read_role(reader: SettingsReader) -> Role:
    return cast("Role", reader.choice("role", ("active", "passive"), default="active"))


def read_primary(reader: SettingsReader) -> PrimarySettings | None:
    """What the stack of the first region is, None if this one is the first or the only one."""
    primary = PrimarySettings(
        postgres_id=reader.matching(
            "primary_postgres_id",
            rf"{RESOURCE_GROUP_ID}/providers/Microsoft\.DBforPostgreSQL/flexibleServers/[a-z0-9-]{{3,63}}",
            "the output postgres_server_id of the stack in the first region",
            default="",
        ),
        storage_id=reader.matching(
            "primary_storage_id",
            rf"{RESOURCE_GROUP_ID}/providers/Microsoft\.Storage/storageAccounts/[a-z0-9]{{3,24}}",
            "the output data_storage_account_id of the stack in the first region",
            default="",
        ),
        front_door_id=reader.matching(
            "primary_front_door_id",
            r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}",
            "the output front_door_id of the stack in the first region",
            default="",
        ),
    )
    given = (primary.postgres_id, primary.storage_id, primary.front_door_id)
    missing = [key for key, value in zip(_KEYS, given, strict=True) if not value]
    if missing and any(given):
        reader.conflict(f"{' and '.join(missing)} must be set too: a second region needs all three", *_KEYS)
    return primary if all(given) else None
