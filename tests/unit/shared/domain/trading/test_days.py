"""Ranges of time as whole days and parts of days: together exactly the range, nothing twice."""

from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.limits import EARLIEST
from shared.domain.trading.days import LATEST, Days, Span, days_of, midnight, whole

DAY = date(2026, 3, 2)
NOON = midnight(DAY) + timedelta(hours=12)
times = st.datetimes(
    datetime(2026, 3, 1),  # noqa: DTZ001 - hypothesis adds the zone
    datetime(2026, 3, 6),  # noqa: DTZ001
    timezones=st.sampled_from([UTC, timezone(timedelta(hours=-5)), timezone(timedelta(hours=14))]),
) | st.integers(1, 6).map(lambda day: datetime(2026, 3, day, tzinfo=UTC))


@given(since=st.none() | times, until=st.none() | times, at=times)
def test_a_time_is_in_the_days_once_if_it_is_in_the_range(
    since: datetime | None, until: datetime | None, at: datetime
) -> None:
    days = days_of(since, until)
    found = [part for part in days.parts if part.starts_at <= at < part.ends_at]
    in_whole_days = days.first <= at.astimezone(UTC).date() < days.last
    wanted = (since is None or since <= at) and (until is None or at < until)
    assert len(found) + in_whole_days == wanted
    assert days.first <= days.last
    for part in days.parts:
        assert whole(part.day).starts_at <= part.starts_at < part.ends_at <= whole(part.day).ends_at
        assert part != whole(part.day), "a whole day has stored figures"


@pytest.mark.parametrize(
    ("since", "until", "expected"),
    [
        (None, None, Days(EARLIEST.date(), LATEST.date())),
        (midnight(DAY), midnight(DAY) + timedelta(days=2), Days(DAY, date(2026, 3, 4))),
        (NOON, None, Days(date(2026, 3, 3), LATEST.date(), (Span(DAY, NOON, whole(DAY).ends_at),))),
        (None, NOON, Days(EARLIEST.date(), DAY, (Span(DAY, midnight(DAY), NOON),))),
        (NOON, NOON + timedelta(hours=1), Days(date(2026, 3, 3), date(2026, 3, 3), (
            Span(DAY, NOON, NOON + timedelta(hours=1)),
        ))),
        (NOON, NOON, Days(DAY, DAY)),
        (NOON, NOON - timedelta(days=3), Days(DAY, DAY)),
    ],
)  # fmt: skip
def test_the_ends_of_a_range(since: datetime | None, until: datetime | None, expected: Days) -> None:
    assert days_of(since, until) == expected


@pytest.mark.parametrize("time", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"])
def test_times_at_the_ends_of_the_calendar_are_no_error(time: str) -> None:
    instant = datetime.fromisoformat(time)
    for days in (days_of(instant, None), days_of(None, instant), days_of(instant, instant)):
        assert EARLIEST.date() <= days.first <= days.last <= LATEST.date()
        assert days.parts == ()
