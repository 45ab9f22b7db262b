"""Encodes market states as rows of a model's input: one fixed set of columns per strategy.

A category gets one column per value (1 or 0), and so does the symbol; the side and a boolean are 1 or 0; a
number is itself. An optional number gets a second column, which is 1 if it is absent; then a fill replaces
it. No NaN and no scaling reaches a model: a scaler before trees would move values across split points.

The code is plain Python up to the last step, because most states are encoded alone, and for one row a call
of numpy costs more than it saves.
"""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from shared.domain.confidence.market_state import MarketState
from shared.domain.confidence.strategy import Strategy

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    type Rows = npt.NDArray[np.float32]

type _Columns = tuple[float, ...]


def column_names(strategy: Strategy) -> tuple[str, ...]:
    """The names of the columns that a StateEncoder produces, in order."""
    names = ["side:SHORT", *(f"symbol:{symbol}" for symbol in strategy.symbols)]
    for feature in strategy.modelled:
        if feature.type == "category":
            names += [f"{feature.name}:{category}" for category in feature.categories]
        else:
            names += [feature.name, f"{feature.name}:absent"] if feature.optional else [feature.name]
    return tuple(names)


class StateEncoder:
    """Encodes the states of one strategy."""

    def __init__(self, strategy: Strategy) -> None:
        self._symbols = dict(zip(strategy.symbols, _one_hot(len(strategy.symbols)), strict=True))
        # For each modelled feature: the columns of its categories, and whether it is optional.
        self._features = [
            (_one_hot(len(feature.categories)), feature.optional) for feature in strategy.modelled
        ]

    def encode(self, states: Sequence[MarketState], fills: Sequence[float]) -> "Rows":
        """Returns rows (len(states), columns), float32; `fills` holds one value per column."""
        import numpy as np

        return np.array([self._row(state, fills) for state in states], dtype=np.float32)

    def _row(self, state: MarketState, fills: Sequence[float]) -> list[float]:
        row = [float(state.side == "SHORT"), *self._symbols[state.symbol]]
        for value, (categories, optional) in zip(state.features, self._features, strict=True):
            if categories:
                row += (0.0,) * len(categories) if math.isnan(value) else categories[int(value)]
            elif optional:
                row += (fills[len(row)], 1.0) if math.isnan(value) else (value, 0.0)
            else:
                row.append(value)
        return row


def _one_hot(count: int) -> list[_Columns]:
    """For each of `count` values, `count` columns that are 0, except its own, which is 1."""
    return [tuple(float(column == value) for column in range(count)) for value in range(count)]
