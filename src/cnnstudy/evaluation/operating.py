"""Operating points of nets for two classes: a threshold chosen on val, and what it gives on other images.

The positive class is predicted where its probability is at least the threshold.
"""

from dataclasses import dataclass

import numpy as np

from cnnstudy.data.groups import independent_images
from cnnstudy.evaluation.intervals import accuracy_interval


@dataclass(frozen=True)
class Rate:
    """A share with its 95 % interval."""

    value: float
    low: float
    high: float


def threshold(labels: np.ndarray, probabilities: np.ndarray, least: float | None) -> float | None:
    """Return the highest threshold with a sensitivity of at least `least`, or that of Youden's index (1950) if None.

    Youden's index is sensitivity plus specificity minus 1; of equal ones the highest threshold counts. The result is
    None if one of the classes has no image.

    Args:
        labels: int [n], 1 for the positive class.
        probabilities: float [n], of the positive class.
        least: the least sensitivity, above 0.
    """
    positive, negative = (np.sort(probabilities[labels == label]) for label in (1, 0))
    if not (len(positive) and len(negative)):
        return None
    if least is not None:
        return float(positive[len(positive) - int(np.ceil(least * len(positive) - 1e-9))])
    sensitivity = 1 - np.searchsorted(positive, positive) / len(positive)
    specificity = np.searchsorted(negative, positive) / len(negative)
    index = sensitivity + specificity
    return float(positive[np.flatnonzero(index >= index.max() - 1e-12)[-1]])


def measures(
    labels: np.ndarray, seeds: list[np.ndarray], thresholds: list[float], groups: np.ndarray, prevalence: float
) -> dict[str, float]:
    """Return an operating point's metrics as means over seeds, each with `_low` and `_high` of its 95 % interval.

    The metrics are `operating_threshold`, without an interval; `operating_sensitivity` and `operating_specificity`; and
    at a prevalence `operating_ppv` and `operating_npv`, the shares of positive and negative predictions that are
    correct. Sensitivity or specificity, and with them the predictive values, are missing without images of the class.

    Args:
        labels: int [n], 1 for the positive class.
        seeds: each seed's probabilities of the positive class, float [n].
        thresholds: each seed's threshold.
        groups: int [n], the same number for images of the same group.
        prevalence: the share of positive cases where the net would be used, between 0 and 1.
    """
    correct = np.array([(each >= value) == (labels == 1) for each, value in zip(seeds, thresholds, strict=True)])
    rates = {}
    for name, label in (("sensitivity", 1), ("specificity", 0)):
        chosen = labels == label
        if chosen.any():
            rates[name] = _rate(correct[:, chosen], groups[chosen])
    if len(rates) == 2:
        sensitivity, specificity = rates["sensitivity"], rates["specificity"]
        rates["ppv"] = predictive_value(sensitivity, specificity, prevalence)
        rates["npv"] = predictive_value(specificity, sensitivity, 1 - prevalence)
    found = {"operating_threshold": float(np.mean(thresholds))}
    for name, rate in rates.items():
        bounds = {"": rate.value, "_low": rate.low, "_high": rate.high}
        found |= {f"operating_{name}{end}": value for end, value in bounds.items()}
    return found


def predictive_value(found: Rate, refused: Rate, prevalence: float) -> Rate:
    """Return the share of predictions of a class that are correct, at the class's prevalence, with its 95 % interval.

    `found` is the share of the class's images that are predicted so, and `refused` the share of other images that are
    not. The interval is MOVER's (Zou and Donner 2008) for the logarithm of found / (1 - refused), from the intervals of
    both and their middles, since a share of 0 or 1 has no logarithm of its odds.
    """
    odds = prevalence / (1 - prevalence)
    correct, wrong = odds * found.value, 1 - refused.value
    value = correct / (correct + wrong) if correct + wrong > 0 else 0.0
    middle = (found.low + found.high) / 2, 1 - (refused.low + refused.high) / 2
    with np.errstate(divide="ignore"):
        one, other = np.log(middle)
        below = np.hypot(one - np.log(found.low), np.log(1 - refused.low) - other)
        above = np.hypot(np.log(found.high) - one, other - np.log(1 - refused.high))
        low, high = (1 / (1 + np.exp(-(np.log(odds) + one - other + each))) for each in (-below, above))
    return Rate(value, min(float(low), value), max(float(high), value))


def _rate(correct: np.ndarray, groups: np.ndarray) -> Rate:
    """Return the share of correct predictions, bool [seeds, n]."""
    shares = correct.mean(axis=1).tolist()
    return Rate(float(np.mean(shares)), *accuracy_interval(shares, independent_images(correct, groups)))
