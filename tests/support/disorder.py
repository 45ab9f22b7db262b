"""Sends one day of bars in random orders, cuts, repeats and corrections, and judges what was published."""

import random
from collections.abc import Iterator, Sequence
from decimal import Decimal
from itertools import pairwise

import msgspec

from shared.domain.market.bars import BAR_INTERVAL, Bar
from shared.domain.market.signals import Signal

TICK = Decimal("0.25")


def dense(bars: Sequence[Bar]) -> list[Bar]:
    """The bars without pauses: each begins when the one before it ends."""
    start = bars[0].open_time
    return [msgspec.structs.replace(bar, open_time=start + n * BAR_INTERVAL) for n, bar in enumerate(bars)]


def deliveries(day: Sequence[Bar], seed: int, most_bodies: int = 14) -> list[list[Bar]]:
    """The day in the random order of `seed`, cut into bodies, with repeats and corrections."""
    rng = random.Random(seed)
    bodies = _cut(_ordered(day, rng), rng, most_bodies)
    if rng.random() < 0.5:
        # Pieces of the day change places; each stays in order.
        rng.shuffle(bodies)
    for _ in range(rng.randrange(4)):
        bodies.insert(rng.randrange(len(bodies) + 1), list(rng.choice(bodies)))
    return [*_with_first_versions(bodies, rng)]


def _ordered(day: Sequence[Bar], rng: random.Random) -> list[Bar]:
    kind = rng.choice(("ordered", "shuffled", "jittered", "reconnected"))
    bars = list(day)
    if kind == "shuffled":
        rng.shuffle(bars)
    elif kind == "jittered":
        delay = rng.choice((1.5, 3, 10, 60))
        places = {bar.open_time: n + rng.uniform(0, delay) for n, bar in enumerate(bars)}
        bars.sort(key=lambda bar: places[bar.open_time])
    elif kind == "reconnected":
        for _ in range(rng.randrange(1, 6)):
            start, length = rng.randrange(len(bars)), rng.randrange(1, 40)
            missed = bars[start : start + length]
            del bars[start : start + length]
            at = min(len(bars), start + rng.randrange(1, 8))
            bars[at:at] = missed
    return bars


def _cut(bars: list[Bar], rng: random.Random, most: int) -> list[list[Bar]]:
    edges = sorted({0, len(bars), *(rng.randrange(len(bars)) for _ in range(rng.randrange(1, most)))})
    return [bars[first:last] for first, last in pairwise(edges)]


def _with_first_versions(bodies: list[list[Bar]], rng: random.Random) -> Iterator[list[Bar]]:
    """Some bars come with other content first; their true content comes in the same body or a later one."""
    owed: list[Bar] = []
    for body in bodies:
        sent = []
        for bar in body:
            if rng.random() < 0.02:
                sent.append(_other_version(bar, rng))
                if rng.random() < 0.3:
                    sent.append(bar)
                else:
                    owed.append(bar)
            else:
                sent.append(bar)
        yield sent
        if owed and rng.random() < 0.3:
            yield owed
            owed = []
    if owed:
        yield owed


def _other_version(bar: Bar, rng: random.Random) -> Bar:
    if rng.random() < 0.5:
        return msgspec.structs.replace(bar, volume=max(1, bar.volume // 2))
    moved = bar.close + rng.randrange(-40, 41) * TICK
    return msgspec.structs.replace(bar, close=moved, high=max(bar.high, moved), low=min(bar.low, moved))


def content(signal: Signal) -> tuple[object, ...]:
    """What a signal says, without its place in the sequence."""
    prices = (signal.price, signal.stop_price, signal.target_price)
    return signal.event_at, signal.side, *prices, tuple(sorted(signal.features.items()))
