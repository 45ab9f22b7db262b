"""Turns trades into arrays: the inputs of a model for each trade, and whether it won."""

from collections import Counter
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from shared.domain.confidence.encoding import StateEncoder, column_names
from shared.domain.confidence.market_state import MarketState, StateMaker
from shared.domain.confidence.models import Outcome
from shared.domain.confidence.strategy import Strategy
from shared.errors import ValidationFailed
from shared.training.folds import Fold, cap_accounts, session_day, walk_forward

Floats = npt.NDArray[np.float64]

MIN_OF_EACH_CLASS = 20


@dataclass(frozen=True)
class Dataset:
    """`n` usable trades in order of entry; `won` is 1 or 0, `days` the session day of each."""

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
        """Whether there are trades to test on, with enough winners and losers before each test period."""
        wins = [int(self.won[fold.train].sum()) for fold in self.folds]
        rarer = [min(won, len(fold.train) - won) for won, fold in zip(wins, self.folds, strict=True)]
        return bool(rarer) and min(rarer) >= MIN_OF_EACH_CLASS

    def inputs(self, fills: Floats) -> Floats:
        """The inputs of all trades: rows (n, columns), rounded to single precision as in serving."""
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
    """Drops trades whose features do not (or no longer) fit the strategy, then caps each account's share."""
    rows: Counter[str] = Counter(given=len(outcomes))
    fitting = []
    maker = StateMaker(strategy)
    for outcome in sorted(outcomes, key=lambda one: (one.entry_at, one.exit_at)):
        try:
            state = maker.of_trade(outcome.symbol, outcome.side, outcome.features)
        except ValidationFailed:
            rows["unfitting"] += 1
        else:
            fitting.append((outcome, state))
    capped = cap_accounts([outcome for outcome, _ in fitting])
    rows["over_account_share"] = len(fitting) - len(capped)
    kept = {id(outcome) for outcome in capped}
    states = [state for outcome, state in fitting if id(outcome) in kept]
    folds = walk_forward(capped)
    if folds:
        rows["purged"] = sum(fold.test[0] - len(fold.train) for fold in folds)
    return Dataset(
        strategy=strategy,
        outcomes=capped,
        states=states,
        won=np.array([float(outcome.won) for outcome in capped]),
        days=np.array([session_day(outcome.entry_at) for outcome in capped], dtype=np.int64),
        folds=folds,
        rows=dict(rows),
    )
