"""Selects the model to serve; a candidate must be better than the present one on later data.

The later half of the outcomes is divided into four test periods. For each period, every candidate is trained
on the outcomes known at its start and tested on the period. Its squared errors are compared, one by one,
with those of the base rate known at the same time, by a bootstrap over whole days. A candidate passes if the
lower end of that interval is above 0. If the champion is a model, the candidate must pass the same test
against it, on outcomes after the champion's own training window. A candidate that passes is then trained on
all outcomes, exported, and compared with scikit-learn.
"""

from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # it ships no types

from shared.domain.confidence.encoding import column_names
from shared.domain.confidence.evaluation import (
    Interval,
    brier_score,
    expected_calibration_error,
    log_loss,
    paired_bootstrap,
)
from shared.domain.confidence.models import ModelDocument
from shared.domain.confidence.training import TrainedModel
from shared.training.candidates import CANDIDATES, winner_probability
from shared.training.champion import ChampionForecasts
from shared.training.dataset import Dataset
from shared.training.export import ExportRefused, checked_export
from shared.training.folds import MIN_TEST_DAYS, MIN_TEST_TRADES

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.intp]

SHOWN_LEVEL = 0.95
# Only half a percent at each end, because two candidates are tested, and again with new outcomes.
DECISION_LEVEL = 0.99


@dataclass(frozen=True)
class _Trial:
    """The tested outcomes, in order, with the base rate's and each candidate's earlier forecasts for them."""

    tested: Indices
    base_rate: Floats
    forecasts: dict[str, Floats]


def _hold_trial(data: Dataset, seed: int) -> _Trial:
    prior = data.strategy.prior
    tested, base_rate = [], []
    forecasts: dict[str, list[Floats]] = {name: [] for name in CANDIDATES}
    for fold in data.folds:
        won = data.won[fold.train]
        known = prior.base_rate(float(won.sum()), len(won))
        tested.append(np.array(fold.test))
        base_rate.append(np.full(len(fold.test), known))
        rows = data.inputs(data.fills(fold.train))
        for name, fit in CANDIDATES.items():
            model = fit(rows[fold.train], won, seed)
            forecasts[name].append(winner_probability(model, rows[fold.test]))
    joined = {name: np.concatenate(parts) for name, parts in forecasts.items()}
    return _Trial(np.concatenate(tested), np.concatenate(base_rate), joined)


def _gain(
    data: Dataset, tested: Indices, baseline: Floats, forecasts: Floats, *, level: float, seed: int
) -> Interval:
    """The squared error of `baseline` minus that of `forecasts`, with its interval."""
    won = data.won[tested]
    differences = (baseline - won) ** 2 - (forecasts - won) ** 2
    return paired_bootstrap(differences, data.days[tested], level=level, seed=seed)


def _scores(forecasts: Floats, won: Floats) -> dict[str, float]:
    return {
        "brier": brier_score(forecasts, won),
        "ece": expected_calibration_error(forecasts, won),
        "log_loss": log_loss(forecasts, won),
    }


class _Comparison:
    """All scores of one trial, and the candidates that passed."""

    def __init__(self, data: Dataset, trial: _Trial, champion: ChampionForecasts | None, seed: int) -> None:
        self._data = data
        self._seed = seed
        won = data.won[trial.tested]
        self.passed: list[str] = []
        self.scores: dict[str, Any] = {
            "out_of_sample": {
                "n": len(trial.tested),
                "days": len(np.unique(data.days[trial.tested])),
                "first_entry_at": data.outcomes[trial.tested[0]].entry_at,
                "last_entry_at": data.outcomes[trial.tested[-1]].entry_at,
            },
            "base_rate": _scores(trial.base_rate, won),
            "candidates": {},
        }
        gains: dict[str, float] = {}
        for name, forecasts in trial.forecasts.items():
            beats_base_rate, shown = self._judge(trial.tested, trial.base_rate, forecasts)
            entry = {**_scores(forecasts, won), "gain_over_base_rate": shown}
            passes = beats_base_rate
            if champion is not None:
                beats_champion, entry["gain_over_champion"] = self._judge_champion(trial, champion, forecasts)
                passes = passes and beats_champion
            self.scores["candidates"][name] = entry
            gains[name] = shown.mean
            if passes:
                self.passed.append(name)
        self.passed.sort(key=lambda name: -gains[name])
        self.champion_failed = champion is not None and self._champion_fails(trial, champion)

    def _judge(self, tested: Indices, baseline: Floats, forecasts: Floats) -> tuple[bool, Interval]:
        strict = _gain(self._data, tested, baseline, forecasts, level=DECISION_LEVEL, seed=self._seed)
        shown = _gain(self._data, tested, baseline, forecasts, level=SHOWN_LEVEL, seed=self._seed)
        return strict.low > 0, shown

    def _judge_champion(
        self, trial: _Trial, champion: ChampionForecasts, forecasts: Floats
    ) -> tuple[bool, Interval | None]:
        common, ours, theirs = self._unseen(trial, champion)
        if not len(common):
            return False, None
        return self._judge(common, champion.forecasts[theirs], forecasts[ours])

    def _champion_fails(self, trial: _Trial, champion: ChampionForecasts) -> bool:
        """Whether the base rate known at the time beats the champion on outcomes it was not trained on."""
        common, ours, theirs = self._unseen(trial, champion)
        if not len(common):
            return False
        fails, shown = self._judge(common, champion.forecasts[theirs], trial.base_rate[ours])
        self.scores["champion"] = {
            "n": len(common),
            **_scores(champion.forecasts[theirs], self._data.won[common]),
            "gain_of_base_rate": shown,
        }
        return fails

    def _unseen(self, trial: _Trial, champion: ChampionForecasts) -> tuple[Indices, Indices, Indices]:
        """The tested outcomes that the champion was not trained on, and the places of both sides' forecasts.

        Empty if the outcomes or their days are too few to prove anything.
        """
        common, ours, theirs = np.intersect1d(trial.tested, champion.tested, return_indices=True)
        if len(common) < MIN_TEST_TRADES or len(np.unique(self._data.days[common])) < MIN_TEST_DAYS:
            common = ours = theirs = np.array([], dtype=np.intp)
        return common, ours, theirs


def _final_model(data: Dataset, name: str, document: ModelDocument, seed: int) -> TrainedModel:
    """Trains the candidate on every trade; raises ExportRefused."""
    fills = data.fills(list(range(data.n)))
    rows = data.inputs(fills)
    model = CANDIDATES[name](rows, data.won, seed)
    artefact, difference = checked_export(model, data.strategy, rows, fills)
    average = float(winner_probability(model, rows).mean())
    return TrainedModel(
        artefact=artefact,
        document=msgspec.structs.replace(
            document,
            basis="model",
            average=average,
            kind=name,
            columns=column_names(data.strategy),
            fills=tuple(float(fill) for fill in fills),
            scores={**document.scores, "export_difference": difference},
        ),
    )


def _choose(
    data: Dataset, comparison: _Comparison, document: ModelDocument, seed: int
) -> tuple[TrainedModel | None, str]:
    """The best candidate that passed and was exported without difference, and the reason for the choice."""
    refusals = []
    for name in comparison.passed:
        try:
            model = _final_model(data, name, document, seed)
        except ExportRefused as error:
            refusals.append(f"{name} passed, but its export was refused: {error}")
        else:
            return model, f"{name} beats the base rate and the champion out of sample, beyond noise"
    return None, "; ".join(refusals) or "no candidate beats the base rate and the champion beyond noise"


@dataclass(frozen=True)
class Selection:
    """The selected model, or None, the reason, and all scores as plain JSON."""

    model: TrainedModel | None
    champion_failed: bool
    reason: str
    scores: dict[str, Any]


def select_model(
    data: Dataset, champion: ChampionForecasts | None, document: ModelDocument, *, seed: int
) -> Selection:
    """Tests every candidate on later data; `document` describes the base rate of the same outcomes."""
    # More threads would spin while they wait for a core, and their order would change the last bit of sums.
    with threadpool_limits(1):
        comparison = _Comparison(data, _hold_trial(data, seed), champion, seed)
        scores = msgspec.to_builtins(comparison.scores)
        model, reason = _choose(data, comparison, msgspec.structs.replace(document, scores=scores), seed)
    return Selection(model, comparison.champion_failed, reason, scores)
