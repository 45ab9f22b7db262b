"""Decides from bars whether a published entry signal won. Nobody can choose this label.

The trade that is judged is the signal's own: in at the signal's price at `event_at`, out at its target or its
stop, or else at the close HORIZON later. An exit that an account chose afterwards would make nearly every
signal a winner.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal

import msgspec

from shared.domain.market.signals import Side

# After this time a signal that touched neither its stop nor its target is judged by its price.
HORIZON = timedelta(minutes=30)
# Quiet minutes have no bar. A longer pause is a hole in the feed, or the end of a session.
MAX_PAUSE = timedelta(minutes=5)


class OutcomeBar(msgspec.Struct, frozen=True, array_like=True):
    """One minute after a signal: its start, its highest and lowest price, and its last one."""

    open_time: datetime
    high: Decimal
    low: Decimal
    close: Decimal


class SignalToSettle(msgspec.Struct, frozen=True, kw_only=True):
    """An entry signal whose horizon has passed, with the bars from its time to the horizon, oldest first.

    `first_bars` are the same minutes as we first received them, if any of them was corrected.
    """

    symbol: str
    sequence: int
    side: Side
    price: Decimal
    stop_price: Decimal | None
    target_price: Decimal | None
    event_at: datetime
    bars: Sequence[OutcomeBar]
    first_bars: Sequence[OutcomeBar] | None = None


class SettledSignal(msgspec.Struct, frozen=True):
    """A signal and its result; `won` is None if nobody will ever know it."""

    symbol: str
    sequence: int
    won: bool | None


def outcome(signal: SignalToSettle) -> bool | None:
    """Whether the signal made money; None if nobody knows.

    A correction can make a result unknown, but never turn it. Otherwise a feeder could correct bars once it
    knows what has become of a signal.
    """
    won = has_won(signal)
    if signal.first_bars is not None:
        first = msgspec.structs.replace(signal, bars=signal.first_bars, first_bars=None)
        if has_won(first) != won:
            return None
    return won


def has_won(signal: SignalToSettle) -> bool | None:
    """Whether the signal made money by its `bars`; None if they do not tell.

    - The first touch decides: a bar that reaches the target wins, one that reaches the stop loses. If one bar
      reaches both, the order is unknown, and the signal loses.
    - Without a touch, the last close within the horizon decides. An equal price loses, because trading costs.
      Fees are not subtracted, because a signal knows nobody's. Prices are whole ticks, and one tick is worth
      5 USD or more in every instrument that we know: more than a round trip usually costs.
    - A pause of more than MAX_PAUSE before the decision makes the result unknown, also if the price
      jumped across the stop or the target during the pause.
    - A stop on the winning side of the price counts as absent, and so does a target on the losing side.
    """
    direction = 1 if signal.side == "LONG" else -1
    target = _beyond(signal.target_price, signal.price, direction)
    stop = _beyond(signal.stop_price, signal.price, -direction)
    known_until, last_close = signal.event_at, None
    for bar in signal.bars:
        if bar.open_time - known_until > MAX_PAUSE:
            return None
        best, worst = (bar.high, bar.low) if direction == 1 else (bar.low, bar.high)
        if stop is not None and (worst - stop) * direction <= 0:
            return False
        if target is not None and (best - target) * direction >= 0:
            return True
        known_until, last_close = bar.open_time + timedelta(minutes=1), bar.close
    if last_close is None or signal.event_at + HORIZON - known_until > MAX_PAUSE:
        return None
    return (last_close - signal.price) * direction > 0


def _beyond(level: Decimal | None, price: Decimal, direction: int) -> Decimal | None:
    """`level` if it is beyond `price` in that direction (1 is up), else None."""
    return level if level is not None and (level - price) * direction > 0 else None
