"""Which stack or deployment the license command works on."""

import json
import re
from pathlib import Path

import pytest

from operations.command import UsageError
from operations.hooks import hook_settings
from operations.license import command_settings
from shared.errors import ConfigurationError
from tests.support.places import ROOT

PEPPER = "p" * 48
CLIENT_ID = "01234567-89ab-cdef-0123-456789abcdef"
STACK = {
    "hub": "signals",
    "database_url": "postgresql://stack",
    "redis_url": "redis://stack",
    "tables_connection_string": "stack",
    "webpubsub_connection_string": "stack",
}
ENTRA = {
    "AZURE_CLIENT_ID": CLIENT_ID,
    "DATABASE_URL": "postgresql://me@db.example/x?sslmode=verify-full",
    "TABLES_ENDPOINT": "https://tables.example",
    "REDIS_URL": "rediss://redis.example:10000/0",
    "WEBPUBSUB_ENDPOINT": "https://hub.example",
    "API_KEY_PEPPER": PEPPER,
}


@pytest.fixture
def state(tmp_path: Path) -> Path:
    (tmp_path / "stack.json").write_text(json.dumps(STACK))
    (tmp_path / "secrets.json").write_text(json.dumps({"api_key_pepper": PEPPER}))
    return tmp_path


def test_a_running_stack_gives_all_settings_and_the_environment_wins(state: Path) -> None:
    settings = command_settings({"STATE": str(state), "REDIS_URL": "redis://other"})
    assert settings.database_url == "postgresql://stack"
    assert settings.redis_url == "redis://other"
    assert settings.api_key_pepper == PEPPER


def test_without_a_stack_every_missing_setting_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        command_settings({"STATE": str(tmp_path), "REDIS_URL": "redis://x"})
    assert f"no stack runs on {tmp_path}" in caught.value.detail
    missing = ("DATABASE_URL", "TABLES_CONNECTION_STRING", "WEBPUBSUB_CONNECTION_STRING", "API_KEY_PEPPER")
    assert [name for name in missing if f"{name} is not set" in caught.value.detail] == list(missing)


def test_the_settings_that_the_operations_guide_exports_are_enough_under_entra_id(state: Path) -> None:
    guide = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    before_license = guide.split('make license ARGS="create')[0]
    exported = set(re.findall(r"\b([A-Z_]+)=", "\n".join(re.findall(r"export (.*)", before_license))))
    assert ENTRA.keys() <= exported
    settings = command_settings({"STATE": str(state), "TABLES_CONNECTION_STRING": "of a stack", **ENTRA})
    assert (settings.azure_client_id, settings.tables_connection_string) == (CLIENT_ID, "")


@pytest.mark.parametrize("deployment", [{}, ENTRA], ids=["stack", "entra"])
def test_channels_of_notifications_have_their_addresses(state: Path, deployment: dict[str, str]) -> None:
    """Else `make notify` would say of each channel that it has no address."""
    own = {"NOTIFY_OPS": "slack://T/B/C", "NOTIFY_OUR_OWN": "discord://1/2", "DISCORD_BOT_TOKEN": "t"}
    given = {"STATE": str(state), **own, **deployment}
    read = command_settings(given).notifications
    assert read.addresses == {name: value for name, value in own.items() if name.startswith("NOTIFY")}
    assert read.discord_bot_token == "t"


def test_a_hook_of_a_deployment_is_not_given_an_address_of_this_machine(state: Path) -> None:
    given = {"STATE": str(state), **ENTRA}
    with pytest.raises(UsageError, match="PUBLIC_URL is not set"):
        hook_settings(given, "create")
    assert hook_settings(given, "list").azure_client_id == CLIENT_ID
    there = hook_settings(given | {"PUBLIC_URL": "https://signals.example.com"}, "rotate")
    assert there.public_url == "https://signals.example.com"
    local = {"STATE": str(state)}
    assert hook_settings(local, "create").public_url == "http://localhost:7071"


def test_a_deployment_under_entra_id_never_uses_the_stack(state: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        command_settings({"STATE": str(state), "AZURE_CLIENT_ID": CLIENT_ID, "REDIS_URL": "rediss://x"})
    assert "DATABASE_URL is not set" in caught.value.detail
    assert "no stack" not in caught.value.detail
