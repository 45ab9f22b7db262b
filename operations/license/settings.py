"""Reads the settings of the stack or the deployment that a command works on."""

from collections.abc import Mapping
from uuid import UUID

from local.host.configuration import load_local_settings
from local.places import ROOT
from local.stack.options import state_directory
from local.stack.running_stack import settings_of_running
from shared.errors import ConfigurationError
from shared.notification_settings import NAMES as NOTIFICATION_NAMES
from shared.notification_settings import PREFIX as NOTIFICATION_PREFIX
from shared.settings import Settings, read_settings
from shared.settings_reader import SettingsReader

NAMES = (
    "DATABASE_URL",
    "TABLES_CONNECTION_STRING",
    "REDIS_URL",
    "WEBPUBSUB_CONNECTION_STRING",
    "WEBPUBSUB_HUB",
    "API_KEY_PEPPER",
    "PUBLIC_URL",
)
# Of a deployment under Entra ID; these never mix with the settings of a stack on this machine.
ENTRA_NAMES = (
    "AZURE_CLIENT_ID",
    "DATABASE_URL",
    "DATABASE_ROLE",
    "TABLES_ENDPOINT",
    "REDIS_URL",
    "WEBPUBSUB_ENDPOINT",
    "WEBPUBSUB_HUB",
    "API_KEY_PEPPER",
    "PUBLIC_URL",
    "IDENTITY_ENDPOINT",
)
# The app needs these two to verify events of Web PubSub; this command receives none.
_UNUSED = dict.fromkeys(("AZURE_TENANT_ID", "WEBPUBSUB_EVENTS_PRINCIPAL"), str(UUID(int=0)))


def command_settings(environment: Mapping[str, str]) -> Settings:
    """Settings of the deployment or the stack that the command works on; raises ConfigurationError."""
    given = dict(environment)
    load_local_settings(ROOT, given)
    if given.get("AZURE_CLIENT_ID"):
        named = {name: given[name] for name in ENTRA_NAMES if name in given}
        return read_settings(_UNUSED | named | _of_notifications(given))
    state = state_directory(SettingsReader(environment))
    stack = settings_of_running(state)
    try:
        named = {name: given[name] for name in NAMES if given.get(name)}
        return read_settings({**stack, **named, **_of_notifications(given)})
    except ConfigurationError as error:
        if stack:
            raise
        raise ConfigurationError(
            f"no stack runs on {state} (start one with `make up`, or name its directory with STATE=dir), "
            f"and in the environment: {error.detail}"
        ) from error


def _of_notifications(given: Mapping[str, str]) -> dict[str, str]:
    """The settings of notifications, of which every channel may have one of its own name."""
    return {
        name: value
        for name, value in given.items()
        if value and (name in NOTIFICATION_NAMES or name.startswith(NOTIFICATION_PREFIX))
    }
