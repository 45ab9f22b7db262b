"""Reads the channels and the templates that ship with the code."""

from functools import cache
from pathlib import Path
from typing import get_args

from shared.domain.notifications.channels import ChannelCatalog, ChannelKind, parse_channels
from shared.domain.notifications.events import EventKind
from shared.domain.notifications.messages import Templates
from shared.errors import ConfigurationError

FOLDER = Path(__file__).resolve().parents[2] / "notifications"


@cache
def shipped_channels() -> ChannelCatalog:
    """The channels of channels.toml; raises ConfigurationError."""
    return parse_channels((FOLDER / "channels.toml").read_text(encoding="utf-8"))


@cache
def shipped_templates() -> Templates:
    """Every template, `<event>.txt` or `<event>.<kind of channel>.txt`; raises ConfigurationError."""
    texts: dict[tuple[EventKind, ChannelKind | None], str] = {}
    for path in sorted((FOLDER / "templates").glob("*.txt")):
        event, _, channel = path.stem.partition(".")
        if event not in get_args(EventKind) or channel not in ("", *get_args(ChannelKind)):
            raise ConfigurationError(f"templates/{path.name} is of no event, or of no kind of channel")
        key: tuple[EventKind, ChannelKind | None] = (event, channel or None)  # type: ignore[assignment]
        texts[key] = path.read_text(encoding="utf-8")
    return Templates(texts)
