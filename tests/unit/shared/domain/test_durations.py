"""Durations and times as messages show them."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

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


@given(st.timedeltas(timedelta(seconds=1), timedelta(days=4_000_000)))
def test_what_is_shown_is_the_duration_without_its_smaller_units(duration: timedelta) -> None:
    lengths = {"day": 86_400, "days": 86_400, "h": 3_600, "min": 60, "s": 1}
    words = shown_duration(duration).split()
    parts = [(int(count), lengths[unit]) for count, unit in zip(words[::2], words[1::2], strict=True)]
    left_out = duration.total_seconds() - sum(count * length for count, length in parts)
    next_smaller = {86_400: 3_600, 3_600: 60, 60: 1, 1: 1}[parts[0][1]]
    assert len(parts) <= 2
    assert 0 <= left_out < next_smaller
