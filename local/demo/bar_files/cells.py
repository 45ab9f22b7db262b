"""Reads the cells of a bar: its time, prices and volume. A cell that is none raises BadCell."""

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from zoneinfo import ZoneInfo

# Plain decimals as people write them, and the exponents with which programs write long ones.
_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]{1,2})?")
_WITH_COMMA = re.compile(r"-?[0-9][0-9.]*,[0-9.,]*")
_UNIX_TIME = re.compile(r"[0-9]{9,19}(\.0+)?")
_DATE = re.compile(r"[0-9]{4}([-./]?)[0-9]{2}\1[0-9]{2}")
_DOTTED_DATE = re.compile(r"([0-9]{4})[./]([0-9]{2})[./]([0-9]{2})")
# Units of unix time in a second. A number of nanoseconds as seconds would be a year that no file has.
_UNIX_UNITS = (1, 10**3, 10**6, 10**9)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST = datetime(1980, 1, 1, tzinfo=UTC)
_LAST = datetime(2100, 1, 1, tzinfo=UTC)


class BadCell(Exception):
    """A cell is not what its column holds; the text is the reason, which many rows can share."""


class DateOnly(BadCell):
    """A time is a date without a time of day, as in files of daily bars."""


@lru_cache(maxsize=2**16)  # the same prices come again and again
def number(text: str) -> Decimal:
    """A number; its value counts, not how it is written."""
    if not text:
        raise BadCell("is empty")
    if _WITH_COMMA.fullmatch(text):
        raise BadCell("has a comma: write a point before the decimals, and nothing between thousands")
    if not _NUMBER.fullmatch(text):
        raise BadCell("is not a plain decimal number")
    return plain(Decimal(text))


def plain(value: Decimal) -> Decimal:
    """The same value without zeros after its last digit, and without an exponent."""
    text = f"{value:f}"
    return Decimal(text.rstrip("0").rstrip(".")) if "." in text else Decimal(text)


def whole_number(text: str) -> int:
    """A number without a fraction, such as 12 or 12.0."""
    value = number(text)
    if value != value.to_integral_value():
        raise BadCell("is not a whole number")
    return int(value)


def moment(text: str) -> datetime:
    """A time: ISO 8601, unix time of any unit, `yyyyMMdd HHmmss`, or `yyyy.MM.dd HH:mm`.

    It is in UTC, or naive if the text has no offset.
    """
    if _DATE.fullmatch(text):
        raise DateOnly("is a date without a time of day")
    if _UNIX_TIME.fullmatch(text):
        return _unix_time(int(text.partition(".")[0]))
    try:
        found = datetime.fromisoformat(_DOTTED_DATE.sub(r"\1-\2-\3", text, count=1))
    except ValueError:
        raise BadCell("is not a time") from None
    # There were no bars of futures before; and near the calendar's ends, no other zone has the time.
    if not _FIRST.year <= found.year < _LAST.year:
        raise BadCell("is not a time of 1980 to 2099")
    return found if found.tzinfo is None else found.astimezone(UTC)


def in_utc(naive: datetime, zone: ZoneInfo) -> datetime:
    """The moment at which clocks of `zone` show `naive`; if they show it twice, the first one."""
    found = naive.replace(tzinfo=zone).astimezone(UTC)
    if found.astimezone(zone).replace(tzinfo=None) != naive:
        raise BadCell(f"does not exist in {zone.key}, where the clocks went forward")
    return found


def _unix_time(value: int) -> datetime:
    for unit in _UNIX_UNITS:
        seconds, rest = divmod(value, unit)
        if _FIRST.timestamp() <= seconds < _LAST.timestamp():
            return _EPOCH + timedelta(seconds=seconds, microseconds=rest * 10**6 // unit)
    raise BadCell("is not a time of 1980 to 2099")
