from datetime import date, datetime, time, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.adapters.calendars import market_calendars
from shared.domain.market.calendars import NEW_YORK, Calendar, MarketCalendars, hour_of, trading_day_of
from shared.domain.market.instruments import INSTRUMENTS
from tests.support.market import real_es, utc

CALENDARS = market_calendars()
covered = st.integers(0, 11 * 365 * 24 * 60 - 1).map(
    lambda minute: utc("2020-01-01") + timedelta(minutes=minute)
)


@pytest.mark.parametrize(
    ("instant", "trading_day"),
    [
        # winter: New York is UTC-5
        ("2025-01-14T22:59:59", None),
        ("2025-01-14T23:00:00", date(2025, 1, 15)),
        ("2025-01-15T21:59:59", date(2025, 1, 15)),
        ("2025-01-15T22:00:00", None),
        # summer: New York is UTC-4
        ("2025-07-14T21:59:59", None),
        ("2025-07-14T22:00:00", date(2025, 7, 15)),
        ("2025-07-15T20:59:59", date(2025, 7, 15)),
        ("2025-07-15T21:00:00", None),
        # the weekend, from Friday 17:00 to Sunday 18:00
        ("2025-10-17T20:59:59", date(2025, 10, 17)),
        ("2025-10-17T21:00:00", None),
        ("2025-10-18T15:00:00", None),
        ("2025-10-19T21:59:59", None),
        ("2025-10-19T22:00:00", date(2025, 10, 20)),
        # the clocks change on these Sundays: the evening after is already on the new time
        ("2025-03-09T21:59:59", None),
        ("2025-03-09T22:00:00", date(2025, 3, 10)),
        ("2025-11-02T22:59:59", None),
        ("2025-11-02T23:00:00", date(2025, 11, 3)),
        # Labor Day halts at 13:00 and reopens in the evening for Tuesday
        ("2025-09-01T16:59:59", date(2025, 9, 1)),
        ("2025-09-01T17:00:00", None),
        ("2025-09-01T21:59:59", None),
        ("2025-09-01T22:00:00", date(2025, 9, 2)),
        # Christmas: closes at 13:15 on the eve, and opens in the evening of the day for the 26th
        ("2025-12-24T18:14:59", date(2025, 12, 24)),
        ("2025-12-24T18:15:00", None),
        ("2025-12-24T23:00:00", None),
        ("2025-12-25T22:59:59", None),
        ("2025-12-25T23:00:00", date(2025, 12, 26)),
    ],
)
def test_session_of_an_instant(instant: str, trading_day: date | None) -> None:
    session = CALENDARS.session_at("ES", utc(instant))
    assert (session.trading_day if session else None) == trading_day
    assert CALENDARS.is_open("ES", utc(instant)) == (trading_day is not None)


def test_crude_keeps_its_own_hours_on_holidays() -> None:
    thanksgiving_afternoon = utc("2025-11-27T19:00")
    assert CALENDARS.is_open("CL", thanksgiving_afternoon)
    assert not CALENDARS.is_open("ES", thanksgiving_afternoon)


def test_a_session_may_close_before_the_opening_bell() -> None:
    session = CALENDARS.session_of("ES", date(2026, 4, 3))  # Good Friday, closes at 09:15
    assert session is not None
    assert session.closes_at == utc("2026-04-03T13:15")


@given(covered, st.sampled_from(sorted(INSTRUMENTS)))
def test_every_session_contains_the_instant_that_it_was_found_by(instant: datetime, symbol: str) -> None:
    session = CALENDARS.session_at(symbol, instant)
    local = instant.astimezone(NEW_YORK)
    if local.hour == 17 or local.weekday() == 5:
        assert session is None
    if session is not None:
        assert session.opens_at <= instant < session.closes_at
        assert timedelta(hours=15) <= session.closes_at - session.opens_at <= timedelta(hours=23)
        assert session.trading_day.weekday() < 5
        assert session.trading_day == trading_day_of(instant)
        assert session.opens_at.astimezone(NEW_YORK).hour == 18


@given(covered, st.sampled_from(sorted(INSTRUMENTS)))
def test_sessions_do_not_depend_on_the_offset_that_an_instant_is_written_in(
    instant: datetime, symbol: str
) -> None:
    assert CALENDARS.session_at(symbol, instant) == CALENDARS.session_at(symbol, instant.astimezone(NEW_YORK))


def test_a_market_is_closed_outside_of_its_calendar_and_for_unknown_symbols() -> None:
    assert CALENDARS.session_at("ES", utc("2019-12-30T15:00")) is None
    assert CALENDARS.session_at("ES", utc("2031-01-02T15:00")) is None
    assert CALENDARS.session_at("ZZ", utc("2025-07-15T15:00")) is None


def test_days_left_counts_to_the_earliest_end_of_a_calendar() -> None:
    def calendar(last: date) -> Calendar:
        return Calendar("test", date(2025, 1, 1), last, frozenset(), {})

    facts = {"equity": calendar(date(2025, 12, 31)), "crude": calendar(date(2025, 12, 1))}
    assert MarketCalendars(facts).days_left(date(2025, 11, 21)) == 10
    assert MarketCalendars(facts).days_left(date(2025, 12, 11)) == -10


def test_hour_is_new_york_time() -> None:
    assert hour_of(utc("2025-07-15T13:30")) == 9
    assert hour_of(utc("2025-01-15T14:30")) == 9


def test_real_bars_out_of_session_are_the_known_ones() -> None:
    outside = [one.open_time for one in real_es() if not CALENDARS.is_open("ES", one.open_time)]
    labor_day = [moment for moment in outside if moment.date() == date(2025, 9, 1)]
    fridays = [moment for moment in outside if moment.date() != date(2025, 9, 1)]
    assert len(labor_day) == 240
    assert labor_day[0] == utc("2025-09-01T17:00")
    assert len(fridays) == 7
    assert all(
        moment.weekday() == 4 and moment.time() == utc("2025-09-05T21:00").time() for moment in fridays
    )


def test_a_calendar_holds_its_first_and_its_last_day() -> None:
    week = Calendar("test", date(2025, 7, 14), date(2025, 7, 18), frozenset({date(2025, 7, 16)}), {})
    calendars = MarketCalendars({"equity": week, "crude": week})
    days = [date(2025, 7, 11) + timedelta(days=n) for n in range(12)]
    assert [day.day for day in days if calendars.session_of("ES", day) is not None] == [14, 15, 17, 18]
    session = calendars.session_of("CL", date(2025, 7, 14))
    assert session is not None
    assert (session.opens_at, session.closes_at) == (utc("2025-07-13T22:00"), utc("2025-07-14T21:00"))
    assert session.is_open(session.opens_at)
    assert not session.is_open(session.closes_at)


def test_an_early_close_ends_its_own_day_alone() -> None:
    week = Calendar(
        "test", date(2025, 7, 14), date(2025, 7, 18), frozenset(), {date(2025, 7, 15): time(13, 15)}
    )
    calendars = MarketCalendars({"equity": week, "crude": week})
    closes = [calendars.session_of("ES", date(2025, 7, day)) for day in (14, 15, 16)]
    assert [session.closes_at for session in closes if session] == [
        utc("2025-07-14T21:00"),
        utc("2025-07-15T17:15"),
        utc("2025-07-16T21:00"),
    ]


@given(st.sampled_from([*INSTRUMENTS]), covered)
def test_the_next_opening_is_the_first_one_after_an_instant(symbol: str, instant: datetime) -> None:
    opens = CALENDARS.next_open(symbol, instant)
    assert opens is not None
    assert opens > instant
    assert CALENDARS.is_open(symbol, opens)
    assert not CALENDARS.is_open(symbol, opens - timedelta(microseconds=1))
    own = CALENDARS.session_at(symbol, instant)
    minute = own.closes_at if own is not None else instant
    while minute < opens:
        assert not CALENDARS.is_open(symbol, minute)
        minute += timedelta(minutes=17)


def test_no_opening_is_known_of_an_unknown_symbol_or_after_the_calendar() -> None:
    assert CALENDARS.next_open("UNKNOWN", utc("2025-10-13T14:00:00")) is None
    assert CALENDARS.next_open("ES", utc("2060-01-05T15:00:00")) is None


def test_the_session_before_an_instant_is_the_last_that_opened_before_it() -> None:
    calendars = market_calendars()

    def before(instant: datetime) -> datetime | None:
        session = calendars.session_before("ES", instant)
        return None if session is None else session.opens_at

    opens_at = utc("2025-10-13T22:00")
    assert before(opens_at + timedelta(minutes=1)) == opens_at
    assert before(opens_at) == opens_at - timedelta(days=1)
    assert before(opens_at - timedelta(days=1)) == utc("2025-10-09T22:00"), "over a weekend"
    assert before(utc("2025-10-11T12:00")) == utc("2025-10-09T22:00")
    assert before(utc("1990-01-01T00:00")) is None
    assert calendars.session_before("ZZ", opens_at) is None
