"""Judges a move between regions: what was lost in the end, what its replica lacked, how long bots waited."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise

import psycopg

from loadtests.failover.bots import RunningBot, moment
from loadtests.failover.publisher import Published, Publisher


@dataclass(frozen=True)
class Verdict:
    """The figures of one move; times in seconds.

    `lost_*`, `repeated_signals` and `reused_sequences` must be 0. `behind_*` was acknowledged, but the
    replica did not have it when it was promoted; publisher and bots have sent it again. `rpo_s` is how far
    that reaches back. `*_pause_s` is the longest time around the move without an acknowledged trade,
    without an acknowledged publication, and for any bot without a signal.
    """

    mode: str
    signals: int
    trades: int
    lost_signals: int
    repeated_signals: int
    reused_sequences: int
    lost_trades: int
    refused: int
    behind_signals: int
    behind_trades: int
    rpo_s: float
    trades_pause_s: float
    signals_pause_s: float
    received_pause_s: float
    command_s: float

    @property
    def is_good(self) -> bool:
        kept = self.behind_signals + self.behind_trades == 0 or self.mode == "forced"
        wrong = self.lost_signals + self.repeated_signals + self.reused_sequences + self.lost_trades
        return kept and wrong + self.refused == 0

    def line(self) -> str:
        """One line for the terminal."""
        return ", ".join(f"{name} {value}" for name, value in asdict(self).items())


@dataclass(frozen=True)
class Stored:
    """What the new region's database holds in the end; trades with their `received_at`, by account."""

    sequences: set[int]
    trades: dict[tuple[str, str], float]


def stored(database_url: str) -> Stored:
    """Reads it as the administrator, whom row-level security does not bind."""
    with psycopg.connect(database_url) as connection:
        sequences = connection.execute("select sequence from signals").fetchall()
        trades = connection.execute("select account_id, trade_id, received_at from trades").fetchall()
    return Stored(
        {row[0] for row in sequences},
        {(account, trade): received.timestamp() for account, trade, received in trades},
    )


def judge(
    mode: str,
    publisher: Publisher,
    bots: Sequence[RunningBot],
    found: Stored,
    *,
    lost_at: float,
    promoted_at: float,
    command_s: float,
) -> Verdict:
    """`lost_at` is when the old region ended, `promoted_at` when its replica was promoted."""
    signals = publisher.signals
    wanted = {signal.event_at for signal in signals if signal.acknowledged is not None}
    missing = twice = lost_trades = 0
    behind: list[float] = []
    acknowledged = [(bot, trade, at) for bot in bots for trade, at in bot.acknowledged().items()]
    for bot in bots:
        received = Counter(bot.received())
        missing += len(wanted - received.keys())
        twice += sum(count - 1 for count in received.values())
    for bot, trade, at in acknowledged:
        arrived = found.trades.get((bot.account, trade))
        if arrived is None:
            lost_trades += 1
        elif at < lost_at and arrived > promoted_at:
            behind.append(at)
    gone = [s for s in signals if s.acknowledged and s.acknowledged < lost_at and not _is_kept(s, found)]
    behind_since = [*behind, *(s.acknowledged for s in gone if s.acknowledged)]
    return Verdict(
        mode=mode,
        signals=len(wanted),
        trades=len(acknowledged),
        lost_signals=missing,
        repeated_signals=twice,
        lost_trades=lost_trades,
        reused_sequences=_reused(bots),
        refused=len(publisher.refused),
        behind_signals=len(gone),
        behind_trades=len(behind),
        rpo_s=round(lost_at - min(behind_since), 2) if behind_since else 0.0,
        trades_pause_s=_pause([at for _, _, at in acknowledged], lost_at),
        signals_pause_s=_pause([s.acknowledged for s in signals if s.acknowledged], lost_at),
        received_pause_s=max(_pause(_received(bot), lost_at) for bot in bots),
        command_s=round(command_s, 1),
    )


def _reused(bots: Sequence[RunningBot]) -> int:
    """How many sequences stood for different signals."""
    seen = set[tuple[int, str]]().union(*(bot.sequences() for bot in bots))
    return len(seen) - len({sequence for sequence, _ in seen})


def _is_kept(signal: Published, found: Stored) -> bool:
    """Whether the signal's first sequence is in the replica."""
    return signal.sequences[0] in found.sequences


def _received(bot: RunningBot) -> list[float]:
    return [moment(event) for event in bot.events("received")]


def _pause(times: Sequence[float], instant: float) -> float:
    """The longest time between two neighbours, from a second before `instant` on; infinite without any."""
    around = sorted(at for at in times if at > instant - 1)
    return round(max((b - a for a, b in pairwise(around)), default=float("inf")), 1)
