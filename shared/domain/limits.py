"""Bounds the numbers and times that callers send, so that Postgres can store them exactly."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

from shared.domain.durations import shown_duration, shown_time
from shared.domain.problems import Problems

MAX_NUMBER = Decimal(10) ** 9
MAX_DECIMALS = 8
# No symbol reaches it in decades, and every JSON reader keeps its digits.
MAX_SEQUENCE = 10**15
EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)

FINITE_NUMBER = f"Expected a finite number within 10^9 of zero, with at most {MAX_DECIMALS} decimals."
AWARE_TIME = "Expected a time with its offset, such as 2025-10-13T13:30:00Z."
PAST_TIME = "Expected a time from the year 2000 on and not in the future."
# A bot that was cut off reports its trades within this time. Each older month would need a partition.
MAX_REPORT_AGE = timedelta(days=90)
RECENT_TIME = (
    f"Expected a time in the last {MAX_REPORT_AGE.days} days and not in the future. The operator can import "
    "older trades (python -m operations.import_trades)."
)


class ClockSkew:
    """How far another machine's clock may differ from ours; lists every such tolerance of the app."""

    # Feeds and publishers run on servers with synchronised clocks, and a signal's time decides its expiry.
    MARKET_DATA = timedelta(seconds=5)
    # A bar may come this long before its minute is over by our clock. More would let a feed send minutes that
    # are still traded, and servers with synchronised clocks differ by less.
    BAR = timedelta(seconds=2)
    # Bots report trades from desktop computers, and nothing depends on a trade's time to the minute.
    TRADE = timedelta(minutes=5)
    # Operators end licenses and keys from their own computers, and an ending must be seen at once. Kerberos
    # refuses a clock that is further off than this, so the computers of a domain are not.
    OPERATOR = timedelta(minutes=5)
    # Microsoft's guidance for checking Entra ID tokens allows five minutes; its servers need less than one.
    ENTRA_TOKEN = timedelta(minutes=1)


def check_number(problems: Problems, field: str, number: Decimal | None) -> None:
    if number is not None and not is_storable(number):
        problems.add(field, "out_of_range", FINITE_NUMBER)


def check_time(
    problems: Problems,
    field: str,
    instant: datetime,
    now: datetime,
    *,
    skew: timedelta,
    earliest: datetime = EARLIEST,
    expected: str = PAST_TIME,
) -> bool:
    """Whether `instant` is aware.

    Adds a problem if it is not, is before `earliest`, or is more than `skew` (of ClockSkew) after `now`. A
    problem of the future states our time and the difference, because the caller's clock may be wrong.
    """
    if instant.tzinfo is None:
        problems.add(field, "invalid_format", AWARE_TIME)
        return False
    check_not_future(problems, field, instant, now, skew=skew)
    if instant < earliest:
        problems.add(field, "out_of_range", expected)
    return True


def check_not_future(
    problems: Problems, field: str, instant: datetime, now: datetime, *, skew: timedelta
) -> None:
    """Adds a problem if `instant`, which is aware, is more than `skew` after `now`."""
    # A difference, because a sum would overflow at the end of the year 9999.
    if instant - now > skew:
        problems.add(
            field,
            "out_of_range",
            f"This time is {shown_duration(instant - now)} in the future: it is {shown_time(now)} here. At "
            f"most {shown_duration(skew)} are allowed; if it is not meant to be in the future, set the clock "
            "of the machine that makes it.",
        )


def is_storable(number: Decimal) -> bool:
    """Whether `number` is finite and fits the numeric columns without rounding."""
    # Only compares, because arithmetic such as abs() of 1e1000000 overflows the decimal context.
    if not number.is_finite() or not -MAX_NUMBER <= number <= MAX_NUMBER:
        return False
    exponent = number.as_tuple().exponent
    # The exponent has an upper bound too, because Postgres cannot read 0e1000000, which is zero.
    return isinstance(exponent, int) and -MAX_DECIMALS <= exponent <= MAX_NUMBER.adjusted()
