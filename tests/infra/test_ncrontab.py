"""NCRONTAB and time spans, against published examples, croniter and a brute-force search."""

from datetime import UTC, datetime, timedelta

import pytest
from croniter import croniter  # type: ignore[import-untyped]  # ships no types
from hypothesis import given, settings
from hypothesis import strategies as st

from infra.ncrontab import CronSchedule, parse_schedule, parse_time_span
from local.host.indexing import RetryPolicy
from local.host.timers import retry_delay_s


def at(text: str) -> datetime:
    return datetime.strptime(text, "%d/%m/%Y %H:%M:%S").replace(tzinfo=UTC)


def firings(expression: str, start: datetime, count: int) -> list[datetime]:
    schedule, found = parse_schedule(expression), []
    for _ in range(count):
        following = schedule.next_after(start)
        assert following is not None
        found.append(following)
        start = following
    return found


# Published with NCrontab itself (its test suite), the library behind the platform's timers.
@pytest.mark.parametrize(
    ("start", "expression", "following"),
    [
        ("01/01/2003 00:00:00", "45 * * * * *", "01/01/2003 00:00:45"),
        ("01/01/2003 00:00:45", "45-47,48,49 * * * * *", "01/01/2003 00:00:46"),
        ("01/01/2003 00:00:49", "45-47,48,49 * * * * *", "01/01/2003 00:01:45"),
        ("01/01/2003 00:00:00", "2/5 * * * * *", "01/01/2003 00:00:02"),
        ("01/01/2003 00:00:52", "2/5 * * * * *", "01/01/2003 00:00:57"),
        ("01/01/2003 00:00:57", "2/5 * * * * *", "01/01/2003 00:01:02"),
        ("24/02/2021 09:50:35", "* 0-1 10 * * *", "24/02/2021 10:00:00"),
        ("24/02/2021 09:50:35", "* 55 * * * *", "24/02/2021 09:55:00"),
        ("01/01/2003 00:49:30", "6 45-47,48,49 * * * *", "01/01/2003 01:45:06"),
        ("01/01/2003 00:57:30", "9 2/5 * * * *", "01/01/2003 01:02:09"),
        ("20/12/2003 10:00:00", "0 * 3/4 * * *", "20/12/2003 11:00:00"),
        ("28/02/2004 23:59:00", "0 * * * * *", "29/02/2004 00:00:00"),
        ("31/12/2003 23:59:00", "0 * * * * *", "01/01/2004 00:00:00"),
        ("30/01/2000 00:00:00", "0 0 0 15,30,31 * *", "31/01/2000 00:00:00"),
        ("15/02/2000 00:00:00", "0 0 0 15,30,31 * *", "15/03/2000 00:00:00"),
        ("01/07/2002 05:00:00", "0 10 * * February,April-Jun *", "01/02/2003 00:10:00"),
        (
            "11/03/1988 14:23:00",
            "0 20 * * january,FeB,Mar,april,May,JuNE,July,Augu,SEPT-October,Nov,DECEM *",
            "11/03/1988 15:20:00",
        ),
        ("26/06/2003 10:00:00", "0 30 6 * * SUNDAY", "29/06/2003 06:30:00"),
        ("01/06/2003 14:55:00", "0 15 18 * * Mon", "02/06/2003 18:15:00"),
        # Both the day and the weekday must match: Monday the first.
        ("01/01/2003 12:00:00", "0 45 16 1 * Mon", "01/09/2003 16:45:00"),
        ("01/09/2003 23:45:00", "0 45 16 1 * Mon", "01/12/2003 16:45:00"),
        ("29/02/2000 12:01:00", "0 1 12 29 2 *", "29/02/2004 12:01:00"),
        # A reversed range is swapped, not wrapped.
        ("01/01/2003 00:00:00", "0 0 5-3 * * *", "01/01/2003 03:00:00"),
        ("01/01/2003 05:00:00", "0 0 5-3 * * *", "02/01/2003 03:00:00"),
    ],
)
def test_published_examples(start: str, expression: str, following: str) -> None:
    assert parse_schedule(expression).next_after(at(start)) == at(following)


# From the timer trigger's documentation.
@pytest.mark.parametrize(
    ("expression", "times"),
    [
        ("0 */5 * * * *", ["00:05:00", "00:10:00", "00:15:00"]),
        ("0 0 */2 * * *", ["02:00:00", "04:00:00", "06:00:00"]),
        ("0 0 9-17 * * *", ["09:00:00", "10:00:00", "11:00:00"]),
        ("0 5,8,10 * * * *", ["00:05:00", "00:08:00", "00:10:00"]),
        ("*/10 * * * * *", ["00:00:10", "00:00:20", "00:00:30"]),
    ],
)
def test_documented_examples(expression: str, times: list[str]) -> None:
    start = datetime(2026, 3, 2, tzinfo=UTC)
    assert [moment.strftime("%H:%M:%S") for moment in firings(expression, start, 3)] == times


def test_the_answer_is_always_later_and_keeps_fractions_out() -> None:
    on_the_second = datetime(2026, 3, 2, 10, 0, 5, tzinfo=UTC)
    schedule = parse_schedule("*/5 * * * * *")
    assert schedule.next_after(on_the_second) == on_the_second + timedelta(seconds=5)
    assert schedule.next_after(on_the_second - timedelta(microseconds=1)) == on_the_second


def test_a_date_that_does_not_exist_never_fires() -> None:
    assert parse_schedule("* * * 31 Feb *").next_after(at("01/01/2001 00:00:00")) is None


@pytest.mark.parametrize(
    "expression",
    [
        "* * * * *",
        "* * * * * * *",
        "bad * * * * *",
        "60 * * * * *",
        "* * 24 * * *",
        "* * * 0 * *",
        "* * * 32 * *",
        "* * * * 13 *",
        "* * * * * 7",
        "* * * * * mon,bad,wed",
        "* * 1,Z,3,4 * * *",
        "* * 1/Z * * *",
        "* * 3-l2 * * *",
        "* * 1,,2 * * *",
        "* * ,1 * * *",
        "* * L * * *",
        "* * ? * * *",
        "@hourly * * * * *",
        "-1 * * * * *",
        "",
    ],
)
def test_what_the_platform_refuses(expression: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse_schedule(expression)


def _field(low: int, high: int) -> st.SearchStrategy[str]:
    number = st.integers(low, high)
    # croniter reads 0-0 as the whole week, so a range here has two ends.
    pairs = st.tuples(number, number).filter(lambda pair: pair[0] != pair[1])
    ranges = pairs.map(lambda pair: f"{min(pair)}-{max(pair)}")
    stepped = st.tuples(ranges, st.integers(1, high)).map(lambda pair: f"{pair[0]}/{pair[1]}")
    star = st.one_of(st.just("*"), st.integers(2, high).map(lambda step: f"*/{step}"))
    listed = st.lists(st.one_of(number.map(str), ranges, stepped), min_size=1, max_size=3).map(",".join)
    return st.one_of(star, listed)


_EXPRESSIONS = st.tuples(
    _field(0, 59), _field(0, 59), _field(0, 23), _field(1, 28), _field(1, 12), _field(0, 6)
).map(" ".join)
_MOMENTS = st.datetimes(datetime(2001, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - hypothesis adds the zone


@settings(max_examples=150, deadline=None)
@given(expression=_EXPRESSIONS, start=_MOMENTS)
def test_where_the_dialects_agree_croniter_finds_the_same(expression: str, start: datetime) -> None:
    start = start.replace(microsecond=0)
    # With day_or=False and seconds first, croniter means what NCRONTAB means by these expressions.
    oracle = croniter(expression, start, second_at_beginning=True, day_or=False, max_years_between_matches=60)
    assert parse_schedule(expression).next_after(start) == oracle.get_next(datetime)


@settings(max_examples=60, deadline=None)
@given(
    expression=st.tuples(_field(0, 59), _field(0, 59), _field(0, 23)).map(lambda t: " ".join(t) + " * * *"),
    start=_MOMENTS,
)
def test_nothing_fires_between_a_moment_and_the_firing_after_it(expression: str, start: datetime) -> None:
    schedule = parse_schedule(expression)
    assert isinstance(schedule, CronSchedule)
    following = schedule.next_after(start)
    assert following is not None and start < following <= start + timedelta(days=1, seconds=1)

    def fires(moment: datetime) -> bool:
        return (
            moment.second in schedule.seconds
            and moment.minute in schedule.minutes
            and moment.hour in schedule.hours
        )

    assert fires(following)
    second = start.replace(microsecond=0) + timedelta(seconds=1)
    while second < following:
        assert not fires(second)
        second += timedelta(seconds=1)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("00:00:05", timedelta(seconds=5)),
        ("00:05:00", timedelta(minutes=5)),
        ("23:59:59", timedelta(hours=23, minutes=59, seconds=59)),
        ("1.02:03:04", timedelta(days=1, hours=2, minutes=3, seconds=4)),
        ("1:02:03:04", timedelta(days=1, hours=2, minutes=3, seconds=4)),
        ("00:00:00.2500000", timedelta(milliseconds=250)),
        ("00:30", timedelta(minutes=30)),
        ("7", timedelta(days=7)),
        # Documented trap: from 24 on, the first part is days.
        ("24:00:00", timedelta(days=24)),
        ("25:01:30", timedelta(days=25, hours=1, minutes=30)),
    ],
)
def test_time_spans(text: str, expected: timedelta) -> None:
    assert parse_time_span(text) == expected


@pytest.mark.parametrize(
    "text", ["", "x", "00:60:00", "00:00:60", "-00:00:05", "00:00:00", "1:2:3:4:5", "24:30:00"]
)
def test_time_spans_that_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse_time_span(text)


def test_a_constant_interval_counts_from_the_run_before() -> None:
    start = datetime(2026, 3, 2, 10, 0, 0, 123_000, tzinfo=UTC)
    assert firings("00:00:05", start, 2) == [start + timedelta(seconds=5), start + timedelta(seconds=10)]


@given(attempt=st.integers(0, 10_000), jitter=st.floats(-0.2, 0.2))
def test_exponential_delays_stay_between_their_bounds_and_fixed_ones_are_fixed(
    attempt: int, jitter: float
) -> None:
    low, high = timedelta(seconds=2), timedelta(minutes=5)
    doubling = RetryPolicy(-1, low, high, exponential=True)
    assert 2.0 <= retry_delay_s(doubling, attempt, jitter) <= 300.0
    assert retry_delay_s(RetryPolicy(3, low, low, exponential=False), attempt, jitter) == 2.0


def test_exponential_delays_double() -> None:
    policy = RetryPolicy(-1, timedelta(seconds=2), timedelta(minutes=5), exponential=True)
    assert [retry_delay_s(policy, attempt, 0.0) for attempt in range(4)] == [2.0, 4.0, 8.0, 16.0]
