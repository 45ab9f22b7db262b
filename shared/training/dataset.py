"""Turns outcomes into arrays: the inputs of a model for each of them, and whether it won."""

from collections import Counter
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from shared.domain.confidence.encoding import StateEncoder, column_names
from shared.domain.confidence.market_state import MarketState, StateMaker
from shared.domain.confidence.models import Outcome
from shared.domain.confidence.strategy import Strategy
from shared.errors import ValidationFailed
from shared.training.folds import Fold, session_day, walk_forward

Floats = npt.NDArray[np.float64]

MIN_OF_EACH_CLASS = 20


@dataclass(frozen=True)
class Dataset:
    """`n` usable outcomes in order of entry; `won` is 1 or 0, `days` the session day of each."""

    strategy: Strategy
    outcomes: list[Outcome]
    states: list[MarketState]
    won: Floats
    days: npt.NDArray[np.int64]
    folds: list[Fold]
    rows: dict[str, int]

    @property
    def n(self) -> int:
        return len(self.outcomes)

    @property
    def is_trainable(self) -> bool:
        """Whether there are outcomes to test on, with enough winners and losers before each test period."""
        wins = [int(self.won[fold.train].sum()) for fold in self.folds]
        rarer = [min(won, len(fold.train) - won) for won, fold in zip(wins, self.folds, strict=True)]
        return bool(rarer) and min(rarer) >= MIN_OF_EACH_CLASS

    def inputs(self, fills: Floats) -> Floats:
        """The inputs of all outcomes: rows (n, columns), rounded to single precision as in serving."""
        return self._encoded(self.states, fills).astype(np.float64)

    def fills(self, indices: list[int]) -> Floats:
        """For each column the median of the present values of `indices`, which replaces absent values."""
        columns = column_names(self.strategy)
        rows = self._encoded([self.states[index] for index in indices], np.full(len(columns), np.nan))
        fills = np.zeros(len(columns))
        for column in range(len(columns)):
            present = rows[:, column][~np.isnan(rows[:, column])]
            if len(present):
                fills[column] = np.median(present)
        return fills

    def _encoded(self, states: list[MarketState], fills: Floats) -> npt.NDArray[np.float32]:
        return StateEncoder(self.strategy).encode(states, [float(fill) for fill in fills])


def make_dataset(strategy: Strategy, outcomes: list[Outcome]) -> Dataset:
    """Drops outcomes whose features do not (or no longer) fit the strategy.

    No account can outweigh others, because an outcome is a signal: the query takes each once.
    """
    rows: Counter[str] = Counter(given=len(outcomes))
    kept, states = [], []
    maker = StateMaker(strategy)
    for outcome in sorted(outcomes, key=lambda one: (one.entry_at, one.exit_at)):
        try:
            state = maker.of_outcome(outcome.symbol, outcome.side, outcome.features)
        except ValidationFailed:
            rows["unfitting"] += 1
        else:
            kept.append(outcome)
            states.append(state)
    folds = walk_forward(kept)
    if folds:
        rows["purged"] = sum(fold.test[0] - len(fold.train) for fold in folds)
    return Dataset(
        strategy=strategy,
        outcomes=kept,
        states=states,
        won=np.array([float(outcome.won) for outcome in kept]),
        days=np.array([session_day(outcome.entry_at) for outcome in kept], dtype=np.int64),
        folds=folds,
        rows=dict(rows),
    )
