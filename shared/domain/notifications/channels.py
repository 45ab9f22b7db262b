"""Describes the channels of operators, and the pace at which each vendor takes messages."""

import tomllib
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Literal

import msgspec

from shared.domain.notifications.events import EventKind
from shared.errors import ConfigurationError

# Each kind has its own templates, escaping and pace; `role` gives and takes roles at Discord.
ChannelKind = Literal["discord", "slack", "telegram", "mail", "sms", "pagerduty", "webhook"]
Vendor = Literal["discord", "slack", "telegram", "mail", "sms", "pagerduty", "webhook", "role"]
Name = Annotated[str, msgspec.Meta(pattern=r"^[a-z][a-z0-9_]{0,31}\Z")]
SETTING_PREFIX = "NOTIFY_"
MAIL_SETTING = "NOTIFY_MAIL"  # the server that sends mails to the addresses of licenses


class Pace(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`per_minute` messages a minute, of which `burst` may go at once."""

    per_minute: Annotated[int, msgspec.Meta(ge=1, le=100_000)]
    burst: Annotated[int, msgspec.Meta(ge=1, le=1_000)]

    @property
    def interval_s(self) -> float:
        return 60 / self.per_minute


class VendorPace(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a vendor takes from us in all (`total`), and for one of its addresses (`lane`)."""

    total: Pace
    lane: Pace


class Channel(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One channel of operators; its address is in the setting `NOTIFY_<NAME>`.

    With `plans`, it gets the events of licenses of these plans alone, and signals as these plans have them:
    of their symbols, with the shortest of their delays. `delay_s` delays every event; a longer delay counts.
    """

    name: Name
    kind: ChannelKind
    events: Annotated[tuple[EventKind, ...], msgspec.Meta(min_length=1)]
    plans: tuple[str, ...] = ()
    delay_s: Annotated[float, msgspec.Meta(ge=0, le=86_400)] = 0

    @property
    def setting(self) -> str:
        return f"{SETTING_PREFIX}{self.name.upper()}"


class ChannelFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The content of channels.toml."""

    pace: dict[Vendor, VendorPace]
    channel: tuple[Channel, ...] = ()


class ChannelCatalog:
    """Every channel by its name, and the pace of every vendor."""

    def __init__(self, channels: Iterable[Channel], paces: Mapping[Vendor, VendorPace]) -> None:
        self._channels = {channel.name: channel for channel in channels}
        self.paces = dict(paces)

    def __iter__(self) -> Iterator[Channel]:
        return iter(self._channels.values())

    def get(self, name: str) -> Channel | None:
        return self._channels.get(name)


def parse_channels(text: str) -> ChannelCatalog:
    """The catalog in TOML; raises ConfigurationError that says what is wrong."""
    try:
        read = msgspec.convert(tomllib.loads(text), ChannelFile)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise ConfigurationError(f"channels.toml: {error}") from error
    names = [channel.name for channel in read.channel]
    if len(names) != len(set(names)):
        raise ConfigurationError("channels.toml: two channels have the same name")
    for channel in read.channel:
        if channel.kind == "webhook" or channel.setting == MAIL_SETTING:
            raise ConfigurationError(
                f"channels.toml: {channel.name} must be no webhook, and not be named mail"
            )
    missing = sorted(set(Vendor.__args__) - set(read.pace))  # type: ignore[attr-defined]  # of a Literal
    if missing:
        raise ConfigurationError(f"channels.toml: there is no pace for {', '.join(missing)}")
    return ChannelCatalog(read.channel, read.pace)
