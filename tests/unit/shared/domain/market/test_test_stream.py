"""The made-up signals of the test stream make sense in every minute."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from shared.domain.market.signal_checks import MarketConditions, check_content, check_moment
from shared.domain.market.test_stream import TEST_SYMBOL, made_up_signal, name_of, price_at
from shared.domain.problems import Problems

minutes = st.integers(27_000_000, 60_000_000).map(lambda minute: datetime.fromtimestamp(minute * 60, UTC))


@given(minutes)
def test_each_minute_has_one_signal_that_may_be_published(minute: datetime) -> None:
    signal = made_up_signal(minute)
    assert signal == made_up_signal(minute)
    market = MarketConditions(now=minute, instrument=None, is_open=True, opens_at=None, last=None)
    problems = Problems()
    check_content(signal, minute, market, problems)
    check_moment(signal, minute, market, problems)
    problems.refuse()
    assert signal.symbol == TEST_SYMBOL


@given(minutes)
def test_an_entry_is_followed_by_its_exit(minute: datetime) -> None:
    first, second = made_up_signal(minute), made_up_signal(minute + timedelta(minutes=1))
    assert {first.kind, second.kind} == {"entry", "exit"}
    if first.kind == "entry":
        assert first.side == second.side


@given(minutes)
def test_prices_move_little_and_stay_in_their_range(minute: datetime) -> None:
    price, later = price_at(minute), price_at(minute + timedelta(minutes=1))
    assert 4_950 <= price <= 5_050
    assert abs(price - later) <= 3
    assert price % 1 in (0, 0.25, 0.5, 0.75)


def test_both_sides_occur_and_names_differ() -> None:
    start = datetime(2026, 3, 2, tzinfo=UTC)
    day = [start + timedelta(minutes=n) for n in range(0, 1440)]
    assert {made_up_signal(minute).side for minute in day} == {"LONG", "SHORT"}
    assert len({name_of(minute) for minute in day}) == len(day)
