"""Bounds that every number and time from outside must keep, so that Postgres can hold it exactly."""

from datetime import UTC, datetime
from decimal import Decimal

MAX_NUMBER = Decimal(10) ** 9
MAX_DECIMALS = 8
# Decades beyond any symbol's, and of few enough digits for every JSON reader to keep.
MAX_SEQUENCE = 10**15
EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)

FINITE_NUMBER = f"Expected a finite number within 10^9 of zero, with at most {MAX_DECIMALS} decimals."
AWARE_TIME = "Expected a time with its offset, such as 2025-10-13T13:30:00Z."
PAST_TIME = "Expected a time from the year 2000 on and not in the future."


def is_storable(number: Decimal) -> bool:
    """Whether `number` is finite and fits the numeric columns without rounding."""
    # Compared, never computed with: abs() of 1e1000000 overflows the decimal context.
    if not number.is_finite() or not -MAX_NUMBER <= number <= MAX_NUMBER:
        return False
    exponent = number.as_tuple().exponent
    # From above too, for 0e1000000 is zero, but no text that Postgres reads.
    return isinstance(exponent, int) and -MAX_DECIMALS <= exponent <= MAX_NUMBER.adjusted()
