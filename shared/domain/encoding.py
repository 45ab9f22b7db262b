"""Market states as rows of a model's input: one fixed set of columns per strategy.

Side and every category become one column per value (1 or 0), a boolean is 1 or 0, a number is itself,
and an optional one gets a second column that is 1 where it is absent; `fills` stand in for it there.
No NaN and no scaling reaches a model: a scaler before trees would move values across split points.
"""

import math
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING

from shared.domain.strategies import MarketState, Strategy, all_strategies

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    type Rows = npt.NDArray[np.float32]

_SIDES = ("LONG", "SHORT")


def _columns(strategy: Strategy) -> list[tuple[str, int, float]]:
    """(name, index into (side, symbol, *features), code that the column stands for or NaN for the value)."""
    columns = [("side:SHORT", 0, 1.0)]
    columns += [(f"symbol:{symbol}", 1, float(code)) for code, symbol in enumerate(strategy.symbols)]
    for source, feature in enumerate(strategy.modelled, start=2):
        if feature.type == "category":
            columns += [
                (f"{feature.name}:{category}", source, float(code))
                for code, category in enumerate(feature.categories)
            ]
            continue
        columns.append((feature.name, source, math.nan))
        if feature.optional:
            columns.append((f"{feature.name}:absent", source, math.inf))
    return columns


@cache
def _layout(strategy: str) -> "tuple[npt.NDArray[np.intp], npt.NDArray[np.float64], npt.NDArray[np.bool_]]":
    import numpy as np

    columns = _columns(all_strategies()[strategy])
    codes = np.array([code for _, _, code in columns])
    return np.array([source for _, source, _ in columns]), codes, np.isnan(codes)


def column_names(strategy: Strategy) -> tuple[str, ...]:
    """The names of the columns that `encode` makes, in order."""
    return tuple(name for name, _, _ in _columns(strategy))


def encode(states: Sequence[MarketState], fills: Sequence[float]) -> "Rows":
    """Rows (len(states), columns), float32, of states of one strategy; `fills` holds one per column."""
    import numpy as np

    strategy = all_strategies()[states[0].strategy]
    sources, codes, is_value = _layout(strategy.name)
    raw = np.array(
        [
            (_SIDES.index(state.side), strategy.symbols.index(state.symbol), *state.features)
            for state in states
        ]
    )
    gathered = raw[:, sources]
    absent = np.isnan(gathered)
    rows = np.where(is_value, np.where(absent, np.asarray(fills), gathered), gathered == codes)
    return np.where(np.isinf(codes), absent, rows).astype(np.float32)
