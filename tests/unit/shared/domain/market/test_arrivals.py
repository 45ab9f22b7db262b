from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.market.arrivals import ArrivedBar, arranged
from shared.domain.market.bars import BAR_INTERVAL, Bar
from tests.support.market import bar

START = datetime(2025, 10, 14, 14, tzinfo=UTC)


def at(minute: int, close: float = 6500, volume: int = 100) -> Bar:
    return bar(START + minute * BAR_INTERVAL, close, volume=volume)


def test_each_minute_has_its_last_version_and_those_before_it() -> None:
    first, same, second, third = at(1), at(1), at(1, volume=101), at(1, 6501)
    assert arranged([at(0), first, same, second, third, at(2)]) == [
        ArrivedBar(at(0), late=False),
        ArrivedBar(third, late=False, replaced=(first, second)),
        ArrivedBar(at(2), late=False),
    ]


def test_a_version_that_comes_back_is_a_version_again() -> None:
    first, second = at(0), at(0, 6501)
    assert arranged([first, second, first]) == [ArrivedBar(first, late=False, replaced=(first, second))]


def test_content_is_compared_by_value() -> None:
    written = msgspec.structs.replace(at(0), close=Decimal("6500.000"))
    assert arranged([at(0), written]) == [ArrivedBar(at(0), late=False)]
    new_york = timezone(timedelta(hours=-4))
    elsewhere = msgspec.structs.replace(at(0), open_time=START.astimezone(new_york))
    assert arranged([at(0), elsewhere]) == [ArrivedBar(at(0), late=False)]


def test_a_correction_of_a_minute_is_not_late() -> None:
    arrived = arranged([at(0), at(1), at(0, 6501)])
    assert [one.late for one in arrived] == [False, False]


@given(st.lists(st.integers(0, 30), max_size=40))
def test_a_bar_is_late_if_a_later_minute_stands_before_its_first_version(minutes: list[int]) -> None:
    arrived = {(one.bar.open_time - START) // BAR_INTERVAL: one.late for one in arranged([*map(at, minutes)])}
    assert sorted(arrived) == [*arrived] == sorted(set(minutes))
    for minute, late in arrived.items():
        before = minutes[: minutes.index(minute)]
        assert late is any(other > minute for other in before)
