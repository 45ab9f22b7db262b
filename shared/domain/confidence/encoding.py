"""Market states as rows of a model's input: one fixed set of columns per strategy.

Side and every category become one column per value (1 or 0), a boolean is 1 or 0, a number is itself,
and an optional one gets a second column that is 1 where it is absent; `fills` stand in for it there.
No NaN and no scaling reaches a model: a scaler before trees would move values across split points.

Plain Python up to the last step: most states are encoded alone, where a call of numpy costs more than
what it does.
"""

import math
from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING

from shared.domain.confidence.market_state import MarketState, Strategy, all_strategies

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    type Rows = npt.NDArray[np.float32]

type _Columns = tuple[float, ...]


def column_names(strategy: Strategy) -> tuple[str, ...]:
    """The names of the columns that `encode` makes, in order."""
    names = ["side:SHORT", *(f"symbol:{symbol}" for symbol in strategy.symbols)]
    for feature in strategy.modelled:
        if feature.type == "category":
            names += [f"{feature.name}:{category}" for category in feature.categories]
        else:
            names += [feature.name, f"{feature.name}:absent"] if feature.optional else [feature.name]
    return tuple(names)


def _one_hot(count: int) -> list[_Columns]:
    """The columns of each of `count` values: 1 in its own."""
    return [tuple(float(column == value) for column in range(count)) for value in range(count)]


@cache
def _layout(strategy: str) -> tuple[Mapping[str, _Columns], list[tuple[list[_Columns], bool]]]:
    """The columns of each symbol; of each modelled feature those of its categories, and if it is optional."""
    declared = all_strategies()[strategy]
    symbols = dict(zip(declared.symbols, _one_hot(len(declared.symbols)), strict=True))
    return symbols, [(_one_hot(len(feature.categories)), feature.optional) for feature in declared.modelled]


def _row(state: MarketState, fills: Sequence[float]) -> list[float]:
    symbols, features = _layout(state.strategy)
    row = [float(state.side == "SHORT"), *symbols[state.symbol]]
    for value, (categories, optional) in zip(state.features, features, strict=True):
        if categories:
            row += (0.0,) * len(categories) if math.isnan(value) else categories[int(value)]
        elif optional:
            row += (fills[len(row)], 1.0) if math.isnan(value) else (value, 0.0)
        else:
            row.append(value)
    return row


def encode(states: Sequence[MarketState], fills: Sequence[float]) -> "Rows":
    """Rows (len(states), columns), float32, of states of one strategy; `fills` holds one per column."""
    import numpy as np

    return np.array([_row(state, fills) for state in states], dtype=np.float32)
