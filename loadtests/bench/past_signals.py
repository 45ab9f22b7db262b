"""Makes past signals, and the bars that decide whether each has won, for training to learn from."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal

from shared.adapters.postgres import BarStore, SignalStore
from shared.domain.confidence.models import Outcome
from shared.domain.market.bars import Bar
from shared.domain.market.signals import Signal, SignalDraft
from shared.domain.trading.trades import Trade

PRICE = Decimal(6500)
# Between a signal's price and its target, and its stop.
REACH = Decimal(4)
_BARS_AT_ONCE = 1_000


class AlwaysOpen:
    """Trading hours for made outcomes, which have weekends among their days."""

    def is_open(self, symbol: str, instant: datetime) -> bool:
        return True


def outcome_of(trade: Trade) -> Outcome:
    """The outcome of the signal that `trade` followed."""
    return Outcome(
        symbol=trade.symbol,
        side=trade.side,
        entry_at=trade.entry_at,
        exit_at=trade.exit_at,
        features=trade.features or {},
        won=trade.net_pnl > 0,
    )


def draft_of(outcome: Outcome, strategy: str = "vwap_bounce") -> SignalDraft:
    direction = 1 if outcome.side == "LONG" else -1
    return SignalDraft(
        symbol=outcome.symbol,
        strategy=strategy,
        strategy_version=1,
        side=outcome.side,
        price=PRICE,
        stop_price=PRICE - direction * REACH,
        target_price=PRICE + direction * REACH,
        event_at=outcome.entry_at,
        expires_at=outcome.entry_at + timedelta(minutes=5),
        received_at=outcome.entry_at,
        features=outcome.features,
    )


def result_bar(outcome: Outcome) -> Bar:
    """The first minute after the signal, which reaches the target of a winner or the stop of a loser."""
    up = (outcome.side == "LONG") == outcome.won
    minute = outcome.entry_at.replace(second=0, microsecond=0)
    return Bar(
        open_time=minute if minute == outcome.entry_at else minute + timedelta(minutes=1),
        open=PRICE,
        high=PRICE + (REACH if up else 0),
        low=PRICE - (0 if up else REACH),
        close=PRICE + (REACH if up else -REACH),
        volume=100,
    )


async def publish(
    signals: SignalStore,
    bars: BarStore | None,
    outcomes: Sequence[Outcome],
    *,
    strategy: str = "vwap_bounce",
) -> list[Signal]:
    """Publishes one signal for each outcome; then the bars that give it that outcome arrive, if any do."""
    published, results = [], defaultdict[str, list[Bar]](list)
    for outcome in outcomes:
        signal, _ = await signals.publish(draft_of(outcome, strategy))
        published.append(signal)
        results[outcome.symbol].append(result_bar(outcome))
    if bars is not None:
        for symbol, of_symbol in results.items():
            for first in range(0, len(of_symbol), _BARS_AT_ONCE):
                batch = of_symbol[first : first + _BARS_AT_ONCE]
                await bars.insert(symbol, batch, "live", batch[-1].close_time)
    return published
