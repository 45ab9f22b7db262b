"""Which signals make sense: their times, their prices, and an open market."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.adapters.calendars import market_calendars
from shared.domain.market.instruments import INSTRUMENTS
from shared.domain.market.signal_checks import (
    DEFAULT_LIFETIME,
    LAST_PRICE_MAX_AGE,
    MAX_EXIT_AGE,
    MAX_LIFETIME,
    LastPrice,
    MarketConditions,
    check_content,
    check_moment,
    market_conditions,
)
from shared.domain.market.signals import SignalRequest
from shared.domain.problems import Problems

CALENDARS = market_calendars()
# A Monday morning in New York: every market that we know is open.
NOW = datetime(2025, 10, 13, 14, tzinfo=UTC)
SATURDAY = datetime(2025, 10, 18, 15, tzinfo=UTC)
SECOND, MINUTE, HOUR, DAY = (timedelta(seconds=n) for n in (1, 60, 3_600, 86_400))


def a_request(**changes: Any) -> SignalRequest:
    values: dict[str, Any] = {"symbol": "ES", "side": "LONG", "price": Decimal(6500)}
    return SignalRequest(**(values | changes))


def problems_of(
    request: SignalRequest, now: datetime = NOW, last: LastPrice | None = None
) -> list[tuple[str, str, str]]:
    market = market_conditions(request.symbol, now, CALENDARS, last)
    return found(request, market)


def found(request: SignalRequest, market: MarketConditions) -> list[tuple[str, str, str]]:
    problems = Problems()
    for check in (check_content, check_moment):
        check(request, request.event_at or market.now, market, problems)
    return [(error.field, error.code, error.message) for error in problems]


def fields_of(*arguments: Any, **options: Any) -> list[tuple[str, str]]:
    return [(field, code) for field, code, _ in problems_of(*arguments, **options)]


def prices(**given: str) -> dict[str, Decimal]:
    return {name: Decimal(value) for name, value in given.items()}


# Times


@pytest.mark.parametrize(
    ("changes", "field", "said"),
    [
        ({"event_at": NOW - 2 * DAY - 3 * HOUR - 5 * MINUTE}, "event_at", "expired 2 days 3 h ago, because"),
        ({"event_at": NOW - DEFAULT_LIFETIME}, "event_at", "expired less than a second ago"),
        ({"event_at": NOW - DEFAULT_LIFETIME - 12 * SECOND}, "event_at", "expired 12 s ago"),
        ({"expires_at": NOW - 2 * DAY}, "expires_at", "This entry expired 2 days ago."),
        ({"expires_at": NOW}, "expires_at", "expired less than a second ago"),
        ({"event_at": NOW - 2 * DAY, "expires_at": NOW - DAY - HOUR}, "expires_at", "expired 1 day 1 h ago"),
        ({"event_at": NOW - HOUR, "expires_at": NOW - MINUTE}, "expires_at", "expired 1 min ago"),
    ],
)
def test_an_expired_entry_is_told_by_how_much(changes: dict[str, Any], field: str, said: str) -> None:
    ((named, code, message),) = problems_of(a_request(**changes))
    assert (named, code) == (field, "out_of_range")
    assert said in message
    assert "The server's time is 2025-10-13T14:00:00Z." in message


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"event_at": NOW - DEFAULT_LIFETIME + SECOND},
        {"event_at": NOW - 20 * HOUR, "expires_at": NOW + SECOND},
        {"event_at": NOW, "expires_at": NOW + MAX_LIFETIME},
        {"event_at": NOW + 5 * SECOND},
        {"kind": "exit", "event_at": NOW - 2 * DAY},
        {"kind": "exit", "event_at": NOW - MAX_EXIT_AGE},
    ],
)
def test_a_live_entry_and_a_late_exit_are_accepted(changes: dict[str, Any]) -> None:
    assert problems_of(a_request(**changes)) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": "exit", "expires_at": NOW + MINUTE},
        {"expires_at": NOW + MAX_LIFETIME + SECOND},
        {"event_at": NOW - MINUTE, "expires_at": NOW - MINUTE + MAX_LIFETIME + SECOND},
        {"event_at": NOW + 5 * SECOND, "expires_at": NOW + 5 * SECOND},
        {"event_at": NOW + 5 * SECOND, "expires_at": NOW + 4 * SECOND},
    ],
)
def test_a_lifetime_that_no_signal_has_is_named(changes: dict[str, Any]) -> None:
    assert fields_of(a_request(**changes)) == [("expires_at", "out_of_range")]


@pytest.mark.parametrize("kind", ["entry", "exit"])
@pytest.mark.parametrize(
    ("ahead", "shown"), [(6 * SECOND, "6 s"), (90 * MINUTE, "1 h 30 min"), (3 * DAY, "3 days")]
)
def test_a_publisher_whose_clock_is_ahead_is_told_by_how_much(
    kind: str, ahead: timedelta, shown: str
) -> None:
    ((field, code, message),) = problems_of(a_request(kind=kind, event_at=NOW + ahead))
    assert (field, code) == ("event_at", "out_of_range")
    assert f"This time is {shown} in the future: it is 2025-10-13T14:00:00Z here." in message


def test_a_time_long_ago_is_named_once() -> None:
    long_ago = datetime(1999, 12, 31, tzinfo=UTC)
    for kind in ("entry", "exit"):
        assert fields_of(a_request(kind=kind, event_at=long_ago)) == [("event_at", "out_of_range")]


def test_an_exit_may_not_be_older_than_a_week() -> None:
    ((field, code, message),) = problems_of(a_request(kind="exit", event_at=NOW - MAX_EXIT_AGE - HOUR))
    assert (field, code) == ("event_at", "out_of_range")
    assert "This exit happened 7 days 1 h ago. An exit may be at most 7 days late." in message


@given(st.timedeltas(-3 * DAY, DAY), st.none() | st.timedeltas(-3 * DAY, 3 * DAY))
def test_an_accepted_entry_is_never_expired(event_after: timedelta, expires_after: timedelta | None) -> None:
    event_at = NOW + event_after
    expires_at = None if expires_after is None else NOW + expires_after
    request = a_request(event_at=event_at, expires_at=expires_at)
    end = expires_at or event_at + DEFAULT_LIFETIME
    is_sound = event_after <= 5 * SECOND and end > NOW and timedelta() < end - event_at <= MAX_LIFETIME
    assert (problems_of(request) == []) == is_sound


def test_in_a_replay_the_time_of_the_bars_decides() -> None:
    then = datetime(2024, 3, 5, 15, tzinfo=UTC)
    assert problems_of(a_request(event_at=then - MINUTE), now=then) == []
    assert fields_of(a_request(event_at=NOW), now=then) == [("event_at", "out_of_range")]


# Prices


@pytest.mark.parametrize(
    ("side", "stop", "target", "fields"),
    [
        ("LONG", "6490", "6510", []),
        ("LONG", None, "6500.25", []),
        ("LONG", "6499.75", None, []),
        ("LONG", "6510", "6490", ["stop_price", "target_price"]),
        ("LONG", "6500", "6500", ["stop_price", "target_price"]),
        ("LONG", "6500.25", "6510", ["stop_price"]),
        ("LONG", "6490", "6499.75", ["target_price"]),
        ("SHORT", "6510", "6490", []),
        ("SHORT", "6490", "6510", ["stop_price", "target_price"]),
        ("SHORT", "6500", "6500", ["stop_price", "target_price"]),
        ("SHORT", None, "6500.25", ["target_price"]),
        ("SHORT", "6499.75", None, ["stop_price"]),
    ],
)
def test_an_entry_lies_between_its_stop_and_its_target(
    side: str, stop: str | None, target: str | None, fields: list[str]
) -> None:
    given = {"stop_price": stop, "target_price": target}
    chosen = {name: Decimal(value) for name, value in given.items() if value is not None}
    for symbol in ("ES", "UNKNOWN"):
        request = a_request(symbol=symbol, side=side, **chosen)
        assert fields_of(request) == [(field, "out_of_range") for field in fields]
    # An exit at its stop is past it.
    assert fields_of(a_request(kind="exit", side=side, **chosen)) == []


def test_the_message_says_on_which_side_the_price_belongs() -> None:
    request = a_request(side="SHORT", **prices(stop_price="6490.50", target_price="6510"))
    assert [message for *_, message in problems_of(request)] == [
        "A SHORT has its stop_price above its price 6500, got 6490.5.",
        "A SHORT has its target_price below its price 6500, got 6510.",
    ]


@pytest.mark.parametrize(
    ("symbol", "off", "nearest"),
    [
        ("ES", "6500.10", "6500"),
        ("NQ", "21000.2", "21000.25"),
        ("YM", "45000.5", "45000"),
        ("RTY", "2100.15", "2100.2"),
        ("CL", "70.005", "70"),
        ("CL", "-37.635", "-37.64"),
    ],
)
@pytest.mark.parametrize("kind", ["entry", "exit"])
def test_a_price_off_the_tick_is_told_the_nearest(symbol: str, off: str, nearest: str, kind: str) -> None:
    ((field, code, message),) = problems_of(a_request(symbol=symbol, kind=kind, price=Decimal(off)))
    assert (field, code) == ("price", "out_of_range")
    assert message.endswith(f" is {nearest}.")


def test_the_stop_and_the_target_are_on_the_tick_too() -> None:
    request = a_request(**prices(stop_price="6490.1", target_price="6510.1"))
    assert fields_of(request) == [("stop_price", "out_of_range"), ("target_price", "out_of_range")]


def test_the_spelling_of_a_price_does_not_matter() -> None:
    assert problems_of(a_request(**prices(price="6500.2500", stop_price="6.4E+3"))) == []


@pytest.mark.parametrize("price", ["0", "-0.25", "-6500"])
@pytest.mark.parametrize("symbol", ["ES", "NQ", "RTY", "UNKNOWN"])
def test_only_a_known_instrument_can_trade_at_zero_or_below(symbol: str, price: str) -> None:
    ((field, _, message),) = problems_of(a_request(symbol=symbol, kind="exit", price=Decimal(price) * 4))
    assert (field, message) == (
        "price",
        f"{symbol} cannot trade at zero or below, got {(Decimal(price) * 4).normalize():f}.",
    )
    assert problems_of(a_request(symbol="CL", price=Decimal(price) / 100 * 4)) == []


@pytest.mark.parametrize("symbol", [*INSTRUMENTS, "UNKNOWN"])
@pytest.mark.parametrize("price", ["999999999", "10000001", "1000000000"])
def test_an_absurd_price_is_refused_without_a_bar(symbol: str, price: str) -> None:
    ((field, _, message),) = problems_of(a_request(symbol=symbol, price=Decimal(price)))
    assert field == "price"
    assert "from zero" in message


def test_each_instrument_has_a_highest_price() -> None:
    for instrument in INSTRUMENTS.values():
        assert problems_of(a_request(symbol=instrument.symbol, price=instrument.max_price)) == []
        above = a_request(symbol=instrument.symbol, price=instrument.max_price + instrument.tick_size)
        assert fields_of(above) == [("price", "out_of_range")]
        below = a_request(symbol=instrument.symbol, price=-instrument.max_price - instrument.tick_size)
        assert fields_of(below) == [("price", "out_of_range")]


@pytest.mark.parametrize(
    ("symbol", "last", "low", "high"),
    [
        ("ES", "6500", "5200", "7800"),
        ("CL", "400", "320", "480"),
        ("CL", "70", "10", "130"),
        ("CL", "17.73", "-42.27", "77.73"),
        ("UNKNOWN", "100", "50", "150"),
    ],
)
@pytest.mark.parametrize("field", ["price", "stop_price", "target_price"])
def test_a_price_far_from_the_last_one_is_refused(
    symbol: str, last: str, low: str, high: str, field: str
) -> None:
    step = INSTRUMENTS[symbol].tick_size if symbol in INSTRUMENTS else Decimal("0.01")
    recent = LastPrice(Decimal(last), NOW - MINUTE)

    def fields(price: Decimal) -> list[tuple[str, str]]:
        chosen = {"price": Decimal(last)} | {field: price}
        return fields_of(a_request(symbol=symbol, kind="exit", **chosen), last=recent)

    assert fields(Decimal(low)) == fields(Decimal(high)) == []
    assert fields(Decimal(low) - step) == [(field, "out_of_range")]
    assert fields(Decimal(high) + step) == [(field, "out_of_range")]


def test_the_message_names_the_last_price_and_its_time() -> None:
    ((_, _, message),) = problems_of(
        a_request(price=Decimal(650)), last=LastPrice(Decimal("6500.00"), NOW - MINUTE)
    )
    assert message == (
        "Expected a price within 1300 of 6500, the last price of ES (2025-10-13T13:59:00Z), got 650."
    )


def test_an_old_price_says_nothing_about_a_new_one() -> None:
    request = a_request(price=Decimal(650))
    old = LastPrice(Decimal(6500), NOW - LAST_PRICE_MAX_AGE - SECOND)
    assert problems_of(request, last=old) == []
    at_the_edge = LastPrice(Decimal(6500), NOW - LAST_PRICE_MAX_AGE)
    assert fields_of(request, last=at_the_edge) == [("price", "out_of_range")]


@pytest.mark.parametrize("bad", ["NaN", "Infinity", "1e1000000", "0.123456789"])
def test_a_number_that_cannot_be_stored_is_named_once(bad: str) -> None:
    request = a_request(price=Decimal(bad), stop_price=Decimal(6510))
    assert fields_of(request, last=LastPrice(Decimal(6500), NOW)) == [("price", "out_of_range")]


# The market


@pytest.mark.parametrize("symbol", INSTRUMENTS)
def test_an_entry_in_a_closed_market_is_told_when_it_opens(symbol: str) -> None:
    request = a_request(symbol=symbol, price=Decimal(60))
    ((field, code, message),) = problems_of(request, now=SATURDAY)
    assert (field, code) == ("symbol", "market_closed")
    assert f"The market of {symbol} is closed" in message
    assert "It opens next at 2025-10-19T22:00:00Z. The server's time is 2025-10-18T15:00:00Z." in message


@pytest.mark.parametrize(
    ("now", "opens"),
    [
        (datetime(2025, 10, 15, 21, 30, tzinfo=UTC), "2025-10-15T22:00:00Z"),  # CME's maintenance
        (datetime(2025, 10, 17, 21, tzinfo=UTC), "2025-10-19T22:00:00Z"),  # the last minute is over
        (datetime(2025, 11, 2, 12, tzinfo=UTC), "2025-11-02T23:00:00Z"),  # the clocks changed that night
        (datetime(2025, 12, 25, 12, tzinfo=UTC), "2025-12-25T23:00:00Z"),
        (datetime(2026, 4, 3, 15, tzinfo=UTC), "2026-04-05T22:00:00Z"),  # Good Friday
    ],
)
def test_the_next_opening_is_the_calendars(now: datetime, opens: str) -> None:
    ((_, _, message),) = problems_of(a_request(), now=now)
    assert f"It opens next at {opens}." in message


def test_after_the_end_of_the_calendar_no_opening_is_known() -> None:
    ((field, code, message),) = problems_of(a_request(), now=datetime(2060, 1, 5, 15, tzinfo=UTC))
    assert (field, code) == ("symbol", "market_closed")
    assert "Its calendar ends." in message


def test_an_exit_is_accepted_in_a_closed_market_and_an_unknown_symbol_has_no_hours() -> None:
    assert problems_of(a_request(kind="exit"), now=SATURDAY) == []
    assert problems_of(a_request(symbol="UNKNOWN"), now=SATURDAY) == []


def test_all_problems_are_named_together() -> None:
    request = a_request(
        event_at=SATURDAY - 2 * DAY,
        **prices(price="-6500.1", stop_price="6510", target_price="999999999"),
    )
    assert fields_of(request, now=SATURDAY) == [
        ("price", "out_of_range"),
        ("price", "out_of_range"),
        ("target_price", "out_of_range"),
        ("stop_price", "out_of_range"),
        ("event_at", "out_of_range"),
        ("symbol", "market_closed"),
    ]
