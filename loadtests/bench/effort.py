"""Holds how long and how often each part of the bench measures."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Effort:
    """Seconds and repetitions of each part."""

    rounds: int = 5
    worker_s: float = 2.0
    hits_s: float = 4.0
    misses_s: float = 3.0
    curve_s: float = 3.0
    limiter_s: float = 6.0
    keyset_rows: int = 5_000_000
    write_repeats: int = 3
    fanout_s: float = 8.0
    # Name, users and seconds; a bot needs about half a minute for its hundred requests.
    scenarios: tuple[tuple[str, int, int], ...] = (
        ("bots", 100, 45),
        ("opening_bell", 1_000, 20),
        ("mixed", 200, 20),
    )


QUICK = Effort(
    rounds=1,
    worker_s=0.5,
    hits_s=2.0,
    misses_s=1.5,
    curve_s=1.0,
    keyset_rows=200_000,
    write_repeats=1,
    fanout_s=2.0,
    scenarios=(("bots", 20, 5), ("opening_bell", 100, 8), ("mixed", 20, 5)),
)
