"""What makes a bar impossible."""

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from shared.domain.market.bars import Bar, check_bar, is_symbol
from shared.domain.market.instruments import INSTRUMENTS
from shared.domain.problems import Problems

OPEN_TIME = datetime(2025, 10, 14, 14, tzinfo=UTC)
GOOD = Bar(OPEN_TIME, Decimal(2), Decimal(4), Decimal(1), Decimal(3), 7)


def found(**changed: Any) -> list[tuple[str, str]]:
    problems = Problems()
    check_bar(msgspec.structs.replace(GOOD, **changed), problems.within("bars[1]."))
    return [(error.field.removeprefix("bars[1]."), error.code) for error in problems]


def prices(text: str) -> dict[str, Any]:
    return dict.fromkeys(("open", "high", "low", "close"), Decimal(text))


def test_a_good_bar_has_no_problem() -> None:
    assert found() == []


@pytest.mark.parametrize(
    "changed",
    [
        prices("10000000"),
        prices("0.000001"),
        {"high": Decimal(3)},
        {"low": Decimal(2)},
        {"close": Decimal(1)},
        {"open": Decimal(4)},
        {"volume": 0},
        {"volume": 1_000_000_000},
        {"close": Decimal("2.500000")},
        {"close": Decimal("2.50000000")},
    ],
)
def test_the_ends_of_every_range_are_accepted(changed: dict[str, Any]) -> None:
    assert found(**changed) == []


@pytest.mark.parametrize(
    ("changed", "problems"),
    [
        ({"open_time": OPEN_TIME.replace(tzinfo=None)}, [("open_time", "wrong_type")]),
        ({"open_time": OPEN_TIME.replace(second=1)}, [("open_time", "out_of_range")]),
        ({"open_time": OPEN_TIME.replace(microsecond=1)}, [("open_time", "out_of_range")]),
        ({"close": Decimal("NaN")}, [("close", "out_of_range")]),
        ({"high": Decimal("Infinity")}, [("high", "out_of_range")]),
        ({"high": Decimal("10000000.000001")}, [("high", "out_of_range")]),
        ({"low": Decimal("-10000000.000001")}, [("low", "out_of_range")]),
        ({"open": Decimal("2.0000001")}, [("open", "out_of_range")]),
        ({"open": Decimal("2.000000000")}, [("open", "out_of_range")]),
        ({"open": Decimal("0e1000000")}, [("open", "out_of_range")]),
        ({"high": Decimal("2.9")}, [("high", "out_of_range")]),
        ({"open": Decimal("4.1")}, [("high", "out_of_range")]),
        ({"low": Decimal("2.1")}, [("low", "out_of_range")]),
        ({"close": Decimal("0.9")}, [("low", "out_of_range")]),
        ({"low": Decimal(5)}, [("high", "out_of_range"), ("low", "out_of_range")]),
        ({"volume": -1}, [("volume", "out_of_range")]),
        ({"volume": 1_000_000_001}, [("volume", "out_of_range")]),
        (
            {
                "open": Decimal("NaN"),
                "close": Decimal("1e8"),
                "volume": -1,
                "open_time": OPEN_TIME.replace(tzinfo=None),
            },
            [("open_time", "wrong_type"), ("open", "out_of_range"), ("close", "out_of_range")],
        ),
    ],
)
def test_each_impossible_field_is_named(changed: dict[str, Any], problems: list[tuple[str, str]]) -> None:
    assert found(**changed) == problems


def test_the_messages_say_what_would_be_accepted() -> None:
    def message(**changed: Any) -> str:
        problems = Problems()
        check_bar(msgspec.structs.replace(GOOD, **changed), problems)
        (error,) = problems
        return error.message

    assert message(close=Decimal("NaN")) == "Must be a number from -10000000 to 10000000."
    assert message(close=Decimal("2.0000001")) == "Must have at most 6 decimals."
    assert message(volume=-1) == "Must be from 0 to 1000000000."


def problems_of(symbol: str, changed: dict[str, Any], now: datetime | None = None) -> list[tuple[str, str]]:
    problems = Problems()
    check_bar(msgspec.structs.replace(GOOD, **changed), problems, INSTRUMENTS[symbol], now)
    return [(error.field, error.message) for error in problems]


@pytest.mark.parametrize("symbol", INSTRUMENTS)
def test_every_tick_of_an_instrument_is_a_price_and_nothing_between(symbol: str) -> None:
    tick = INSTRUMENTS[symbol].tick_size
    for ticks in (1, 7, 9_000):
        assert problems_of(symbol, prices(str(ticks * tick))) == []
        off = problems_of(symbol, prices(str(ticks * tick + tick / 2)))
        assert [field for field, _ in off] == ["open", "high", "low", "close"]
        assert off[0][1] == f"Must be a multiple of {tick}, the tick of {symbol}."


@pytest.mark.parametrize("symbol", INSTRUMENTS)
def test_only_crude_may_be_zero_or_negative(symbol: str) -> None:
    for price in ("0", "-1"):
        found = problems_of(symbol, prices(price))
        if symbol == "CL":
            assert found == []
        else:
            assert {message for _, message in found} == {f"Must be above 0: {symbol} has no other prices."}
    assert len(problems_of("ES", {"low": Decimal(0)})) == 1


@pytest.mark.parametrize("price", ["0", "-0.25", "-10000000"])
def test_a_symbol_that_is_not_known_trades_above_zero(price: str) -> None:
    assert found(**prices(price)) == [(field, "out_of_range") for field in ("open", "high", "low", "close")]


@pytest.mark.parametrize("symbol", INSTRUMENTS)
def test_a_price_that_no_market_ever_came_near_is_refused(symbol: str) -> None:
    instrument = INSTRUMENTS[symbol]
    assert problems_of(symbol, prices(str(instrument.max_price))) == []
    for sign in (1, -1) if instrument.can_be_negative else (1,):
        beyond = sign * (instrument.max_price + instrument.tick_size)
        assert {message for _, message in problems_of(symbol, prices(str(beyond)))} == {
            f"Must be at most {instrument.max_price} from 0: {symbol} was never that far."
        }


@pytest.mark.parametrize(
    ("after_end", "refused"),
    [(timedelta(0), False), (timedelta(seconds=-2), False), (timedelta(seconds=-2, microseconds=-1), True)],
)
def test_a_minute_must_be_over(after_end: timedelta, refused: bool) -> None:
    now = OPEN_TIME + timedelta(minutes=1) + after_end
    found = problems_of("ES", {}, now)
    assert [field for field, _ in found] == ["open_time"] * refused
    for _, message in found:
        assert "is over at 2025-10-14T14:01:00Z, 2 s in the future" in message
        assert "open_time is the start of the minute" in message
        assert "NinjaTrader" in message


@pytest.mark.parametrize("offset", [timedelta(hours=-12), timedelta(0), timedelta(hours=14)])
def test_the_last_and_the_first_minutes_of_time_are_refused_in_every_zone(offset: timedelta) -> None:
    for year in (1, 1998, 9999):
        edge = datetime(year, 12, 31, 23, 59, tzinfo=timezone(offset))
        assert [field for field, _ in problems_of("ES", {"open_time": edge}, OPEN_TIME)] == ["open_time"]


def test_a_bar_closes_a_minute_after_it_opens_in_utc() -> None:
    new_york = timezone(timedelta(hours=-4))
    closed = msgspec.structs.replace(GOOD, open_time=OPEN_TIME.astimezone(new_york)).close_time
    assert (closed, closed.tzinfo) == (OPEN_TIME + timedelta(minutes=1), UTC)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("E", True),
        ("ES", True),
        ("E2", True),
        ("E" * 12, True),
        ("E" * 13, False),
        ("", False),
        ("2E", False),
        ("es", False),
        ("E-S", False),
        ("ES\n", False),
    ],
)
def test_what_is_a_symbol(text: str, expected: bool) -> None:
    assert is_symbol(text) is expected
