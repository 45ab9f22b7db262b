"""Makes up the signals of the test stream: one a minute on the symbol TEST, entries and their exits in turn.

The signal of a minute is a pure function of the minute, so that a timer which runs twice publishes it once.
The prices follow two sine waves; they are those of no market, and nothing is trained on them.
"""

import math
from datetime import datetime, timedelta
from decimal import Decimal

from shared.domain.market.signals import Side, SignalRequest

TEST_SYMBOL = "TEST"
STRATEGY = "test_stream"
# Bots replay the stream up to this age.
RETENTION = timedelta(days=1)

_TICK = Decimal("0.25")
_MIDDLE = 5_000.0
# Points and minutes of the two waves.
_WAVES = ((40.0, 240.0), (8.0, 37.0))
_STOP, _TARGET = Decimal(6), Decimal(9)


def price_at(minute: datetime) -> Decimal:
    """The made-up price at the start of a minute, on a tick of a quarter."""
    minutes = minute.timestamp() / 60
    price = _MIDDLE + sum(size * math.sin(2 * math.pi * minutes / length) for size, length in _WAVES)
    return Decimal(round(price / float(_TICK))) * _TICK


def made_up_signal(minute: datetime) -> SignalRequest:
    """The signal of the minute that begins at `minute`: an entry if the minute is even, else its exit."""
    is_exit = bool(int(minute.timestamp() // 60) % 2)
    entered = minute - timedelta(minutes=1) if is_exit else minute
    price = price_at(minute)
    # The side that the waves will reward, so that a bot on the stream sees wins, and some losses.
    side: Side = "LONG" if price_at(entered + timedelta(minutes=3)) >= price_at(entered) else "SHORT"
    if is_exit:
        return SignalRequest(symbol=TEST_SYMBOL, side=side, price=price, kind="exit", strategy=STRATEGY)
    sign = 1 if side == "LONG" else -1
    return SignalRequest(
        symbol=TEST_SYMBOL,
        side=side,
        price=price,
        strategy=STRATEGY,
        stop_price=price - sign * _STOP,
        target_price=price + sign * _TARGET,
    )


def name_of(minute: datetime) -> str:
    """The idempotency key of the signal of a minute."""
    return f"{minute:%Y%m%dT%H%M}"
