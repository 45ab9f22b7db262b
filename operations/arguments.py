"""Parses the argument types that several commands share, each for the `type` of an argparse argument."""

import re
from argparse import ArgumentTypeError
from datetime import UTC, datetime, timedelta

_UNITS: dict[str, timedelta] = {
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
}
_SPAN = re.compile(r"([0-9]{1,5})([smhd])")


def time(text: str) -> datetime:
    """A time with an offset, in UTC."""
    try:
        value = datetime.fromisoformat(text)
    except ValueError:
        value = None
    if value is None or value.tzinfo is None:
        raise ArgumentTypeError(f"{text!r} is not a time such as 2027-01-31T00:00:00Z")
    return value.astimezone(UTC)


def span(text: str) -> timedelta:
    match = _SPAN.fullmatch(text)
    if match is None:
        raise ArgumentTypeError(f"{text!r} is not a span such as 30m, 24h or 7d")
    return int(match[1]) * _UNITS[match[2]]


def expiry(text: str) -> datetime:
    """A time in UTC, given as such or as a span from now on."""
    if _SPAN.fullmatch(text):
        return datetime.now(UTC) + span(text)
    try:
        return time(text)
    except ArgumentTypeError as error:
        raise ArgumentTypeError(f"{error}, nor a span such as 90d") from None
