"""Calibration: whether probabilities are as high as the shares of correct predictions, and how to correct them.

The correction is temperature scaling (Guo et al. 2017): logits are divided by one number, fitted on the split val. The
likeliest class of an image stays the same.
"""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize_scalar

from cnnstudy.evaluation import scores
from cnnstudy.evaluation.confidence import FEWEST, at_temperature, by_confidence, squared_distances
from cnnstudy.evaluation.intervals import mean_interval

# The split that temperatures are fitted on.
SPLIT = "val"
# The range of temperatures.
LOWEST, HIGHEST = 0.05, 20.0
DRAWS = 1000
# The number of values in memory at a time, which take 32 MB.
VALUES = 4_000_000


@dataclass(frozen=True)
class Reliability:
    """Bins of equal numbers of images by confidence, the probability of the predicted class, in ascending order.

    `confidence` and `accuracy` are the means of each bin, float64 [bins], and `images` its number of images.
    """

    confidence: np.ndarray
    accuracy: np.ndarray
    images: np.ndarray


def temperature(labels: np.ndarray, probabilities: np.ndarray) -> float | None:
    """Return the temperature with the lowest cross-entropy, rounded to 4 decimals; above 1 if a net is overconfident.

    The result is None for fewer than `FEWEST` images.

    Args:
        labels: int [n], n > 0.
        probabilities: float [n, classes].
    """

    def loss(log: float) -> float:
        return scores.loss(labels, at_temperature(probabilities, float(np.exp(log))))

    if len(labels) < FEWEST:
        return None
    bounds = np.log(LOWEST), np.log(HIGHEST)
    return round(float(np.exp(minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-5}).x)), 4)


def reliability(labels: np.ndarray, probabilities: np.ndarray) -> Reliability:
    """Return the reliability of predictions, in the bins of `scores.calibration_error`."""
    found = by_confidence(labels, probabilities)
    images = np.diff([*found.starts, len(labels)])
    sums = [np.add.reduceat(values.astype(np.float64), found.starts) for values in (found.confidence, found.correct)]
    return Reliability(sums[0] / images, sums[1] / images, images)


def chance(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Return the calibration error that perfectly calibrated predictions exceed in 5 % of samples.

    Each prediction is simulated to be correct with its own confidence, `DRAWS` times. Even then the error is above 0,
    since the share of correct predictions in a bin varies.
    """
    found, rng = by_confidence(labels, probabilities), np.random.default_rng(0)
    n, errors = len(labels), []
    batch = max(1, VALUES // n)
    for start in range(0, DRAWS, batch):
        correct = rng.random((min(batch, DRAWS - start), n)) < found.confidence
        gaps = np.add.reduceat(found.confidence - correct, found.starts, axis=1)
        errors.append(np.abs(gaps).sum(axis=1) / n)
    return float(np.quantile(np.concatenate(errors), 0.95))


def measures(
    labels: np.ndarray, seeds: list[np.ndarray], temperatures: list[float], groups: np.ndarray
) -> dict[str, float]:
    """Return the calibration of a split as means over seeds.

    The metrics are `confidence_gap`, the mean confidence minus the accuracy; `brier_low` and `brier_high`, the 95 %
    interval of the Brier score; `calibration_error_chance` from `chance`; and, if there are temperatures, `temperature`
    and `<score>_scaled` after scaling for loss, brier and calibration_error.

    Args:
        labels: int [n].
        seeds: each seed's probabilities, float [n, classes].
        temperatures: each seed's temperature; empty if none was fitted.
        groups: int [n], the same number for images of the same group.
    """
    low, high = mean_interval(np.array([squared_distances(labels, each) for each in seeds]), groups)
    found = {
        "confidence_gap": float(np.mean([each.max(axis=1).mean() - scores.accuracy(labels, each) for each in seeds])),
        "brier_low": low,
        "brier_high": high,
        "calibration_error_chance": float(np.mean([chance(labels, each) for each in seeds])),
    }
    if not temperatures:
        return found
    after = [at_temperature(each, value) for each, value in zip(seeds, temperatures, strict=True)]
    found["temperature"] = float(np.mean(temperatures))
    for score in (scores.loss, scores.brier, scores.calibration_error):
        found[f"{score.__name__}_scaled"] = float(np.mean([score(labels, each) for each in after]))
    return found
