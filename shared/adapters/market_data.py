"""Reads what the engine needs to know of markets: trading calendars and a strategy's entry rules."""

import tomllib
from functools import cache
from pathlib import Path
from typing import Any, get_args

import msgspec

from shared.domain.market.calendars import Calendar, Sessions
from shared.domain.market.instruments import Market
from shared.errors import ConfigurationError
from shared.strategies.vwap_bounce.entry_rules import EntryRules

_SHARED = Path(__file__).resolve().parent.parent
CALENDARS = _SHARED / "calendars"
STRATEGIES = _SHARED / "strategies"


class _StrategyFile(msgspec.Struct):
    """What the engine needs of a strategy file; the rest is the confidence's."""

    name: str
    version: int
    entry: dict[str, Any]


def read_calendar(path: Path) -> Calendar:
    """The calendar in `path`; raises ConfigurationError where it is absent or not a calendar."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Calendar)
    except (OSError, msgspec.DecodeError) as error:
        raise ConfigurationError(f"The calendar {path.name} cannot be read: {error}.") from error


def read_entry_rules(path: Path) -> EntryRules:
    """The table `[entry]` with name and version of a strategy file; raises ConfigurationError."""
    try:
        document = msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), _StrategyFile)
        named = {"name": document.name, "version": document.version}
        return msgspec.convert(document.entry | named, EntryRules)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise ConfigurationError(f"The entry rules in {path.name} cannot be read: {error}.") from error


@cache
def sessions() -> Sessions:
    """The sessions of every instrument, from the calendars that ship with the code; read once a process."""
    return Sessions({market: read_calendar(CALENDARS / f"{market}.json") for market in get_args(Market)})


@cache
def vwap_bounce_rules() -> EntryRules:
    """The entry rules that ship with the code; read once a process."""
    return read_entry_rules(STRATEGIES / "vwap_bounce" / "strategy.toml")
