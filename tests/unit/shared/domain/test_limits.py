"""Which numbers and times from outside are taken."""

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest

from shared.domain.limits import (
    AWARE_TIME,
    EARLIEST,
    FINITE_NUMBER,
    PAST_TIME,
    ClockSkew,
    check_number,
    check_time,
    is_storable,
)
from shared.domain.problems import Problems

LATEST = datetime(2026, 3, 2, tzinfo=UTC)
SKEW = ClockSkew.MARKET_DATA
NOW = LATEST - SKEW
MICROSECOND = timedelta(microseconds=1)


@pytest.mark.parametrize(
    "text",
    ["0", "-0", "1e9", "-1e9", "0e9", "1.12345678", "-1e-8", "999999999.99999999", "1E+8", "0e-8", "10e8"],
)
def test_the_ends_of_the_range_and_8_decimals_can_be_stored(text: str) -> None:
    assert is_storable(Decimal(text))
    problems = Problems()
    check_number(problems, "x", Decimal(text))
    assert not problems


@pytest.mark.parametrize(
    "text",
    [
        "NaN",
        "sNaN",
        "Infinity",
        "-Infinity",
        "1000000000.00000001",
        "-1000000000.00000001",
        "1.123456789",
        "1e-9",
        "0e-9",
        "0e10",
        "1e1000000",
        "0e1000000",
        "-1e1000000",
    ],
)
def test_another_number_cannot(text: str) -> None:
    assert not is_storable(Decimal(text))
    problems = Problems()
    check_number(problems, "x", Decimal(text))
    assert [(each.field, each.code, each.message) for each in problems] == [
        ("x", "out_of_range", FINITE_NUMBER)
    ]


def test_no_number_is_no_problem() -> None:
    problems = Problems()
    check_number(problems, "x", None)
    assert not problems


@pytest.mark.parametrize("instant", [EARLIEST, LATEST, EARLIEST.astimezone(timezone(timedelta(hours=-5)))])
def test_the_ends_of_the_time_are_taken(instant: datetime) -> None:
    problems = Problems()
    assert check_time(problems, "at", instant, NOW, skew=SKEW)
    assert not problems


def test_a_time_before_them_is_aware_but_refused() -> None:
    problems = Problems()
    assert check_time(problems, "at", EARLIEST - MICROSECOND, NOW, skew=SKEW)
    assert [(each.field, each.code, each.message) for each in problems] == [("at", "out_of_range", PAST_TIME)]


@pytest.mark.parametrize(
    ("ahead", "told"),
    [
        (SKEW + MICROSECOND, "5 s"),
        (timedelta(seconds=7, milliseconds=250), "7 s"),
        (timedelta(minutes=5), "5 min"),
        (timedelta(minutes=62, seconds=3), "1 h 2 min"),
        (timedelta(hours=5), "5 h"),
        (timedelta(days=1, minutes=5), "1 day"),
        (timedelta(days=2, hours=3), "2 days 3 h"),
    ],
)
def test_a_clock_that_is_ahead_is_told_our_time_and_the_difference(ahead: timedelta, told: str) -> None:
    problems = Problems()
    there = timezone(timedelta(hours=9))
    assert check_time(problems, "at", (NOW + ahead).astimezone(there), NOW.astimezone(there), skew=SKEW)
    ((field, code, message),) = [(each.field, each.code, each.message) for each in problems]
    assert (field, code) == ("at", "out_of_range")
    assert message.startswith(f"This time is {told} in the future: it is 2026-03-01T23:59:55Z here.")
    assert "At most 5 s are allowed" in message


def test_the_last_moment_of_all_is_only_too_late() -> None:
    problems = Problems()
    for zone in (UTC, timezone(timedelta(hours=-12))):
        check_time(problems, "at", datetime.max.replace(tzinfo=zone), NOW, skew=SKEW)
    assert [each.code for each in problems] == ["out_of_range"] * 2


def test_a_time_without_an_offset_is_none() -> None:
    problems = Problems()
    assert not check_time(problems, "at", NOW.replace(tzinfo=None), NOW, skew=SKEW)
    assert [(each.code, each.message) for each in problems] == [("invalid_format", AWARE_TIME)]


def test_each_clock_may_be_ahead_as_far_as_its_reason_goes() -> None:
    skews = {name: value for name, value in vars(ClockSkew).items() if isinstance(value, timedelta)}
    assert skews == {
        "MARKET_DATA": timedelta(seconds=5),
        "BAR": timedelta(seconds=2),
        "TRADE": timedelta(minutes=5),
        "OPERATOR": timedelta(minutes=5),
        "ENTRA_TOKEN": timedelta(minutes=1),
    }
