"""Whether the pnl that a bot reports agrees with the prices of its trade."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.market.instruments import INSTRUMENTS, Instrument
from shared.domain.market.signals import Side
from shared.domain.problems import Problems
from shared.domain.trading.pnl import check_pnl, pnl_of, tolerance_of

D = Decimal


@pytest.mark.parametrize(
    ("contract", "side", "entry", "exit_", "pnl"),
    [
        ("1 ES", "LONG", "6543.25", "6545.50", "112.5"),
        ("2 ES", "SHORT", "6543.25", "6545.50", "-225"),
        ("1 NQ", "LONG", "23000.25", "23000.50", "5"),
        ("3 YM", "SHORT", "46000", "45999", "15"),
        ("1 RTY", "LONG", "2100.1", "2100.0", "-5"),
        ("1 CL", "LONG", "0.5", "-37.63", "-38130"),
        ("0.5 CL", "SHORT", "-1.00", "-1.01", "5"),
    ],
)
def test_pnl_is_points_times_contracts_times_the_value_of_a_point(
    contract: str, side: Side, entry: str, exit_: str, pnl: str
) -> None:
    quantity, symbol = contract.split()
    assert pnl_of(INSTRUMENTS[symbol], side, D(quantity), D(entry), D(exit_)) == D(pnl)


@pytest.mark.parametrize(
    ("symbol", "tolerance"), [("ES", "1.26"), ("NQ", "0.51"), ("YM", "0.51"), ("RTY", "0.51"), ("CL", "1.01")]
)
def test_a_cent_and_a_tenth_of_a_tick_is_tolerated(symbol: str, tolerance: str) -> None:
    assert tolerance_of(INSTRUMENTS[symbol], D(1)) == D(tolerance)
    assert tolerance_of(INSTRUMENTS[symbol], D(3)) == 3 * (D(tolerance) - D("0.01")) + D("0.01")


def told(pnl: str, *, fees: str = "0", side: Side = "LONG", symbol: str = "ES") -> list[str]:
    problems = Problems()
    check_pnl(
        problems,
        INSTRUMENTS[symbol],
        side,
        quantity=D(1),
        entry_price=D("6543.25"),
        exit_price=D("6545.50"),
        pnl=D(pnl),
        fees=D(fees),
    )
    assert all((each.field, each.code) == ("pnl", "out_of_range") for each in problems)
    return [each.message for each in problems]


@pytest.mark.parametrize("pnl", ["112.50", "112.5", "113.76", "111.24"])
def test_a_pnl_within_rounding_is_accepted(pnl: str) -> None:
    assert told(pnl) == []


@pytest.mark.parametrize("pnl", ["113.76000001", "111.23999999", "-112.50", "0", "2.25", "1E+9", "-1E+9"])
def test_another_pnl_is_told_what_was_expected(pnl: str) -> None:
    (message,) = told(pnl)
    assert message.startswith(
        "Expected 112.5 USD within 1.26, by the prices, side and quantity at 50 USD a point of ES; got "
    )
    assert "E+" not in message
    assert "Send pnl before fees" in message
    assert "after fees" not in message


def test_a_pnl_after_fees_is_recognised() -> None:
    (message,) = told("108.00", fees="4.50")
    assert "got 108. It is the amount after fees. Send pnl before fees" in message
    (message,) = told("108.00", fees="20")
    assert "It is the amount after fees." not in message


def test_the_pnl_of_a_micro_contract_is_recognised() -> None:
    (message,) = told("11.25")
    assert "got 11.25. It is the pnl of a micro contract, which is a quantity of 0.1. Send pnl" in message


@given(
    st.decimals(min_value=-(10**9), max_value=10**9, places=8),
    st.decimals(min_value=-(10**9), max_value=10**9, places=8),
    st.decimals(min_value=D("1e-8"), max_value=10**9, places=8),
)
def test_no_storable_number_is_too_large_for_the_check(
    price: Decimal, pnl: Decimal, quantity: Decimal
) -> None:
    for symbol in INSTRUMENTS:
        problems = Problems()
        check_pnl(
            problems,
            INSTRUMENTS[symbol],
            "SHORT",
            quantity=quantity,
            entry_price=price,
            exit_price=-price,
            pnl=pnl,
            fees=D(0),
        )
        assert all(len(each.message) < 400 for each in problems)


def test_a_side_the_wrong_way_round_contradicts() -> None:
    assert told("112.50", side="SHORT")
    assert told("-112.50", side="SHORT") == []


prices = st.decimals(min_value=-100_000, max_value=100_000, places=6)
known = st.sampled_from(sorted(INSTRUMENTS)).map(INSTRUMENTS.__getitem__)


@given(known, st.sampled_from(["LONG", "SHORT"]), st.integers(1, 500), st.tuples(prices, prices), st.data())
def test_every_pnl_within_rounding_passes_and_none_further_away(
    instrument: Instrument, side: Side, contracts: int, traded: tuple[Decimal, Decimal], data: st.DataObject
) -> None:
    quantity, (entry, exit_) = D(contracts), traded
    sign = 1 if side == "LONG" else -1
    exact = sign * (exit_ - entry) * contracts * instrument.point_value
    allowed = D("0.01") + contracts * instrument.point_value * instrument.tick_size / 10
    off = data.draw(st.decimals(min_value=-3, max_value=3, places=4))
    problems = Problems()
    check_pnl(
        problems,
        instrument,
        side,
        quantity=quantity,
        entry_price=entry,
        exit_price=exit_,
        pnl=exact + off * allowed,
        fees=D(0),
    )
    assert len(problems) == (abs(off) > 1)


@given(known, st.integers(1, 50), st.lists(st.integers(0, 40), min_size=1, max_size=50))
def test_an_average_of_fills_with_four_decimals_passes(
    instrument: Instrument, first_tick: int, ticks: list[int]
) -> None:
    """A platform knows its pnl by the fills, and reports the average of their prices, rounded."""
    fills = [(first_tick + each) * instrument.tick_size for each in ticks]
    exit_price = 1_000 * instrument.tick_size
    average = round(sum(fills, D(0)) / len(fills), 4)
    pnl = sum(((exit_price - fill) * instrument.point_value for fill in fills), D(0))
    problems = Problems()
    check_pnl(
        problems,
        instrument,
        "LONG",
        quantity=D(len(fills)),
        entry_price=average,
        exit_price=exit_price,
        pnl=round(pnl, 2),
        fees=D(0),
    )
    assert not list(problems)
