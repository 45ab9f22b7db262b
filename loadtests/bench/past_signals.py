"""Publishes the past signals that a model is trained on, with the bars that decide whether each won."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from shared.adapters.postgres import Stores
from shared.domain.market.bars import MAX_BARS_PER_REQUEST, Bar
from shared.domain.market.signals import SignalDraft
from shared.domain.trading.trades import Trade

# Between a signal's price and its target, and its stop.
REACH = Decimal(4)


async def publish_past(stores: Stores, trades: Sequence[Trade]) -> None:
    """Publishes the signal that each of `trades` followed, and its next minute, which wins or loses it."""
    bars: dict[str, list[Bar]] = defaultdict(list)
    for trade in trades:
        await stores.signals.publish(_draft(trade))
        bars[trade.symbol].append(_result(trade))
    for symbol, results in bars.items():
        for first in range(0, len(results), MAX_BARS_PER_REQUEST):
            batch = results[first : first + MAX_BARS_PER_REQUEST]
            await stores.bars.insert(symbol, batch, "live", datetime.now(UTC))


def _draft(trade: Trade) -> SignalDraft:
    up = 1 if trade.side == "LONG" else -1
    return SignalDraft(
        symbol=trade.symbol,
        strategy=trade.strategy,
        strategy_version=1,
        side=trade.side,
        price=trade.entry_price,
        stop_price=trade.entry_price - up * REACH,
        target_price=trade.entry_price + up * REACH,
        event_at=trade.entry_at,
        expires_at=trade.entry_at + timedelta(minutes=5),
        received_at=trade.entry_at,
        features=trade.features or {},
    )


def _result(trade: Trade) -> Bar:
    price = trade.entry_price
    rises = (trade.side == "LONG") == (trade.pnl > 0)
    return Bar(
        open_time=trade.entry_at.replace(second=0) + timedelta(minutes=1),
        open=price,
        high=price + (REACH if rises else 0),
        low=price - (0 if rises else REACH),
        close=price + (REACH if rises else -REACH),
        volume=100,
    )
