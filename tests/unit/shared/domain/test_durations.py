"""Durations and times as messages show them."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from shared.domain.durations import shown_duration, shown_time


@pytest.mark.parametrize(
    ("duration", "shown"),
    [
        (timedelta(), "less than a second"),
        (timedelta(milliseconds=999), "less than a second"),
        (timedelta(seconds=1), "1 s"),
        (timedelta(seconds=59.9), "59 s"),
        (timedelta(minutes=5), "5 min"),
        (timedelta(minutes=4, seconds=10), "4 min 10 s"),
        (timedelta(hours=1, seconds=1), "1 h"),
        (timedelta(hours=23, minutes=59), "23 h 59 min"),
        (timedelta(days=1), "1 day"),
        (timedelta(days=2, hours=3, minutes=4), "2 days 3 h"),
        (timedelta(days=2, minutes=4), "2 days"),
        (-timedelta(days=2, hours=3), "2 days 3 h"),
        (timedelta(days=9_000), "9000 days"),
    ],
)
def test_a_duration_has_its_two_largest_units(duration: timedelta, shown: str) -> None:
    assert shown_duration(duration) == shown


def test_a_time_is_shown_in_utc_to_the_second() -> None:
    assert shown_time(datetime(2026, 11, 29, 23, 0, 0, 7, tzinfo=UTC)) == "2026-11-29T23:00:00Z"
    in_new_york = datetime(2026, 11, 29, 18, tzinfo=timezone(timedelta(hours=-5)))
    assert shown_time(in_new_york) == "2026-11-29T23:00:00Z"
