"""Artefacts in onnxruntime: equal to scikit-learn, refused where they are not, loaded only when needed."""

import asyncio
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # it ships no types

from shared.adapters import inference
from shared.adapters.inference import OnnxInference, OnnxModel
from shared.domain.confidence.encoding import StateEncoder, column_names
from shared.domain.confidence.models import ServedModel, UnusableModel
from shared.training.candidates import CANDIDATES, calibrated, winner_probability
from shared.training.dataset import Dataset, make_dataset
from shared.training.export import TOLERANCE, ExportRefused, checked_export, export
from tests.support.outcomes import made_outcomes
from tests.support.places import ROOT
from tests.support.strategies import DEFAULT as STRATEGY

COLUMNS = column_names(STRATEGY)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    with threadpool_limits(1):
        yield


@pytest.fixture(scope="module")
def data() -> Dataset:
    return make_dataset(STRATEGY, made_outcomes(400, seed=5, signal=1.5))


def trained(data: Dataset, fit: Callable[..., Any]) -> tuple[Any, np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    fills = data.fills(list(range(data.n)))
    rows = data.inputs(fills)
    return fit(rows, data.won, 0), rows, fills


@pytest.mark.parametrize("name", CANDIDATES)
async def test_a_served_model_answers_states_as_scikit_learn_does(data: Dataset, name: str) -> None:
    model, rows, fills = trained(data, CANDIDATES[name])
    artefact, difference = checked_export(model, STRATEGY, rows, fills)
    assert difference <= TOLERANCE
    served = ServedModel(
        version=name,
        strategy=STRATEGY,
        base_rate=0.5,
        artefact=artefact,
        columns=COLUMNS,
        fills=tuple(fills.tolist()),
    )
    engine = OnnxInference()
    await engine.load(served)
    expected = winner_probability(model, rows)
    assert engine.probabilities(served, data.states) == pytest.approx(expected.tolist(), abs=TOLERANCE)
    one_by_one = [engine.probabilities(served, [state])[0] for state in data.states]
    assert engine.probabilities(served, data.states) == pytest.approx(one_by_one, abs=1e-6)
    assert expected.std() > 0.05, "a model that says the same of everything would prove nothing"


def test_scaling_folded_into_a_logistic_regression_leaves_its_answers(data: Dataset) -> None:
    model, rows, _ = trained(data, CANDIDATES["logistic"])
    centre, scale = rows.mean(axis=0), rows.std(axis=0)
    scale[scale == 0] = 1
    plain = calibrated(LogisticRegression(C=0.1, max_iter=1_000, random_state=0))
    plain.fit((rows - centre) / scale, data.won)
    assert np.allclose(winner_probability(plain, (rows - centre) / scale), winner_probability(model, rows))


def test_an_export_that_differs_is_refused(data: Dataset) -> None:
    # A scaler inside the calibration is what exports wrongly without a word.
    def fit_pipeline(rows: Any, won: Any, seed: int) -> Any:
        shifted = calibrated(make_pipeline(StandardScaler(), LogisticRegression(random_state=seed)))
        return shifted.fit(rows, won)

    model, rows, fills = trained(data, fit_pipeline)
    with pytest.raises(ExportRefused):
        checked_export(model, STRATEGY, rows, fills)


def test_an_export_of_another_model_is_refused(data: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    model, rows, fills = trained(data, CANDIDATES["logistic"])
    other, _, _ = trained(data, lambda rows, won, seed: CANDIDATES["logistic"](rows, 1 - won, seed))
    artefact = export(other, len(COLUMNS))
    monkeypatch.setattr("shared.training.export.export", lambda *_: artefact)
    with pytest.raises(ExportRefused, match="training rows"):
        checked_export(model, STRATEGY, rows, fills)


def test_what_skl2onnx_cannot_convert_is_refused_with_a_short_reason(data: Dataset) -> None:
    with pytest.raises(ExportRefused) as caught:
        export(object(), len(COLUMNS))
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("artefact", [b"", b"rubbish", b"\x08\x0a" * 1_000])
async def test_a_broken_artefact_is_unusable_and_no_crash(artefact: bytes) -> None:
    model = ServedModel(version="broken", strategy=STRATEGY, base_rate=0.5, artefact=artefact)
    with pytest.raises(UnusableModel):
        await OnnxInference().load(model)


def test_an_artefact_of_another_width_is_unusable(data: Dataset) -> None:
    model, rows, _ = trained(data, CANDIDATES["logistic"])
    served = OnnxModel(export(model, len(COLUMNS)))
    with pytest.raises(UnusableModel):
        served.probabilities(rows[:, :-1].astype(np.float32))


def test_a_classifier_without_probabilities_is_unusable(data: Dataset) -> None:
    from skl2onnx import to_onnx

    _, rows, _ = trained(data, CANDIDATES["logistic"])
    scaler = to_onnx(StandardScaler().fit(rows), rows[:1].astype(np.float32))
    with pytest.raises(UnusableModel, match="no output"):
        OnnxModel(scaler.SerializeToString())


def test_an_answer_that_is_no_probability_is_unusable(data: Dataset) -> None:
    model, rows, _ = trained(data, CANDIDATES["logistic"])
    served = OnnxModel(export(model, len(COLUMNS)))
    with pytest.raises(UnusableModel, match=r"outside \[0, 1\]"):
        served.probabilities(np.full_like(rows[:1], np.nan, dtype=np.float32))


def test_trees_answer_nan_as_scikit_learn_does(data: Dataset) -> None:
    model, rows, _ = trained(data, CANDIDATES["boosted"])
    assert isinstance(model.calibrated_classifiers_[0].estimator, HistGradientBoostingClassifier)
    holes = rows[:60].copy()
    holes[np.arange(60), np.arange(60) % rows.shape[1]] = np.nan
    answers = OnnxModel(export(model, len(COLUMNS))).probabilities(holes.astype(np.float32))
    assert answers == pytest.approx(winner_probability(model, holes).tolist(), abs=TOLERANCE)


async def test_sessions_are_bounded_and_an_evicted_model_still_answers(
    data: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inference, "MAX_SESSIONS", 2)
    model, _, fills = trained(data, CANDIDATES["logistic"])
    artefact = export(model, len(COLUMNS))
    served = [
        ServedModel(
            version=f"v{index}",
            strategy=STRATEGY,
            base_rate=0.5,
            artefact=artefact,
            columns=COLUMNS,
            fills=tuple(fills.tolist()),
        )
        for index in range(3)
    ]
    engine = OnnxInference()
    await asyncio.gather(*(engine.load(one) for one in served))
    assert len(engine._sessions) == 2
    assert len({engine.probabilities(one, data.states[:1])[0] for one in served}) == 1
    assert len(engine._sessions) == 2


def test_serving_loads_neither_numpy_nor_onnxruntime_before_a_model_is_loaded() -> None:
    code = (
        "import sys, shared.adapters.inference, shared.adapters.training_process\n"
        "import shared.services.confidence, shared.services.training\n"
        "from shared.adapters.strategies import shipped_strategies\n"
        "from shared.domain.confidence.market_state import StateReader\n"
        "reader = StateReader(shipped_strategies())\n"
        'reader.read(b\'{"symbol": "ES", "signal_type": "LONG", "vwap_distance": 2.1, "rsi": 35}\')\n'
        "print({'numpy', 'onnxruntime', 'sklearn', 'skl2onnx', 'scipy'} & set(sys.modules))"
    )
    said = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "set()", said.stderr


def test_encoded_states_are_what_the_artefact_takes(data: Dataset) -> None:
    assert StateEncoder(STRATEGY).encode(data.states, [0.0] * len(COLUMNS)).shape == (data.n, len(COLUMNS))
