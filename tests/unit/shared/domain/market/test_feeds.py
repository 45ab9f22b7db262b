from datetime import timedelta

import pytest

from shared.adapters.calendars import market_calendars
from shared.domain.market.bars import FeedState
from shared.domain.market.feeds import STALE_AFTER, Span, feed_states, market_now, session_spans
from tests.support.market import utc

CALENDARS = market_calendars()


def feed(symbol: str, last_open_time: str) -> FeedState:
    opened = utc(last_open_time)
    return FeedState(symbol, opened, opened + timedelta(seconds=61), "live")


@pytest.mark.parametrize(
    ("last_open_time", "now", "state"),
    [
        ("2025-10-14T14:00", "2025-10-14T14:01:05", "fresh"),
        ("2025-10-14T14:00", "2025-10-14T14:06:00", "fresh"),
        ("2025-10-14T14:00", "2025-10-14T14:06:01", "stale"),
        ("2025-10-14T14:00", "2025-10-14T20:59:59", "stale"),
        ("2025-10-14T14:00", "2025-10-14T21:00:00", "closed"),
        # A new session gets the same time to deliver its first bar, however old the last one.
        ("2025-10-10T20:59", "2025-10-11T12:00", "closed"),
        ("2025-10-10T20:59", "2025-10-12T22:05:00", "fresh"),
        ("2025-10-10T20:59", "2025-10-12T22:05:01", "stale"),
        ("2025-09-01T16:59", "2025-09-01T18:00", "closed"),  # Labor Day afternoon
        ("2025-10-14T14:05", "2025-10-14T14:04", "fresh"),  # a feeder's clock that runs ahead
    ],
)
def test_state_of_a_feed(last_open_time: str, now: str, state: str) -> None:
    (health,) = feed_states([feed("ES", last_open_time)], CALENDARS, utc(now))
    assert health.state == state
    assert health.symbol == "ES"
    assert health.source == "live"


def test_age_counts_from_the_close_of_the_newest_bar() -> None:
    now = utc("2025-10-14T14:03:30")
    healths = feed_states([feed("ES", "2025-10-14T14:00"), feed("NQ", "2025-10-14T14:03")], CALENDARS, now)
    assert [health.age_s for health in healths] == [150.0, 0.0]


def test_each_symbol_keeps_the_hours_of_its_market() -> None:
    now = utc("2025-11-27T19:00")  # Thanksgiving: equity has halted, crude has not
    feeds = [feed("ES", "2025-11-27T17:59"), feed("CL", "2025-11-27T17:59"), feed("ZZ", "2025-11-27T17:59")]
    assert [health.state for health in feed_states(feeds, CALENDARS, now)] == ["closed", "stale", "closed"]


def test_a_replay_is_judged_by_its_newest_bar() -> None:
    wall = utc("2025-11-21T12:00")
    feeds = [feed("ES", "2025-10-14T14:00"), feed("NQ", "2025-10-14T13:00")]
    now = market_now(feeds, wall, "bars")
    assert now == utc("2025-10-14T14:01")
    assert [health.state for health in feed_states(feeds, CALENDARS, now)] == ["fresh", "stale"]
    assert market_now(feeds, wall, "wall") == wall
    assert market_now([], wall, "bars") == wall
    assert timedelta(minutes=3) <= STALE_AFTER <= timedelta(minutes=15)


def test_bars_count_in_the_sessions_of_a_known_symbol_and_always_of_an_unknown_one() -> None:
    since, until = utc("2025-10-09T12:00"), utc("2025-10-12T22:00")
    assert session_spans("ES", CALENDARS, since=since, until=until) == [
        Span("ES", utc("2025-10-12T22:00"), utc("2025-10-13T20:59")),
        Span("ES", utc("2025-10-09T22:00"), utc("2025-10-10T20:59")),
        Span("ES", utc("2025-10-08T22:00"), utc("2025-10-09T20:59")),
    ]
    assert session_spans("BTC", CALENDARS, since=since, until=until) == [Span("BTC", since, until)]
