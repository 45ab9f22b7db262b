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
    assert problems_of(entry_price=Decimal("-37.63"), symbol="CL") == ()


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
    assert problems_of(**change) == ()


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
