"""Bounds every number and time from outside, so that Postgres can hold it exactly."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

from shared.domain.problems import Problems

MAX_NUMBER = Decimal(10) ** 9
MAX_DECIMALS = 8
# Decades beyond any symbol's, and of few enough digits for every JSON reader to keep.
MAX_SEQUENCE = 10**15
EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)

FINITE_NUMBER = f"Expected a finite number within 10^9 of zero, with at most {MAX_DECIMALS} decimals."
AWARE_TIME = "Expected a time with its offset, such as 2025-10-13T13:30:00Z."
PAST_TIME = "Expected a time from the year 2000 on and not in the future."


class ClockSkew:
    """How far another machine's clock may run ahead of ours; every such allowance of the app is here."""

    # Feeds and publishers run on servers with synchronised clocks, and a signal's time decides its expiry.
    MARKET_DATA = timedelta(seconds=5)
    # The engine judges a bar by its close, one minute after the start that MARKET_DATA has let through.
    ENGINE = timedelta(minutes=1)
    # Bots report trades from desktop computers, and a trade's time decides nothing within minutes.
    TRADE = timedelta(minutes=5)
    # Entra ID's guidance for checking tokens allows five minutes; its servers need less than one.
    ENTRA_TOKEN = timedelta(minutes=1)


def check_number(problems: Problems, field: str, number: Decimal | None) -> None:
    if number is not None and not is_storable(number):
        problems.add(field, "out_of_range", FINITE_NUMBER)


def check_time(problems: Problems, field: str, instant: datetime, latest: datetime) -> bool:
    """Whether `instant` is aware; `problems` also says if it is before EARLIEST or after `latest`."""
    if instant.tzinfo is None:
        problems.add(field, "invalid_format", AWARE_TIME)
        return False
    if not EARLIEST <= instant <= latest:
        problems.add(field, "out_of_range", PAST_TIME)
    return True


def is_storable(number: Decimal) -> bool:
    """Whether `number` is finite and fits the numeric columns without rounding."""
    # Compared, never computed with: abs() of 1e1000000 overflows the decimal context.
    if not number.is_finite() or not -MAX_NUMBER <= number <= MAX_NUMBER:
        return False
    exponent = number.as_tuple().exponent
    # From above too: 0e1000000 is zero, but no text that Postgres reads.
    return isinstance(exponent, int) and -MAX_DECIMALS <= exponent <= MAX_NUMBER.adjusted()
