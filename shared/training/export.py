"""Exports models as ONNX, and proves that the export gives the same probabilities as scikit-learn."""

import warnings
from typing import Any

import numpy as np
import numpy.typing as npt
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType

from shared.adapters.inference import OnnxModel
from shared.domain.confidence.encoding import StateEncoder, column_names
from shared.domain.confidence.market_state import MarketState
from shared.domain.confidence.models import UnusableModel
from shared.domain.confidence.strategy import Strategy
from shared.training.candidates import winner_probability

Floats = npt.NDArray[np.float64]

TOLERANCE = 1e-5  # above the single precision of a probability; answers are rounded to 1e-4
_MAX_REASON = 200  # a failed conversion quotes the whole model
_OPSET = 18


class ExportRefused(Exception):
    """The exported model differs from the trained one, or the model cannot be exported."""


def export(model: Any, columns: int) -> bytes:
    """`model` as ONNX with inputs (n, columns), float32, and an output `probabilities` (n, 2)."""
    inputs = [("rows", FloatTensorType([None, columns]))]
    try:
        with warnings.catch_warnings():
            # The converter of trees passes booleans to protobuf as integers. Version 7 refuses them, and
            # version 6, to which training is pinned, warns about them.
            warnings.simplefilter("ignore", DeprecationWarning)
            converted = to_onnx(
                model, initial_types=inputs, options={id(model): {"zipmap": False}}, target_opset=_OPSET
            )
    # skl2onnx passes on every error of its converters; each means that there is no export.
    except Exception as error:
        raise ExportRefused(f"the conversion failed: {str(error)[:_MAX_REASON]}") from error
    artefact: bytes = converted.SerializeToString()
    return artefact


def extreme_states(strategy: Strategy) -> list[MarketState]:
    """States with features at the ends of their ranges, singly and together, and without optional ones."""
    ends = []
    for feature in strategy.modelled:
        if feature.range is not None:
            ends.append((feature.range[0], feature.range[1]))
        else:
            values = len(feature.categories) if feature.type == "category" else 2
            ends.append((0.0, float(values - 1)))
    rows = [tuple(low for low, _ in ends), tuple(high for _, high in ends)]
    middle = [(low + high) // 2 for low, high in ends]
    for index, (low, high) in enumerate(ends):
        rows += [(*middle[:index], end, *middle[index + 1 :]) for end in (low, high)]
    absent = [np.nan if feature.optional else 0.0 for feature in strategy.modelled]
    at_one = [min(1.0, high) if value == 0 else value for value, (_, high) in zip(absent, ends, strict=True)]
    rows += [tuple(absent), tuple(at_one)]
    return [
        MarketState(strategy.name, symbol, "SHORT" if index % 2 else "LONG", row, "")
        for symbol in strategy.symbols
        for index, row in enumerate(rows)
    ]


def _compare(model: Any, served: OnnxModel, rows: Floats, kind: str) -> float:
    expected = winner_probability(model, rows)
    try:
        answered = np.array(served.probabilities(rows.astype(np.float32)))
    except UnusableModel as error:
        raise ExportRefused(f"on {kind}: {error}") from error
    worst = float(np.abs(expected - answered).max())
    if not worst <= TOLERANCE:
        raise ExportRefused(f"on {kind} the export is off by {worst:.3g}")
    return worst


def _check_nan(model: Any, served: OnnxModel, rows: Floats) -> None:
    """Checks that the export answers NaN as scikit-learn does, or refuses it. Serving sends no NaN."""
    holes = np.repeat(rows[:1], rows.shape[1], axis=0)
    np.fill_diagonal(holes, np.nan)
    holes = np.vstack([holes, np.full((1, rows.shape[1]), np.nan)])
    try:
        winner_probability(model, holes)
    except ValueError:
        for hole in holes:
            try:
                served.probabilities(hole[None, :].astype(np.float32))
            except UnusableModel:
                continue
            raise ExportRefused("scikit-learn refuses NaN, but the export accepts it") from None
        return
    _compare(model, served, holes, "NaN")


def checked_export(model: Any, strategy: Strategy, rows: Floats, fills: Floats) -> tuple[bytes, float]:
    """Returns the artefact and its largest difference from scikit-learn, run by the code that serves it.

    Compares them on the training rows, on rounded rows, on absent values, on NaN and on the extremes of every
    range. Raises ExportRefused.
    """
    artefact = export(model, len(column_names(strategy)))
    try:
        served = OnnxModel(artefact)
    except UnusableModel as error:
        raise ExportRefused(str(error)) from error
    encoder = StateEncoder(strategy)
    extremes = encoder.encode(extreme_states(strategy), [float(fill) for fill in fills]).astype(np.float64)
    far = np.vstack([extremes * 1_000, -extremes * 1_000])
    worst = max(
        _compare(model, served, rows, "training rows"),
        _compare(model, served, np.round(rows), "rounded rows"),
        _compare(
            model, served, np.round(rows, 1).astype(np.float32).astype(np.float64), "rows rounded to 0.1"
        ),
        _compare(model, served, extremes, "extremes"),
        _compare(model, served, far, "values beyond every range"),
    )
    _check_nan(model, served, rows)
    return artefact, worst
