"""Publishes signals whose results bars decide, and makes the trades of bots that followed them."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any

from shared.adapters.postgres import BarStore, Database, SignalStore
from shared.domain.confidence.models import Outcome
from shared.domain.market.bars import Bar
from shared.domain.market.signals import Signal, SignalDraft
from shared.domain.trading.trades import Trade

PRICE = Decimal(6500)
MOVE = Decimal(4)


def result_bar(outcome: Outcome) -> Bar:
    """The minute after the signal, which reaches the target of a winner or the stop of a loser."""
    up = (outcome.side == "LONG") == outcome.won
    return Bar(
        open_time=outcome.entry_at,
        open=PRICE,
        high=PRICE + (MOVE if up else 0),
        low=PRICE - (0 if up else MOVE),
        close=PRICE + (MOVE if up else -MOVE),
        volume=100,
    )


def draft_of(outcome: Outcome, strategy: str = "vwap_bounce") -> SignalDraft:
    direction = 1 if outcome.side == "LONG" else -1
    return SignalDraft(
        symbol=outcome.symbol,
        strategy=strategy,
        strategy_version=1,
        side=outcome.side,
        price=PRICE,
        stop_price=PRICE - direction * MOVE,
        target_price=PRICE + direction * MOVE,
        event_at=outcome.entry_at,
        expires_at=outcome.entry_at + timedelta(minutes=5),
        received_at=outcome.entry_at,
        features=outcome.features,
    )


async def publish(
    database: Database, outcomes: Sequence[Outcome], *, with_bars: bool = True, strategy: str = "vwap_bounce"
) -> list[Signal]:
    """Publishes one signal for each outcome; then the bars that give it that outcome arrive."""
    store, bars = SignalStore(database), defaultdict(list)
    signals = []
    for outcome in outcomes:
        signal, _ = await store.publish(draft_of(outcome, strategy))
        signals.append(signal)
        bars[outcome.symbol].append(result_bar(outcome))
    if with_bars:
        for symbol, of_symbol in bars.items():
            for start in range(0, len(of_symbol), 1_000):
                batch = of_symbol[start : start + 1_000]
                await BarStore(database).insert(symbol, batch, "live", batch[-1].close_time)
    return signals


def trade_of(signal: Signal, trade_id: str, *, won: bool, **changes: Any) -> Trade:
    """The trade of a bot that followed the signal within a minute, and won or lost two points."""
    direction = 1 if signal.side == "LONG" else -1
    values: dict[str, Any] = {
        "symbol": signal.symbol,
        "side": signal.side,
        "strategy": signal.strategy,
        "entry_price": signal.price,
        "exit_price": signal.price + direction * (2 if won else -2),
        "entry_at": signal.event_at + timedelta(seconds=20),
        "exit_at": signal.event_at + timedelta(minutes=1),
        "pnl": Decimal(100 if won else -100),
        "signal_sequence": signal.sequence,
        "features": dict(signal.features),
    }
    return Trade(trade_id=trade_id, **(values | changes))


def batches(trades: Iterable[Trade], size: int = 500) -> Iterable[list[Trade]]:
    batch: list[Trade] = []
    for trade in trades:
        batch.append(trade)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
