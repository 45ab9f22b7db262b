"""Renders what a channel shows of an event, from templates, so that no value can mention or link anything."""

import re
import unicodedata
from collections.abc import Mapping
from string import Template
from typing import get_args

import msgspec

from shared.domain.notifications.channels import ChannelKind
from shared.domain.notifications.events import Event, EventKind
from shared.errors import ConfigurationError

# The values that templates of each kind can show, besides those of COMMON.
_LICENSE = ("plan", "symbols", "expires_at")
SHOWN: dict[EventKind, tuple[str, ...]] = {
    "signal_published": (
        *("symbol", "signal", "side", "price", "stop_price", "target_price", "strategy", "sequence"),
        *("event_at", "expires_at"),
    ),
    "license_created": _LICENSE,
    "license_extended": _LICENSE,
    "license_changed": (*_LICENSE, "former_plan"),
    "license_expiring": (*_LICENSE, "days"),
    "license_expired": _LICENSE,
    "license_suspended": (*_LICENSE, "reason"),
    "license_resumed": _LICENSE,
    "license_revoked": (*_LICENSE, "reason"),
    "payment_failed": (*_LICENSE, "grace_until"),
    "claim_requested": (),
    "key_rotated": ("public_id", "former", "former_ends_at"),
    "session_taken_over": ("symbol", "instance", "version", "taken_by"),
    "feed_stale": ("symbol", "age", "last_bar_at"),
    "model_promoted": ("strategy", "version", "basis"),
    "model_retired": ("strategy", "version"),
    "daily_summary": ("day", "trades", "wins", "win_rate", "net_pnl", "accounts"),
    "notification_parked": ("notification_id", "lane", "event", "tries", "error"),
    "payment_parked": ("payment_event_id", "subject", "outcome"),
    "test": ("note",),
}
COMMON = ("account_id", "license_id", "at")
# Only a mail to the address of the license itself shows this; it is stored nowhere.
CLAIM = "claim_url"
# Stands for the end of a license that has none. A signal without an end, an exit, shows a hyphen.
_WITHOUT_END = "further notice"
MAX_VALUE = 200  # characters of one value
MAX_BODY = {"sms": 320, "discord": 1_900}  # two parts of an SMS; below Discord's 2,000 characters
_MAX_BODY = 3_500

_DISCORD_MARKS = re.compile(r"([\\*_~`|>#\[\]()])")
_BREAK = "\u200b"  # has no width; a mention or a link with it is none


class Message(msgspec.Struct, frozen=True):
    """The first line of a template is the title, the rest is the text."""

    title: str
    text: str


class Templates:
    """The templates of every kind of event; one for a kind of channel comes before that for all."""

    def __init__(self, texts: Mapping[tuple[EventKind, ChannelKind | None], str]) -> None:
        """Raises ConfigurationError for a template that is missing, or that shows what there is not."""
        self._texts = {key: Template(text) for key, text in texts.items()}
        for kind in get_args(EventKind):
            if (kind, None) not in self._texts:
                raise ConfigurationError(f"templates/{kind}.txt is missing")
        for (kind, channel), template in self._texts.items():
            unknown = set(template.get_identifiers()) - known_values(kind, channel)
            if unknown or not template.is_valid():
                raise ConfigurationError(f"templates/{kind}.{channel}.txt shows {sorted(unknown)}")

    def render(self, event: Event, channel: ChannelKind, secret: Mapping[str, str] | None = None) -> Message:
        """The message of `event`; `secret` are values that no stored row has, such as a claim link."""
        template = self._texts.get((event.kind, channel)) or self._texts[event.kind, None]
        common = {"account_id": event.account_id, "license_id": event.license_id, "at": _time_of(event)}
        names = SHOWN[event.kind]
        given = common | {name: event.values.get(name) for name in names}
        if "plan" in names and given["expires_at"] is None:
            given["expires_at"] = _WITHOUT_END
        values = {name: escaped(shown(value), channel) for name, value in given.items()}
        text = template.substitute(values | dict(secret or {CLAIM: ""}))
        title, _, body = text.partition("\n")
        return Message(title.strip()[:120], body.strip()[: MAX_BODY.get(channel, _MAX_BODY)])


def known_values(kind: EventKind, channel: ChannelKind | None) -> set[str]:
    """The names that a template of this kind of event and channel may use."""
    return {*SHOWN[kind], *COMMON, *([CLAIM] if channel == "mail" else [])}


def shown(value: str | int | float | None) -> str:
    """`value` as one line of at most MAX_VALUE characters; a hyphen if there is none."""
    if value is None or value == "":
        return "-"
    if isinstance(value, float):
        value = f"{value:g}"
    # Control and format characters could hide text, or turn its direction.
    visible = (" " if unicodedata.category(each) in ("Cc", "Zl", "Zp") else each for each in str(value))
    line = "".join(each for each in visible if unicodedata.category(each) not in ("Cf", "Cs", "Co"))
    return line if len(line) <= MAX_VALUE else line[: MAX_VALUE - 1] + "…"


def escaped(line: str, channel: ChannelKind) -> str:
    """`line` so that the channel shows it as it is: no markup, no mention of anybody, no link.

    The senders of Slack and Telegram replace their own special characters (&, <, >) themselves.
    """
    if channel == "discord":
        line = _DISCORD_MARKS.sub(r"\\\1", line)
    if channel in ("discord", "slack", "telegram"):
        line = line.replace("@", f"@{_BREAK}").replace("://", f":{_BREAK}//")
    return line


def _time_of(event: Event) -> str:
    return event.at.strftime("%Y-%m-%d %H:%M UTC")
