"""Whether a signal won follows from bars alone: the first touch, else the price at the horizon."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.market.outcomes import HORIZON, MAX_PAUSE, OutcomeBar, SignalToSettle, has_won
from shared.domain.market.signals import Side

AT = datetime(2026, 3, 2, 14, 30, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
MINUTES = HORIZON // MINUTE


def bar(minute: int, low: float, high: float, close: float | None = None) -> OutcomeBar:
    last = close if close is not None else (low + high) / 2
    return OutcomeBar(AT + minute * MINUTE, *(Decimal(str(price)) for price in (high, low, last)))


def quiet(until: int = MINUTES, *, since: int = 0, close: float = 100) -> list[OutcomeBar]:
    return [bar(minute, 99.5, 100.5, close) for minute in range(since, until)]


def signal(bars: Sequence[OutcomeBar], side: Side = "LONG", **changes: Any) -> SignalToSettle:
    values: dict[str, Any] = {"price": 100, "stop_price": 98, "target_price": 102} | changes
    decimals = {name: None if value is None else Decimal(str(value)) for name, value in values.items()}
    return SignalToSettle(symbol="ES", sequence=1, side=side, event_at=AT, bars=bars, **decimals)  # type: ignore[arg-type]  # all are prices


def mirrored(one: SignalToSettle) -> SignalToSettle:
    """The same course upside down, for the other side."""

    def flip(price: Decimal | None) -> Decimal | None:
        return None if price is None else 200 - price

    bars = [
        OutcomeBar(each.open_time, 200 - each.low, 200 - each.high, 200 - each.close) for each in one.bars
    ]
    return signal(
        bars,
        "SHORT",
        price=flip(one.price),
        stop_price=flip(one.stop_price),
        target_price=flip(one.target_price),
    )


CASES: dict[str, tuple[SignalToSettle, bool | None]] = {
    "target first": (signal([*quiet(5), bar(5, 100, 102), bar(6, 90, 95)]), True),
    "stop first": (signal([*quiet(5), bar(5, 98, 100), bar(6, 105, 110)]), False),
    "both in one bar": (signal([bar(0, 97, 103)]), False),
    "opens beyond the target": (signal([*quiet(3), bar(3, 104, 105)]), True),
    "opens beyond the stop": (signal([*quiet(3), bar(3, 90, 91)]), False),
    "neither, above": (signal(quiet(close=100.25)), True),
    "neither, below": (signal(quiet(close=99.75)), False),
    "neither, equal": (signal(quiet(close=100)), False),
    "no levels": (signal(quiet(close=100.25), stop_price=None, target_price=None), True),
    "touch after the horizon is not in the bars": (signal(quiet(close=99.75)), False),
    "no bars": (signal([]), None),
    "bars begin too late": (signal(quiet(since=6)), None),
    "bars begin late enough": (signal(quiet(since=5, close=101)), True),
    "a hole before the touch": (signal([*quiet(5), bar(11, 100, 103)]), None),
    "a hole after the touch": (signal([*quiet(5), bar(5, 100, 102)]), True),
    "quiet minutes": (signal([*quiet(5), bar(10, 100, 103)]), True),
    "bars end too early": (signal(quiet(24, close=101)), None),
    "bars end late enough": (signal(quiet(25, close=101)), True),
    "target on the losing side": (
        signal([bar(0, 99, 100), *quiet(since=1, close=99.9)], target_price=99.5),
        False,
    ),
    "stop on the winning side": (signal(quiet(close=100.2), stop_price=100.4), True),
}


@pytest.mark.parametrize("case", CASES)
def test_a_result_follows_from_the_bars(case: str) -> None:
    given_signal, won = CASES[case]
    assert has_won(given_signal) is won
    assert has_won(mirrored(given_signal)) is won or case == "neither, equal"


def test_an_equal_price_loses_for_both_sides() -> None:
    assert has_won(mirrored(signal(quiet(close=100)))) is False


@given(
    st.lists(
        st.tuples(st.integers(-40, 40), st.integers(0, 20), st.integers(0, 20)), min_size=30, max_size=30
    ),
    st.integers(1, 40),
    st.integers(1, 40),
)
def test_without_ties_one_side_wins_what_the_other_loses(
    course: list[tuple[int, int, int]], up: int, down: int
) -> None:
    bars = [
        bar(minute, 100 + close - below, 100 + close + above, 100 + close)
        for minute, (close, above, below) in enumerate(course)
    ]
    long = signal(bars, "LONG", target_price=100 + up, stop_price=100 - down)
    short = signal(bars, "SHORT", target_price=100 - down, stop_price=100 + up)
    assert not (has_won(long) and has_won(short))
    tied = any(each.high >= 100 + up and each.low <= 100 - down for each in bars)
    if not tied and bars[-1].close != 100:
        assert has_won(long) is not has_won(short)


def test_a_pause_is_measured_between_bars() -> None:
    pause = MAX_PAUSE // MINUTE
    assert has_won(signal([*quiet(10), *quiet(since=10 + pause, close=101)])) is True
    assert has_won(signal([*quiet(10), *quiet(since=11 + pause, close=101)])) is None
