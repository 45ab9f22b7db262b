"""Both calendars against the rules of CME's holiday hours, which this file states on its own.

A holiday has the same hours in every year, unless CME changed its rule. A year that stands alone is a fault
of the calendar, or an exception that is written here.
"""

from collections.abc import Callable, Iterator
from datetime import date, time, timedelta

import pytest

from shared.adapters.calendars import FOLDER, market_calendars, read_calendar
from shared.domain.market.calendars import CLOSES, NEW_YORK, Calendar
from shared.domain.market.instruments import INSTRUMENTS, Market

YEARS = range(2020, 2031)
MONDAY, THURSDAY, FRIDAY, SATURDAY = 0, 3, 4, 5
GOOD_FRIDAYS = {
    date(2020, 4, 10),
    date(2021, 4, 2),
    date(2022, 4, 15),
    date(2023, 4, 7),
    date(2024, 3, 29),
    date(2025, 4, 18),
    date(2026, 4, 3),
    date(2027, 3, 26),
    date(2028, 4, 14),
    date(2029, 3, 30),
    date(2030, 4, 19),
}
type Closes = Iterator[tuple[date, time | None]]


def nth(year: int, month: int, weekday: int, number: int) -> date:
    first = date(year, month, 1)
    return first + timedelta(days=(weekday - first.weekday()) % 7 + 7 * (number - 1))


def memorial_day(year: int) -> date:
    last = date(year, 5, 31)
    return last - timedelta(days=last.weekday())


def observed(day: date) -> date:
    """A Saturday's holiday is kept on Friday, a Sunday's on Monday."""
    return day + timedelta(days={5: -1, 6: 1}.get(day.weekday(), 0))


def good_friday(year: int) -> date:
    return next(day for day in GOOD_FRIDAYS if day.year == year)


def halted_holidays(year: int) -> list[date]:
    """Holidays with a short session."""
    monday_holidays = [nth(year, 1, MONDAY, 3), nth(year, 2, MONDAY, 3), memorial_day(year)]
    juneteenth = [observed(date(year, 6, 19))] if year >= 2022 else []
    rest = [observed(date(year, 7, 4)), nth(year, 9, MONDAY, 1), nth(year, 11, THURSDAY, 4)]
    return monday_holidays + juneteenth + rest


def closed_holidays(year: int) -> list[date]:
    new_year = date(year, 1, 1)
    # A Saturday's New Year is not made up for, so that the year's last day is a trading day.
    kept = [] if new_year.weekday() == SATURDAY else [observed(new_year)]
    return [*kept, observed(date(year, 12, 25))]


def equity(year: int) -> Closes:
    yield from ((day, None) for day in closed_holidays(year))
    yield from ((day, time(13)) for day in halted_holidays(year))
    # The jobs report comes on the first Friday of a month; since 2021, CME opens for it on a Good Friday.
    friday = good_friday(year)
    yield friday, time(9, 15) if friday == nth(year, 4, FRIDAY, 1) and year >= 2021 else None
    for eve in (date(year, 7, 3), date(year, 12, 24)):
        if eve.weekday() < FRIDAY:
            yield eve, time(13, 15)
    yield nth(year, 11, THURSDAY, 4) + timedelta(days=1), time(13, 15)
    if year == 2025:
        yield date(2025, 1, 9), time(9, 30)  # National Day of Mourning


def crude(year: int) -> Closes:
    yield from ((day, None) for day in closed_holidays(year))
    yield good_friday(year), None
    for day in halted_holidays(year):
        # On a Friday no evening session follows, and all products halt together.
        yield day, time(13) if year < 2022 or day.weekday() == FRIDAY else time(14, 30)
    if date(year, 12, 24).weekday() < FRIDAY:
        yield date(year, 12, 24), time(13, 45)
    # CME published an hour more for 2026 alone.
    yield nth(year, 11, THURSDAY, 4) + timedelta(days=1), time(14, 45) if year == 2026 else time(13, 45)


def held(calendar: Calendar, year: int) -> dict[date, time | None]:
    closes: dict[date, time | None] = dict.fromkeys(calendar.closed)
    return {day: close for day, close in (closes | calendar.early_closes).items() if day.year == year}


@pytest.mark.parametrize("year", YEARS)
@pytest.mark.parametrize(("market", "rules"), [("equity", equity), ("crude", crude)])
def test_every_holiday_has_the_hours_of_its_rule(
    market: Market, rules: Callable[[int], Closes], year: int
) -> None:
    assert held(read_calendar(FOLDER / f"{market}.json"), year) == dict(rules(year))


@pytest.mark.parametrize(
    ("symbols", "day", "close"),
    [
        # Days that the library had wrong, for every instrument of their market.
        (("ES", "NQ", "YM", "RTY"), date(2025, 1, 9), time(9, 30)),
        (("CL",), date(2025, 1, 9), CLOSES),
        (("ES", "NQ", "YM", "RTY"), date(2025, 4, 18), None),
        (("CL",), date(2024, 12, 24), time(13, 45)),
        (("CL",), date(2025, 9, 1), time(14, 30)),
        (("CL",), date(2025, 7, 4), time(13)),
    ],
)
def test_a_corrected_close_reaches_every_instrument(
    symbols: tuple[str, ...], day: date, close: time | None
) -> None:
    assert {INSTRUMENTS[symbol].market for symbol in symbols} in ({"equity"}, {"crude"})
    for symbol in symbols:
        session = market_calendars().session_of(symbol, day)
        found = session.closes_at.astimezone(NEW_YORK).time() if session else None
        assert found == close, symbol
