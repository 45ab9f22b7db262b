"""Scores of forecasts, against values worked out by hand and against scikit-learn."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import brier_score_loss
from sklearn.metrics import log_loss as sklearn_log_loss

from shared.domain.confidence.evaluation import (
    brier_score,
    expected_calibration_error,
    log_loss,
    paired_bootstrap,
)

Floats = npt.NDArray[np.float64]

forecasts = st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=50)


def arrays(pairs: list[tuple[float, bool]]) -> tuple[Floats, Floats]:
    return np.array([pair[0] for pair in pairs]), np.array([float(pair[1]) for pair in pairs])


def test_brier_by_hand() -> None:
    # (0.8 - 1)^2 = 0.04, (0.3 - 0)^2 = 0.09, (0.5 - 1)^2 = 0.25
    assert brier_score(np.array([0.8, 0.3, 0.5]), np.array([1.0, 0.0, 1.0])) == pytest.approx(0.38 / 3)


def test_log_loss_by_hand() -> None:
    assert log_loss(np.array([0.5, 0.5]), np.array([1.0, 0.0])) == pytest.approx(np.log(2))


def test_a_certain_and_wrong_forecast_costs_much_but_not_infinity() -> None:
    assert 30 < log_loss(np.array([0.0]), np.array([1.0])) < 40


@given(forecasts)
def test_brier_and_log_loss_agree_with_scikit_learn(pairs: list[tuple[float, bool]]) -> None:
    probabilities, outcomes = arrays(pairs)
    assert brier_score(probabilities, outcomes) == pytest.approx(
        brier_score_loss(outcomes, probabilities, labels=[0, 1])
    )
    clipped = np.clip(probabilities, 1e-15, 1 - 1e-15)
    assert log_loss(probabilities, outcomes) == pytest.approx(
        sklearn_log_loss(outcomes, clipped, labels=[0, 1])
    )


def test_calibration_error_by_hand() -> None:
    # Bin [0.2, 0.3): forecasts 0.2 and 0.25, one winner: |0.45 - 1| = 0.55.
    # Bin [0.9, 1]:   forecasts 0.9 and 1.0, one winner:  |1.9 - 1| = 0.9. Over four: 1.45 / 4.
    probabilities = np.array([0.2, 0.25, 0.9, 1.0])
    outcomes = np.array([1.0, 0.0, 1.0, 0.0])
    assert expected_calibration_error(probabilities, outcomes) == pytest.approx(1.45 / 4)


def test_a_base_rate_told_to_everybody_is_perfectly_calibrated() -> None:
    assert expected_calibration_error(np.full(4, 0.75), np.array([1.0, 1.0, 1.0, 0.0])) == pytest.approx(0)


@given(forecasts)
def test_calibration_error_lies_between_the_overall_gap_and_one(pairs: list[tuple[float, bool]]) -> None:
    probabilities, outcomes = arrays(pairs)
    error = expected_calibration_error(probabilities, outcomes)
    assert abs(float((probabilities - outcomes).mean())) - 1e-9 <= error <= 1 + 1e-9


def test_the_same_seed_gives_the_same_interval_and_another_one_another() -> None:
    noise = np.random.default_rng(1).normal(size=200)
    days = np.arange(200) // 10
    intervals = [paired_bootstrap(noise, days, level=0.95, seed=seed) for seed in (7, 7, 8)]
    assert intervals[0] == intervals[1] != intervals[2]
    assert (intervals[0].n, intervals[0].blocks) == (200, 20)


def test_the_interval_has_the_width_that_theory_gives_for_independent_trades() -> None:
    noise = np.random.default_rng(2).normal(size=2_000)
    interval = paired_bootstrap(noise, np.arange(2_000), level=0.95, seed=1)
    standard_error = float(noise.std()) / np.sqrt(2_000)
    assert interval.high - interval.low == pytest.approx(2 * 1.96 * standard_error, rel=0.06)
    assert interval.low < interval.mean < interval.high


def test_trades_that_share_their_day_widen_the_interval() -> None:
    # Ten equal trades a day are one observation and not ten: sqrt(10) times as wide.
    by_day = np.repeat(np.random.default_rng(3).normal(size=100), 10)
    days = np.repeat(np.arange(100), 10)
    honest = paired_bootstrap(by_day, days, level=0.95, seed=1)
    naive = paired_bootstrap(by_day, np.arange(1_000), level=0.95, seed=1)
    ratio = (honest.high - honest.low) / (naive.high - naive.low)
    assert ratio == pytest.approx(np.sqrt(10), rel=0.1)


def test_noise_is_rarely_taken_for_a_gain() -> None:
    chance, days = np.random.default_rng(4), np.arange(300) // 10
    taken = 0
    for run in range(200):
        interval = paired_bootstrap(chance.normal(size=300), days, level=0.99, seed=run, resamples=500)
        taken += interval.low > 0
    assert taken <= 6  # 0.5% of 200 is 1; the percentile interval is somewhat too short with 30 days


def test_an_interval_comes_of_4_000_resamples_unless_told_otherwise() -> None:
    differences = np.random.default_rng(3).normal(0.1, 1.0, 60)
    blocks = np.arange(60) // 6
    told = [
        paired_bootstrap(differences, blocks, level=0.9, seed=7, **more)
        for more in ({}, {"resamples": 4_000})
    ]
    assert told[0] == told[1]
    assert (told[0].n, told[0].blocks) == (60, 10)
