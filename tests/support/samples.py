"""Trades, drafts, signals and bars: valid ones, of which a test says what matters to it."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from shared.domain.market.bars import Bar
from shared.domain.market.instruments import INSTRUMENTS
from shared.domain.market.signals import Signal, SignalDraft
from shared.domain.trading.pnl import pnl_of
from shared.domain.trading.trades import Trade

START = datetime(2025, 9, 2, 13, 30, tzinfo=UTC)


def priced(trade: dict[str, Any]) -> dict[str, Any]:
    """A trade's fields, in Python or in JSON, with the pnl that its prices give."""
    quantity, entry_price, exit_price = (
        Decimal(str(trade.get(name, 1))) for name in ("quantity", "entry_price", "exit_price")
    )
    instrument = INSTRUMENTS[trade["symbol"]]
    pnl = pnl_of(instrument, trade["side"], quantity, entry_price, exit_price)
    return trade | {"pnl": str(pnl) if isinstance(trade["entry_price"], str) else pnl}


def a_trade(trade_id: str = "t-1", **changes: Any) -> Trade:
    """A trade whose pnl follows from its prices, unless a test gives it."""
    exit_at: datetime = changes.pop("exit_at", START + timedelta(minutes=10))
    values: dict[str, Any] = {
        "symbol": "ES",
        "side": "LONG",
        "entry_price": Decimal("6487.25"),
        "exit_price": Decimal("6490.00"),
        "entry_at": exit_at - timedelta(minutes=10),
        "exit_at": exit_at,
        "fees": Decimal("4.04"),
        "quantity": Decimal("2"),
        "signal_sequence": 3,
        "confidence": 0.625,
        "model_version": "vwap_bounce-1",
        "features": {"vwap_distance": 2.1, "rsi": 35.0, "regime": "TREND", "reversal": True},
    }
    return Trade(trade_id=trade_id, **(priced(values | changes) | changes))


def a_draft(symbol: str = "ES", **changes: Any) -> SignalDraft:
    event_at: datetime = changes.pop("event_at", START)
    values: dict[str, Any] = {
        "strategy": "vwap_bounce",
        "strategy_version": 1,
        "side": "LONG",
        "price": Decimal("6487.25"),
        "stop_price": Decimal("6480.00"),
        "event_at": event_at,
        "expires_at": event_at + timedelta(minutes=5),
        "features": {"rsi": 28.5},
    }
    return SignalDraft(symbol=symbol, **(values | changes))


def a_signal(sequence: int, event_at: datetime) -> Signal:
    return Signal(
        id=UUID(int=sequence),
        symbol="ES",
        sequence=sequence,
        strategy="manual",
        strategy_version=1,
        kind="entry",
        side="LONG",
        price=Decimal("6543.25"),
        stop_price=None,
        target_price=None,
        event_at=event_at,
        expires_at=event_at + timedelta(minutes=5),
        features={},
        source="live",
    )


def a_bar(minute: int, close: str = "6487.25", **changes: Any) -> Bar:
    price = Decimal(close)
    values: dict[str, Any] = {
        "open": price,
        "high": price + Decimal("0.50"),
        "low": price - Decimal("0.25"),
        "close": price,
        "volume": 100 + minute,
    }
    return Bar(open_time=START + timedelta(minutes=minute), **(values | changes))
