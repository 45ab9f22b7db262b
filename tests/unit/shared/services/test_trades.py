"""What may be recorded as a trade."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from shared.domain.access.licenses import ApiKey, Grant, License
from shared.domain.trading.trades import MAX_TRADE_ERRORS, Trade, check_trades
from shared.errors import ValidationFailed
from shared.services.trades import TradeService

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


def test_a_good_trade_has_no_problem() -> None:
    assert check_trades([GOOD], NOW) == ()


def test_a_negative_price_is_a_price() -> None:
    crude = msgspec.structs.replace(GOOD, entry_price=Decimal("-37.63"), symbol="CL")
    assert check_trades([crude], NOW) == ()


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
        ({"entry_at": datetime(1999, 1, 1, tzinfo=UTC)}, "entry_at"),
        ({"features": {f"f{i}": 1.0 for i in range(33)}}, "features"),
    ],
)
def test_each_bad_field_is_named(change: dict[str, Any], field: str) -> None:
    found = check_trades([GOOD, msgspec.structs.replace(GOOD, **change)], NOW)
    assert [error.field for error in found] == [f"trades[1].{field}"]


def test_the_number_of_errors_is_bounded() -> None:
    bad = msgspec.structs.replace(GOOD, quantity=Decimal(0))
    assert len(check_trades([bad] * 500, NOW)) == MAX_TRADE_ERRORS


async def test_a_report_full_of_strange_features_is_refused_with_bounded_errors() -> None:
    class NeverReached:
        def __getattr__(self, name: str) -> Any:
            raise AssertionError("nothing of this report may be recorded")

    strange = msgspec.structs.replace(GOOD, features={f"f{n}": 1.0 for n in range(30)})
    license_ = License(license_id="lic_0", account_id="a", symbols=("ES",), created_at=NOW)
    key = ApiKey(public_id="k", key_hash="h", license_id="lic_0", scopes=("bot",), created_at=NOW)
    service = TradeService(store=NeverReached(), now=lambda: NOW)
    with pytest.raises(ValidationFailed) as refused:
        await service.report(Grant(license=license_, key=key), [strange] * 500)
    assert len(refused.value.errors) == MAX_TRADE_ERRORS
