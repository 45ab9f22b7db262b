"""Scores probabilities, and measures whether one forecaster beats another beyond noise.

Arrays are one-dimensional and of equal length: `probabilities` in [0, 1], `outcomes` 1 for a winner and 0
for a loser. For every score, lower is better. Randomness comes from a `seed`.
"""

import msgspec
import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

_CLIP = 1e-15  # log(0) is not a score; scikit-learn also clips near the precision of a double


class Interval(msgspec.Struct, frozen=True):
    """A mean and the ends of its bootstrap interval, over `n` observations in `blocks` blocks."""

    mean: float
    low: float
    high: float
    n: int
    blocks: int


def brier_score(probabilities: Floats, outcomes: Floats) -> float:
    """Mean squared difference between forecast and outcome (Brier, 1950, for two classes)."""
    return float(np.mean((probabilities - outcomes) ** 2))


def log_loss(probabilities: Floats, outcomes: Floats) -> float:
    """Mean negative log-likelihood, in nats."""
    clipped = np.clip(probabilities, _CLIP, 1 - _CLIP)
    return float(-np.mean(outcomes * np.log(clipped) + (1 - outcomes) * np.log(1 - clipped)))


def expected_calibration_error(probabilities: Floats, outcomes: Floats, bins: int = 10) -> float:
    """Weighted mean of |mean forecast - share of winners| over `bins` bins of equal width.

    A bin includes its lower end; the last one also includes 1 (Naeini, Cooper and Hauskrecht, 2015).
    """
    index = np.minimum((probabilities * bins).astype(np.intp), bins - 1)
    gaps = np.bincount(index, weights=probabilities - outcomes, minlength=bins)
    return float(np.abs(gaps).sum() / len(probabilities))


def paired_bootstrap(
    differences: Floats, blocks: npt.NDArray[np.int64], *, level: float, seed: int, resamples: int = 4_000
) -> Interval:
    """Mean of paired differences with a two-sided percentile interval of `level`, by resampling whole blocks.

    The trades of one day depend on the same market, so blocks are days: if single trades were drawn, the
    interval would be too narrow (Efron and Tibshirani, 1993, chapter 8).
    """
    _, index = np.unique(blocks, return_inverse=True)
    sums = np.bincount(index, weights=differences)
    counts = np.bincount(index)
    drawn = np.random.default_rng(seed).integers(0, len(sums), size=(resamples, len(sums)))
    means = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    tail = (1 - level) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return Interval(float(differences.mean()), float(low), float(high), len(differences), len(sums))
