"""Reads the settings of notifications: addresses of channels, the bot at Discord, stand-ins of vendors."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec

from shared.settings_reader import SettingsReader

PREFIX = "NOTIFY_"
MAIL = "NOTIFY_MAIL"
# The channels of shared/notifications/channels.toml; a channel that is added there adds its setting.
SHIPPED = ("NOTIFY_COMMUNITY", "NOTIFY_OPS", "NOTIFY_ONCALL", "NOTIFY_TELEGRAM", "NOTIFY_SMS", MAIL)
NAMES = (*SHIPPED, "DISCORD_BOT_TOKEN", "DISCORD_GUILD_ID", "DISCORD_ROLES", "VENDOR_ADDRESSES")
VENDORS = ("discord", "telegram", "slack", "twilio", "pagerduty", "webhook")
_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]*://[!-~]{1,2000}")
_NUMBER = re.compile(r"[0-9]{15,20}")
_ROLE = re.compile(r"([a-z][a-z0-9_-]{0,63}):([0-9]{15,20})")
_STAND_IN = re.compile(r"http://(127\.0\.0\.1|localhost)(:[0-9]{1,5})(/[A-Za-z0-9_/-]{0,100})?")


@dataclass(frozen=True, slots=True)
class NotificationSettings:
    """`addresses` are apprise URLs by the names of their settings; `discord_roles` are role ids by plan.

    `vendor_addresses` are those of stand-ins by vendor, on one machine only.
    """

    addresses: Mapping[str, str] = field(default_factory=dict, repr=False)
    discord_bot_token: str = field(default="", repr=False)
    discord_guild_id: str = ""
    discord_roles: Mapping[str, str] = field(default_factory=dict)
    vendor_addresses: Mapping[str, str] = field(default_factory=dict)

    @property
    def mail(self) -> str:
        """The address of the mail server, empty if there is none."""
        return self.addresses.get(MAIL, "")

    @property
    def has_roles(self) -> bool:
        return bool(self.discord_bot_token and self.discord_guild_id and self.discord_roles)


def read_notifications(reader: SettingsReader, *, on_platform: bool) -> NotificationSettings:
    """The settings of notifications; `on_platform` refuses stand-ins."""
    names = dict.fromkeys((*SHIPPED, *sorted(key for key in reader.environment if key.startswith(PREFIX))))
    addresses = {name: value for name in names if (value := _address(reader, name))}
    guild = reader.optional("DISCORD_GUILD_ID")
    if guild and not _NUMBER.fullmatch(guild):
        reader.report("DISCORD_GUILD_ID must be the number of a server at Discord")
    return NotificationSettings(
        addresses=addresses,
        discord_bot_token=reader.text("DISCORD_BOT_TOKEN", ""),
        discord_guild_id=guild,
        discord_roles=_roles(reader),
        vendor_addresses=_vendor_addresses(reader, on_platform=on_platform),
    )


def _address(reader: SettingsReader, name: str) -> str:
    value = reader.text(name, "")
    if value and not _ADDRESS.fullmatch(value):
        reader.report(f"{name} must be an apprise URL, such as slack://... or mailtos://...")
        return ""
    return value


def _roles(reader: SettingsReader) -> dict[str, str]:
    parts = [part.strip() for part in reader.optional("DISCORD_ROLES").split(",") if part.strip()]
    found = [_ROLE.fullmatch(part) for part in parts]
    if not all(found):
        reader.report(
            "DISCORD_ROLES must be plan:role with commas between them, such as pro:123456789012345678"
        )
        return {}
    return {match[1]: match[2] for match in found if match is not None}


def _vendor_addresses(reader: SettingsReader, *, on_platform: bool) -> dict[str, str]:
    text = reader.optional("VENDOR_ADDRESSES")
    if not text:
        return {}
    if on_platform:
        reader.report("VENDOR_ADDRESSES is for stand-ins on one machine; leave it unset on this platform")
        return {}
    try:
        read = msgspec.json.decode(text, type=dict[str, str])
    except msgspec.DecodeError:
        read = {"": ""}
    if not all(name in VENDORS and _STAND_IN.fullmatch(base) for name, base in read.items()):
        reader.report(
            f"VENDOR_ADDRESSES must be a JSON object of {', '.join(VENDORS)} to addresses on this machine, "
            "such as http://127.0.0.1:7100/discord"
        )
        return {}
    return read
