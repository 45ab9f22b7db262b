"""Reads the trading calendars that ship with the code, from shared/calendars."""

from functools import cache
from pathlib import Path
from typing import get_args

import msgspec

from shared.domain.market.calendars import Calendar, MarketCalendars
from shared.domain.market.instruments import Market
from shared.errors import ConfigurationError

FOLDER = Path(__file__).resolve().parent.parent / "calendars"


def read_calendar(path: Path) -> Calendar:
    """The calendar in `path`; raises ConfigurationError if the file is missing or not a calendar."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Calendar)
    except (OSError, msgspec.DecodeError) as error:
        raise ConfigurationError(f"The calendar {path.name} cannot be read: {error}.") from error


@cache
def market_calendars() -> MarketCalendars:
    """The trading sessions of every instrument, read once per process."""
    return MarketCalendars({market: read_calendar(FOLDER / f"{market}.json") for market in get_args(Market)})
