"""95 % intervals of accuracies, and of differences between runs on the same images.

Two things make an accuracy uncertain: which images were drawn, and which weights and order a training began with. The
parts are added as squares around the mean (Zou and Donner 2008); with one seed only the first is known.
"""

from dataclasses import dataclass

import numpy as np
from scipy import special

LEVEL = 0.95
DRAWS = 10_000
# Resampled images are held this many at a time, 32 MB of counts.
HELD = 4_000_000


@dataclass(frozen=True)
class Difference:
    """The accuracy of `first` minus that of `second`; `real` where it is more than chance among all compared pairs."""

    first: str
    second: str
    difference: float
    low: float
    high: float
    real: bool


def accuracy_interval(accuracies: list[float], n: float) -> tuple[float, float]:
    """Bounds of the mean accuracy of one training a seed on `n` images: Wilson's (1927) and Student's over seeds.

    Images of one group say less than others: then `n` is that of `independent_images`.
    """
    mean = float(np.mean(accuracies))
    centre = special.ndtri((1 + LEVEL) / 2) ** 2
    middle = (mean + centre / (2 * n)) / (1 + centre / n)
    half = np.sqrt(centre * (mean * (1 - mean) / n + centre / (4 * n * n))) / (1 + centre / n)
    among = _seed_half(accuracies, LEVEL)
    low = mean - np.hypot(mean - (middle - half), among)
    high = mean + np.hypot(middle + half - mean, among)
    return max(0.0, float(low)), min(1.0, float(high))


def differences(correct: dict[str, np.ndarray], groups: np.ndarray, pairs: list[tuple[str, str]]) -> list[Difference]:
    """Pairs of trainings compared on the images they share, the first minus the second.

    The images' part is a paired bootstrap (Efron and Tibshirani 1993) of the mean over the seeds, in which images of a
    group (a patient's films) stay together; the seeds' part is Welch's. A difference is real where the interval
    excludes 0 at the level 1 - 0.05 / pairs (Bonferroni), and the exact sign test (McNemar's, of two trainings) agrees:
    of few images on which they differ a bootstrap knows too little.

    Args:
        correct: bool [seeds, n] by training, the same images in the same order.
        groups: int [n], images of the same group have the same number.
        pairs: (first, second), names in `correct`.
    """
    means = np.array([values.mean(axis=0) for values in correct.values()])
    drawn = dict(zip(correct, _bootstrap(means, groups), strict=True))
    result = []
    for first, second in pairs:
        seeds = [correct[name].mean(axis=1).tolist() for name in (first, second)]
        difference = float(np.mean(seeds[0]) - np.mean(seeds[1]))
        resampled = drawn[first] - drawn[second]
        low, high = _bounds(difference, resampled, seeds, LEVEL)
        strict = 1 - (1 - LEVEL) / len(pairs)
        strict_low, strict_high = _bounds(difference, resampled, seeds, strict)
        is_real = (strict_low > 0 or strict_high < 0) and _sign_test(
            correct[first], correct[second], groups
        ) < 1 - strict
        result.append(Difference(first, second, difference, low, high, is_real))
    return result


def _bounds(difference: float, resampled: np.ndarray, seeds: list[list[float]], level: float) -> tuple[float, float]:
    low, high = np.quantile(resampled, [(1 - level) / 2, (1 + level) / 2])
    among = _welch_half(seeds[0], seeds[1], level)
    return (
        difference - float(np.hypot(difference - low, among)),
        difference + float(np.hypot(high - difference, among)),
    )


def _sign_test(first: np.ndarray, second: np.ndarray, groups: np.ndarray) -> float:
    """The p of as many groups doing better with the one, by its mean over seeds, among those that differ."""
    _, group = np.unique(groups, return_inverse=True)
    sums = np.bincount(group, first.mean(axis=0)) - np.bincount(group, second.mean(axis=0))
    better, differing = int((sums > 1e-12).sum()), int((np.abs(sums) > 1e-12).sum())
    from scipy import stats  # slow to import, and not needed by every stage

    return float(stats.binomtest(better, differing).pvalue) if differing else 1.0


def _bootstrap(values: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Means [k, DRAWS] of the rows of float [k, n] over resampled groups, the same ones for every row."""
    _, group = np.unique(groups, return_inverse=True)
    sizes = np.bincount(group)
    sums = np.array([np.bincount(group, row) for row in values])  # [k, groups]
    rng = np.random.default_rng(0)
    at_once = max(1, HELD // len(sizes))
    parts = []
    for start in range(0, DRAWS, at_once):
        draws = min(at_once, DRAWS - start)
        counts = rng.multinomial(len(sizes), np.full(len(sizes), 1 / len(sizes)), draws)
        parts.append(sums @ counts.T / (counts @ sizes))
    return np.concatenate(parts, axis=1)


def _seed_half(accuracies: list[float], level: float) -> float:
    """Half of Student's interval of the mean over seeds; 0 for one seed, which says nothing about others."""
    k = len(accuracies)
    if k == 1:
        return 0.0
    return float(special.stdtrit(k - 1, (1 + level) / 2) * np.std(accuracies, ddof=1) / np.sqrt(k))


def _welch_half(first: list[float], second: list[float], level: float) -> float:
    """Half of Welch's interval of the difference of two means over seeds."""
    if min(len(first), len(second)) == 1:
        return 0.0
    shares = [np.var(values, ddof=1) / len(values) for values in (first, second)]
    if not sum(shares) > 0:
        return 0.0
    freedom = sum(shares) ** 2 / sum(
        share**2 / (len(values) - 1) for share, values in zip(shares, (first, second), strict=True)
    )
    return float(special.stdtrit(freedom, (1 + level) / 2) * np.sqrt(sum(shares)))
