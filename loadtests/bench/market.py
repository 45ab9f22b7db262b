"""Makes the market states that the bench asks about, and the trades from which both sides learn.

A state is a number below STATES. It stands for symbol, side, vwap_distance and rsi on the grid to which the
strategy rounds, so that two different numbers never share a cached confidence.
"""

import math
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from shared.domain.market.instruments import INSTRUMENTS
from shared.domain.market.signals import Side
from shared.domain.trading.pnl import pnl_of
from shared.domain.trading.trades import Trade

PATH = "/api/ml/get_confidence"
SYMBOLS = ("ES", "NQ", "CL", "YM", "RTY")
SIDES: tuple[Side, Side] = ("LONG", "SHORT")
ENTRY_PRICE = Decimal(6500)
GAIN_POINTS = Decimal(2)
_DISTANCES = 101  # 0 to 10 by 0.1
_RSIS = 101  # 0 to 100 by 1
STATES = len(SYMBOLS) * len(SIDES) * _DISTANCES * _RSIS


def state(number: int) -> tuple[str, str, float, int]:
    """Returns symbol, side, vwap_distance and rsi of one state."""
    number, rsi = divmod(number, _RSIS)
    number, distance = divmod(number, _DISTANCES)
    side, symbol = divmod(number, len(SYMBOLS))
    return SYMBOLS[symbol], SIDES[side], distance / 10, rsi


def body(number: int) -> bytes:
    """Returns the request body for one state, as a bot sends it."""
    symbol, side, distance, rsi = state(number)
    return (
        f'{{"symbol": "{symbol}", "signal_type": "{side}", "vwap_distance": {distance}, "rsi": {rsi}}}'
    ).encode()


def request_head(path: str, port: int, key: str) -> bytes:
    """Returns everything of a request before the number of Content-Length."""
    return (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer {key}\r\n"
        "Accept: */*\r\nContent-Type: application/json\r\nContent-Length: "
    ).encode()


def shuffled_states(seed: int) -> list[int]:
    """Returns every state once, in random order."""
    numbers = list(range(STATES))
    random.Random(seed).shuffle(numbers)  # noqa: S311 - no secret
    return numbers


def trades(count: int, *, seed: int, before: datetime) -> Iterator[Trade]:
    """Yields `count` finished trades; the odds of a win depend on vwap_distance and rsi."""
    chance = random.Random(seed)  # noqa: S311 - a seeded stand-in for a market
    start = before.astimezone(UTC).replace(microsecond=0) - timedelta(minutes=20 * (count + 2))
    for number in range(count):
        distance, rsi = round(chance.uniform(0, 10), 1), chance.randrange(101)
        lean = (distance - 5) / 2 - (rsi - 50) / 30
        won = chance.random() < 1 / (1 + math.exp(-0.3 - lean))
        entry_at = start + timedelta(minutes=20 * number)
        symbol, side = chance.choice(SYMBOLS), SIDES[0] if chance.random() < 0.5 else SIDES[1]
        exit_price = ENTRY_PRICE + (GAIN_POINTS if won == (side == "LONG") else -GAIN_POINTS)
        yield Trade(
            trade_id=f"load-{seed}-{number}",
            symbol=symbol,
            side=side,
            entry_price=ENTRY_PRICE,
            exit_price=exit_price,
            entry_at=entry_at,
            exit_at=entry_at + timedelta(minutes=chance.randrange(1, 15)),
            pnl=pnl_of(INSTRUMENTS[symbol], side, Decimal(1), ENTRY_PRICE, exit_price),
            features={"vwap_distance": distance, "rsi": float(rsi)},
        )
