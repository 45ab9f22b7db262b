"""When an absent minute is no longer waited for."""

from datetime import UTC, datetime, timedelta

import pytest

from shared.domain.market.bars import BAR_INTERVAL, Source
from shared.domain.market.holes import LONGEST_QUIET, PATIENCE, Arrival, Habit, habit_of, is_settled

OPENS = datetime(2025, 10, 13, 22, tzinfo=UTC)
NOW = datetime(2026, 1, 5, tzinfo=UTC)


def arrived(
    minutes: int,
    absent: set[int] | frozenset[int],
    *,
    late: frozenset[int] = frozenset(),
    waited: timedelta,
    source: Source = "live",
) -> list[Arrival]:
    """The bars of the first `minutes` of a session, all received `waited` before NOW."""
    return [
        Arrival(OPENS + n * BAR_INTERVAL, n in late, NOW - waited, source)
        for n in range(minutes)
        if n not in absent
    ]


# The session before had every minute.
WHOLE = Habit()


def settled(
    last: int,
    absent: set[int],
    *,
    minutes: int | None = None,
    late: set[int] | None = None,
    waited: timedelta = timedelta(0),
    habit: Habit = WHOLE,
    source: Source = "live",
) -> bool:
    """Whether the minutes up to `last` are settled; bars are known up to `minutes` (by default one more)."""
    known = arrived(minutes or last + 2, absent, late=frozenset(late or ()), waited=waited, source=source)
    return is_settled(known, OPENS, OPENS + last * BAR_INTERVAL, NOW, habit)


THIN = {7, 19, 33}


def test_a_session_without_an_absent_minute_is_settled() -> None:
    assert settled(50, set())
    assert settled(50, set(), late={3, 49})
    assert settled(0, set(), minutes=1)


def test_a_market_that_always_trades_may_be_quiet_for_one_minute() -> None:
    assert settled(50, {20})
    assert not settled(50, {20, 21})
    assert settled(50, {20, 21}, habit=Habit(0.01))
    assert not settled(50, {20, 21}, habit=Habit(0.009))


def test_absent_minutes_of_a_thin_market_are_quiet_once_the_feed_has_gone_on() -> None:
    assert settled(50, THIN)
    assert settled(50, {*THIN, 49})
    assert not settled(50, {*THIN, 49}, minutes=51), "the bar behind the last absence is the newest"
    assert settled(50, {*THIN, 49, 51}, minutes=53)


@pytest.mark.parametrize(("length", "quiet"), [(LONGEST_QUIET // BAR_INTERVAL, True), (6, False)])
def test_a_long_absence_is_a_hole_in_a_thin_market_too(length: int, quiet: bool) -> None:
    assert settled(60, {*THIN, *range(40, 40 + length)}) is quiet


@pytest.mark.parametrize(
    ("late", "last", "quiet"),
    [(95, 155, False), (95, 156, True), (94, 200, False), (200, 200, False), (8, 200, False)],
)
def test_nothing_is_quiet_within_an_hour_of_a_late_bar(late: int, last: int, quiet: bool) -> None:
    """The bar behind the last of the absent minutes is that of minute 34."""
    assert settled(last, THIN, late={late}) is quiet


def test_every_hole_is_given_up_after_a_while() -> None:
    long = {*range(10, 40)}
    assert not settled(50, long, waited=PATIENCE - timedelta(seconds=1))
    assert settled(50, long, waited=PATIENCE)
    assert settled(50, long, late={45}, waited=PATIENCE)
    assert settled(50, {*range(40)}, waited=PATIENCE), "also the minutes before a feed began"


def test_what_counts_is_when_the_first_bar_behind_the_hole_was_received() -> None:
    known = arrived(40, {19, 20}, waited=timedelta(0))
    last = known[-1].open_time
    assert not is_settled(known, OPENS, last, NOW, WHOLE)
    known[25] = Arrival(known[25].open_time, False, NOW - PATIENCE, "live")
    assert is_settled(known, OPENS, last, NOW, WHOLE)
    known[25] = Arrival(known[25].open_time, False, NOW, "live")
    known[5] = Arrival(known[5].open_time, False, NOW - PATIENCE, "live")
    assert not is_settled(known, OPENS, last, NOW, WHOLE)


def test_the_first_minutes_are_quiet_if_the_session_before_was_thin() -> None:
    assert not settled(60, {0, 1, *THIN})
    assert settled(60, {0, 1, *THIN}, habit=Habit(0.05))
    assert settled(60, {0, *THIN}), "one minute of a thin market"
    assert not settled(60, {0})


def test_the_share_of_absent_minutes_counts_from_the_first_bar() -> None:
    known = arrived(100, THIN, waited=timedelta(0))
    closes = OPENS + 100 * BAR_INTERVAL
    assert habit_of(known, OPENS, closes).absent_share == pytest.approx(0.03)
    assert habit_of(known[50:], OPENS, closes) == Habit(0.0, 53 * BAR_INTERVAL)
    assert habit_of([], OPENS, closes) == Habit(opening=None)


OVERNIGHT = 930  # minutes from the opening of the session to that of regular hours


@pytest.mark.parametrize(
    ("begins", "habit", "source", "is_quiet"),
    [
        (OVERNIGHT, Habit(opening=OVERNIGHT * BAR_INTERVAL), "live", True),
        (OVERNIGHT + 5, Habit(opening=OVERNIGHT * BAR_INTERVAL), "live", True),
        (OVERNIGHT - 6, Habit(opening=OVERNIGHT * BAR_INTERVAL), "live", False),
        (OVERNIGHT, Habit(opening=timedelta(0)), "live", False),
        (5, Habit(opening=LONGEST_QUIET), "live", False),
        (OVERNIGHT, Habit(opening=None), "live", False),
        (OVERNIGHT, Habit(opening=None), "replay", True),
        (OVERNIGHT, Habit(opening=None), "simulated", True),
        (OVERNIGHT, Habit(opening=timedelta(0)), "replay", False),
    ],
)
def test_a_feed_of_regular_hours_begins_at_the_same_time_each_day(
    begins: int, habit: Habit, source: Source, is_quiet: bool
) -> None:
    overnight = {*range(begins)}
    assert settled(begins + 20, overnight, habit=habit, source=source) is is_quiet
    assert not settled(begins, overnight, minutes=begins + 1, habit=habit, source=source), (
        "it has not gone on"
    )
    late = {begins + 10}
    assert not settled(begins + 20, overnight, late=late, habit=habit, source=source), "nor is it in order"
