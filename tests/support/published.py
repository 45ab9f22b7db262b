"""Publishes signals whose results bars decide, and makes the trades of bots that followed them."""

from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any

from loadtests.bench import past_signals
from shared.adapters.postgres import BarStore, Database, SignalStore
from shared.domain.confidence.models import Outcome
from shared.domain.market.signals import Signal
from shared.domain.trading.trades import Trade
from tests.support.samples import priced


async def publish(
    database: Database, outcomes: Sequence[Outcome], *, with_bars: bool = True, strategy: str = "vwap_bounce"
) -> list[Signal]:
    """Publishes one signal for each outcome; then the bars that give it that outcome arrive."""
    bars = BarStore(database) if with_bars else None
    return await past_signals.publish(SignalStore(database), bars, outcomes, strategy=strategy)


def trade_of(signal: Signal, trade_id: str, *, won: bool, **changes: Any) -> Trade:
    """The trade of a bot that followed the signal within a minute, and won or lost two points.

    `changes` of prices change its pnl too, unless they give it.
    """
    direction = 1 if signal.side == "LONG" else -1
    values: dict[str, Any] = {
        "symbol": signal.symbol,
        "side": signal.side,
        "strategy": signal.strategy,
        "entry_price": signal.price,
        "exit_price": signal.price + direction * (2 if won else -2),
        "entry_at": signal.event_at + timedelta(seconds=20),
        "exit_at": signal.event_at + timedelta(minutes=1),
        "signal_sequence": signal.sequence,
        "features": dict(signal.features),
    }
    return Trade(trade_id=trade_id, **(priced(values | changes) | changes))


def batches(trades: Iterable[Trade], size: int = 500) -> Iterable[list[Trade]]:
    batch: list[Trade] = []
    for trade in trades:
        batch.append(trade)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
