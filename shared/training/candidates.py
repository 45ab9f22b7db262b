"""Fits the kinds of model that compete: a logistic regression and boosted trees, both calibrated.

Calibration wraps the bare estimator (sigmoid, ensemble=False), because the ONNX export of a pipeline with a
scaler inside is wrong, without any error.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold

Floats = npt.NDArray[np.float64]
Fit = Callable[[Floats, Floats, int], Any]

CALIBRATION_FOLDS = 5


def calibrated(estimator: Any) -> Any:
    # Rows are in time order, so each unshuffled fold covers one period per class: signals of two symbols at
    # one time are seldom in different folds.
    folds = StratifiedKFold(CALIBRATION_FOLDS, shuffle=False)
    return CalibratedClassifierCV(estimator, method="sigmoid", cv=folds, ensemble=False)


def fit_logistic(rows: Floats, won: Floats, seed: int) -> Any:
    """Fits an L2 logistic regression on standardised columns; its coefficients include the scaling."""
    centre, scale = rows.mean(axis=0), rows.std(axis=0)
    scale[scale == 0] = 1.0
    model = calibrated(LogisticRegression(C=0.1, max_iter=1_000, random_state=seed))
    model.fit((rows - centre) / scale, won)
    inner = model.calibrated_classifiers_[0].estimator
    # w . (x - m) / s + b  =  (w / s) . x + (b - w . m / s): so the model takes unscaled columns.
    inner.coef_ = inner.coef_ / scale
    inner.intercept_ = inner.intercept_ - inner.coef_ @ centre
    return model


def fit_boosted(rows: Floats, won: Floats, seed: int) -> Any:
    """Fits shallow gradient-boosted trees; small steps and large leaves keep them from fitting noise."""
    model = calibrated(
        HistGradientBoostingClassifier(
            max_iter=80,
            learning_rate=0.05,
            max_depth=3,
            min_samples_leaf=20,
            l2_regularization=5.0,
            early_stopping=False,
            random_state=seed,
        )
    )
    return model.fit(rows, won)


CANDIDATES: dict[str, Fit] = {"logistic": fit_logistic, "boosted": fit_boosted}


def winner_probability(model: Any, rows: Floats) -> Floats:
    """The probability of a winner for each row, (n,), by scikit-learn itself."""
    probabilities: Floats = model.predict_proba(rows)[:, 1]
    return probabilities
