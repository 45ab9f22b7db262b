"""What may be recorded as a trade."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from shared.domain.limits import MAX_REPORT_AGE
from shared.domain.problems import Problems
from shared.domain.trading.trades import Trade, check_trade
from shared.errors import FieldError

NOW = datetime(2025, 10, 13, 14, tzinfo=UTC)
GOOD = Trade(
    trade_id="t-1",
    symbol="ES",
    side="LONG",
    entry_price=Decimal("6543.25"),
    exit_price=Decimal("6545.50"),
    entry_at=NOW - timedelta(minutes=20),
    exit_at=NOW - timedelta(minutes=5),
    pnl=Decimal("112.50"),
)


def problems_of(*, max_age: timedelta | None = MAX_REPORT_AGE, **change: Any) -> tuple[FieldError, ...]:
    problems = Problems()
    check_trade(msgspec.structs.replace(GOOD, **change), NOW, problems.within("trades[1]."), max_age=max_age)
    return problems.refusal().errors


def test_a_good_trade_has_no_problem() -> None:
    assert problems_of() == ()


def test_a_negative_price_is_a_price() -> None:
    changed: dict[str, Any] = {
        "entry_price": Decimal("-37.63"),
        "exit_price": Decimal("-37.13"),
        "pnl": Decimal(500),
    }
    assert problems_of(symbol="CL", **changed) == ()


def test_a_price_off_the_tick_is_an_average_of_fills() -> None:
    assert (
        problems_of(
            entry_price=Decimal("6543.3333"),
            exit_price=Decimal("6545.58333"),
            quantity=Decimal(3),
            pnl=Decimal("337.50"),
        )
        == ()
    )


@pytest.mark.parametrize("pnl", ["108.00", "-112.50", "225", "0"])
def test_a_pnl_that_contradicts_the_prices_is_refused(pnl: str) -> None:
    (found,) = problems_of(pnl=Decimal(pnl), fees=Decimal("4.50"))
    assert (found.field, found.code) == ("trades[1].pnl", "out_of_range")
    assert "Expected 112.5 USD" in found.message
    assert ("It is the amount after fees" in found.message) == (pnl == "108.00")


def test_an_import_obeys_the_same_check() -> None:
    assert [each.field for each in problems_of(pnl=Decimal(1), max_age=None)] == ["trades[1].pnl"]


def test_nothing_is_known_of_the_pnl_of_another_symbol() -> None:
    assert problems_of(symbol="FDAX", pnl=Decimal("281.25")) == ()


@pytest.mark.parametrize("fees", ["-0.01", "-4.50", "-1000000000"])
def test_fees_are_costs_and_not_negative(fees: str) -> None:
    """Some brokers show a commission as a negative amount, which would make losers win."""
    (found,) = problems_of(fees=Decimal(fees))
    assert (found.field, found.code) == ("trades[1].fees", "out_of_range")
    assert "0 or more" in found.message


def test_net_pnl_is_what_fees_leave() -> None:
    assert GOOD.net_pnl == Decimal("112.50")
    assert msgspec.structs.replace(GOOD, pnl=Decimal("2.00"), fees=Decimal("4.50")).net_pnl == Decimal(
        "-2.50"
    )


@pytest.mark.parametrize(
    "change",
    [
        {"fees": Decimal("0.12345678")},
        {"pnl": Decimal("-1e9")},
        {"pnl": Decimal("1e9")},
        {"fees": Decimal("0e9")},
        {"quantity": Decimal("1e-8")},
        {"exit_at": NOW + timedelta(minutes=5)},
        {"exit_at": GOOD.entry_at},
        {"entry_at": NOW - timedelta(days=90)},
        {"entry_at": NOW - timedelta(days=90), "exit_at": NOW - timedelta(days=90)},
        {"features": {f"f{i}": 1.0 for i in range(32)}},
    ],
)
def test_the_ends_of_every_range_are_accepted(change: dict[str, Any]) -> None:
    # Nobody knows what a point of this symbol is worth, so any pnl may be right.
    assert problems_of(**({"symbol": "FDAX"} | change)) == ()


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"pnl": Decimal("NaN")}, "pnl"),
        ({"exit_price": Decimal("Infinity")}, "exit_price"),
        ({"entry_price": Decimal("1e10")}, "entry_price"),
        ({"pnl": Decimal("1e1000000")}, "pnl"),
        ({"fees": Decimal("-1e1000000")}, "fees"),
        ({"fees": Decimal("0e1000000000000")}, "fees"),
        ({"fees": Decimal("0.123456789")}, "fees"),
        ({"quantity": Decimal(0)}, "quantity"),
        ({"entry_at": NOW.replace(tzinfo=None)}, "entry_at"),
        ({"exit_at": NOW + timedelta(hours=1)}, "exit_at"),
        ({"exit_at": GOOD.entry_at - timedelta(seconds=1)}, "exit_at"),
        ({"entry_at": NOW - timedelta(days=90, microseconds=1)}, "entry_at"),
        ({"entry_at": datetime(1999, 1, 1, tzinfo=UTC), "max_age": None}, "entry_at"),
        ({"features": {f"f{i}": 1.0 for i in range(33)}}, "features"),
        ({"pnl": Decimal("1000000000.00000001")}, "pnl"),
        ({"pnl": Decimal("-1000000000.00000001")}, "pnl"),
        ({"fees": Decimal("0e10")}, "fees"),
        ({"quantity": Decimal(-1)}, "quantity"),
        ({"quantity": Decimal("NaN")}, "quantity"),
        ({"exit_at": NOW + timedelta(minutes=5, microseconds=1)}, "exit_at"),
        ({"exit_at": NOW.replace(tzinfo=None)}, "exit_at"),
    ],
)
def test_each_bad_field_is_named(change: dict[str, Any], field: str) -> None:
    found = problems_of(**change)
    assert [error.field for error in found] == [f"trades[1].{field}"]


def test_old_trades_say_how_to_import_them() -> None:
    old = NOW - timedelta(days=91)
    found = problems_of(entry_at=old, exit_at=old)
    assert [error.field for error in found] == ["trades[1].entry_at", "trades[1].exit_at"]
    assert {error.code for error in found} == {"out_of_range"}
    assert "the last 90 days" in found[0].message
    assert "operations.import_trades" in found[0].message


def test_an_import_has_no_maximum_age() -> None:
    assert problems_of(entry_at=datetime(2000, 1, 1, tzinfo=UTC), max_age=None) == ()


def test_each_reason_has_its_code() -> None:
    found = problems_of(entry_at=NOW.replace(tzinfo=None), quantity=Decimal(0), pnl=Decimal("NaN"))
    assert {(error.field.removeprefix("trades[1]."), error.code) for error in found} == {
        ("pnl", "out_of_range"),
        ("quantity", "out_of_range"),
        ("entry_at", "invalid_format"),
    }


@pytest.mark.parametrize(
    ("symbol", "price", "refused"),
    [
        ("ES", "0", True),
        ("ES", "-6500", True),
        ("ES", "100000.01", True),
        ("ES", "100000", False),
        ("CL", "0", False),
        ("CL", "-1000", False),
        ("CL", "-1000.01", True),
        ("XYZ", "-5", False),
    ],
)
def test_a_price_that_the_symbol_cannot_have_is_refused(symbol: str, price: str, refused: bool) -> None:
    at = Decimal(price)
    problems = problems_of(symbol=symbol, entry_price=at, exit_price=at, pnl=Decimal(0))
    assert {problem.field for problem in problems} == (
        {"trades[1].entry_price", "trades[1].exit_price"} if refused else set()
    )
