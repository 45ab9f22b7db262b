"""Outcomes for training tests: real ones from outside the repository, and made ones with a known truth."""

import json
import os
import random
from datetime import UTC, datetime, timedelta
from math import exp
from pathlib import Path

from shared.domain.confidence.models import Outcome
from tests.support.places import ROOT
from tests.support.strategies import STRATEGIES

START = datetime(2025, 6, 2, 14, tzinfo=UTC)
REAL_FILE = (
    Path(os.environ.get("SIGNAL_DATA", ROOT.parent / "shared" / "data"))
    / "es_trade_outcomes_2025-09_to_2025-10-17.jsonl"
)


def real_outcomes() -> list[Outcome]:
    """The outcomes of a real bot. The file has no side and no exit: a reversal trades against the flush,
    and ten minutes stand for its holding time."""
    names = [feature.name for feature in STRATEGIES["capitulation_reversal"].features]
    outcomes = []
    for line in REAL_FILE.read_text("utf-8").splitlines():
        row = json.loads(line)
        entry_at = datetime.fromisoformat(row["timestamp"])
        outcomes.append(
            Outcome(
                symbol=row["symbol"],
                side="LONG" if row["flush_direction"] == "DOWN" else "SHORT",
                entry_at=entry_at,
                exit_at=entry_at + timedelta(minutes=10),
                features={name: row[name] for name in names},
                won=row["pnl"] > 0,
            )
        )
    return outcomes


def made_outcomes(
    n: int, *, seed: int, signal: float, curved: bool = False, start: datetime = START
) -> list[Outcome]:
    """`n` decided signals of vwap_bounce, 20 a day. `signal` scales what the features say of the outcome: 0
    is noise; `curved` makes the truth a product of two features, which no line through them can follow."""
    chance = random.Random(seed)
    outcomes = []
    for index in range(n):
        distance, rsi = chance.uniform(0.5, 4.0), chance.uniform(5, 95)
        features: dict[str, float | str | bool] = {"vwap_distance": distance, "rsi": rsi}
        if chance.random() < 0.7:
            features["atr"] = chance.uniform(0.5, 20)
        if chance.random() < 0.7:
            features["hour"] = float(chance.randrange(24))
        lean = (distance - 2.25) * (rsi - 50) / 15 if curved else (distance - 2.25) - (rsi - 50) / 30
        entry_at = start + timedelta(days=index // 20, minutes=18 * (index % 20))
        outcomes.append(
            Outcome(
                symbol=chance.choice(["ES", "NQ", "CL"]),
                side=chance.choice(["LONG", "SHORT"]),
                entry_at=entry_at,
                exit_at=entry_at + timedelta(minutes=chance.randrange(1, 60)),
                features=features,
                won=chance.random() < 1 / (1 + exp(-0.3 - signal * lean)),
            )
        )
    return outcomes
