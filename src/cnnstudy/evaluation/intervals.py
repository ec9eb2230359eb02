"""95 % intervals of accuracies, and of differences between runs on the same images.

An accuracy is uncertain for two reasons: the sample of images, and the initial weights and order of a training. The
squared half-widths of both parts are added (Zou and Donner 2008); with one seed only the first part is known.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from scipy import special

LEVEL = 0.95
DRAWS = 10_000
# The number of resampled counts in memory at a time, which take 32 MB.
COUNTS = 4_000_000


@dataclass(frozen=True)
class Difference:
    """The score of `first` minus that of `second`, with its interval; `significant` is corrected for all pairs.

    The score is the accuracy, or the mean CCC of runs that learn values.
    """

    first: str
    second: str
    difference: float
    low: float
    high: float
    significant: bool


def accuracy_interval(accuracies: list[float], n: float, level: float = LEVEL) -> tuple[float, float]:
    """Return the bounds of the mean accuracy on `n` images: Wilson's interval (1927), with Student's over seeds added.

    Images of one group are not independent: for these `n` is the effective number from `independent_images`.
    """
    mean = float(np.mean(accuracies))
    centre = special.ndtri((1 + level) / 2) ** 2
    middle = (mean + centre / (2 * n)) / (1 + centre / n)
    half = np.sqrt(centre * (mean * (1 - mean) / n + centre / (4 * n * n))) / (1 + centre / n)
    among = _seed_half(accuracies, level)
    low = mean - np.hypot(mean - (middle - half), among)
    high = mean + np.hypot(middle + half - mean, among)
    return max(0.0, float(low)), min(1.0, float(high))


def resampled_interval(values: np.ndarray, ratio: float, level: float = LEVEL) -> tuple[float, float]:
    """Return the bounds of the mean of values [k] from k splits of the same images: the corrected resampled t interval.

    Training sets of different splits overlap, so that the values are not independent: the variance of their mean is
    1 / k + `ratio` times theirs, with the number of test images for each training image (Nadeau and Bengio 2003).
    """
    k = len(values)
    half = float(special.stdtrit(k - 1, (1 + level) / 2) * np.std(values, ddof=1) * np.sqrt(1 / k + ratio))
    mean = float(values.mean())
    return mean - half, mean + half


def mean_interval(values: np.ndarray, groups: np.ndarray) -> tuple[float, float]:
    """Return the bounds of a mean over images and seeds: a bootstrap over groups, with Student's over seeds added.

    Args:
        values: float [seeds, n], a number for each image.
        groups: int [n], the same number for images of the same group.
    """
    mean = float(values.mean())
    (resampled,) = _bootstrap(values.mean(axis=0, keepdims=True), groups)
    low, high = np.quantile(resampled, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    among = _seed_half(values.mean(axis=1).tolist(), LEVEL)
    return mean - float(np.hypot(mean - low, among)), mean + float(np.hypot(high - mean, among))


def seed_bounds(values: np.ndarray, resampled: np.ndarray) -> tuple[float, float]:
    """Return the bounds of the mean over seeds of a score.

    Args:
        values: the score of each seed, float [seeds].
        resampled: the mean over the seeds for each resampling of the images, float [DRAWS].
    """
    mean = float(values.mean())
    low, high = np.quantile(resampled, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    among = _seed_half(values.tolist(), LEVEL)
    return mean - float(np.hypot(mean - low, among)), mean + float(np.hypot(high - mean, among))


def difference_of(
    names: tuple[str, str], seeds: tuple[list[float], list[float]], resampled: np.ndarray, pairs: int
) -> Difference:
    """Return the difference of two scores, the first minus the second, corrected for a number of pairs.

    Args:
        names: the names of the two trainings.
        seeds: the score of each seed, for both.
        resampled: the difference for each resampling of the images, float [DRAWS].
        pairs: the number of comparisons.
    """
    difference = float(np.mean(seeds[0]) - np.mean(seeds[1]))
    low, high = _bounds(difference, resampled, list(seeds), LEVEL)
    strict_low, strict_high = _bounds(difference, resampled, list(seeds), 1 - (1 - LEVEL) / pairs)
    return Difference(*names, difference, low, high, strict_low > 0 or strict_high < 0)


def at_level(metrics: Mapping[str, float], level: float) -> dict[str, float]:
    """Return an accuracy with bounds at another level, approximated by widening the 95 % interval on both sides."""
    wider = special.ndtri((1 + level) / 2) / special.ndtri((1 + LEVEL) / 2)
    value = metrics["accuracy"]
    low, high = (value + float(wider * (metrics[f"accuracy_{side}"] - value)) for side in ("low", "high"))
    return {"accuracy": value, "accuracy_low": low, "accuracy_high": high}


def gap_interval(first: Mapping[str, float], second: Mapping[str, float]) -> tuple[float, float]:
    """Return the bounds of the first accuracy minus the second, which are of different images.

    The method is MOVER (Zou and Donner 2008), from the intervals `accuracy_low` to `accuracy_high` of both.
    """
    one, other = first["accuracy"], second["accuracy"]
    below = np.hypot(one - first["accuracy_low"], second["accuracy_high"] - other)
    above = np.hypot(first["accuracy_high"] - one, other - second["accuracy_low"])
    return float(one - other - below), float(one - other + above)


def differences(
    correct: dict[str, np.ndarray], groups: np.ndarray, pairs: list[tuple[str, str]], among: int = 0
) -> list[Difference]:
    """Return the differences in accuracy of pairs of trainings on the same images, the first minus the second.

    The part of the interval from the images is a paired bootstrap (Efron and Tibshirani 1993) of the mean over the
    seeds, which keeps the images of a group (a patient's X-rays) together; the part from the seeds is Welch's. A
    difference is significant if the interval excludes 0 at the level 1 - 0.05 / pairs (Bonferroni), and the exact sign
    test (McNemar's, of two trainings) agrees, since a bootstrap is unreliable if few images differ.

    Args:
        correct: whether predictions are correct, bool [seeds, n] by training, for the same images in the same order.
        groups: int [n], the same number for images of the same group.
        pairs: (first, second), names in `correct`.
        among: the number of comparisons to correct for, if these pairs are some of more.
    """
    means = np.array([values.mean(axis=0) for values in correct.values()])
    bootstrapped = dict(zip(correct, _bootstrap(means, groups), strict=True))
    result = []
    for first, second in pairs:
        seeds = [correct[name].mean(axis=1).tolist() for name in (first, second)]
        difference = float(np.mean(seeds[0]) - np.mean(seeds[1]))
        resampled = bootstrapped[first] - bootstrapped[second]
        low, high = _bounds(difference, resampled, seeds, LEVEL)
        strict = 1 - (1 - LEVEL) / max(among, len(pairs))
        strict_low, strict_high = _bounds(difference, resampled, seeds, strict)
        is_significant = (strict_low > 0 or strict_high < 0) and _sign_test(
            correct[first], correct[second], groups
        ) < 1 - strict
        result.append(Difference(first, second, difference, low, high, is_significant))
    return result


def _bounds(difference: float, resampled: np.ndarray, seeds: list[list[float]], level: float) -> tuple[float, float]:
    low, high = np.quantile(resampled, [(1 - level) / 2, (1 + level) / 2])
    among = _welch_half(seeds[0], seeds[1], level)
    return (
        difference - float(np.hypot(difference - low, among)),
        difference + float(np.hypot(high - difference, among)),
    )


def _sign_test(first: np.ndarray, second: np.ndarray, groups: np.ndarray) -> float:
    """Return the p-value of the exact sign test on the groups in which the trainings' means over seeds differ."""
    _, group = np.unique(groups, return_inverse=True)
    sums = np.bincount(group, first.mean(axis=0)) - np.bincount(group, second.mean(axis=0))
    better, differing = int((sums > 1e-12).sum()), int((np.abs(sums) > 1e-12).sum())
    from scipy import stats  # slow to import, and not needed by every stage

    return float(stats.binomtest(better, differing).pvalue) if differing else 1.0


def _bootstrap(values: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Return means [k, DRAWS] of the rows of `values` [k, n] over resampled groups, the same for all rows."""
    _, group = np.unique(groups, return_inverse=True)
    sizes = np.bincount(group)
    sums = np.array([np.bincount(group, row) for row in values])  # [k, groups]
    return np.concatenate([sums @ counts.T / (counts @ sizes) for counts in _resampled(len(sizes))], axis=1)


def resampled_sums(rows: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Return sums [k, DRAWS] of `rows` [k, n] over the images of resampled groups, the same groups in every call."""
    _, group = np.unique(groups, return_inverse=True)
    sums = np.array([np.bincount(group, row) for row in rows])  # [k, groups]
    return np.concatenate([sums @ counts.T for counts in _resampled(sums.shape[1])], axis=1)


def _resampled(groups: int) -> Iterator[np.ndarray]:
    """Yield how often each group is in a resampling, int [some, groups], `DRAWS` rows in all."""
    rng = np.random.default_rng(0)
    batch = max(1, COUNTS // groups)
    for start in range(0, DRAWS, batch):
        yield rng.multinomial(groups, np.full(groups, 1 / groups), min(batch, DRAWS - start))


def _seed_half(accuracies: list[float], level: float) -> float:
    """Return the half-width of Student's interval of the mean over seeds; 0 for one seed, of unknown variance."""
    k = len(accuracies)
    if k == 1:
        return 0.0
    return float(special.stdtrit(k - 1, (1 + level) / 2) * np.std(accuracies, ddof=1) / np.sqrt(k))


def _welch_half(first: list[float], second: list[float], level: float) -> float:
    """Return the half-width of Welch's interval of the difference of two means over seeds; 0 if either has one seed."""
    if min(len(first), len(second)) == 1:
        return 0.0
    shares = [np.var(values, ddof=1) / len(values) for values in (first, second)]
    if not sum(shares) > 0:
        return 0.0
    freedom = sum(shares) ** 2 / sum(
        share**2 / (len(values) - 1) for share, values in zip(shares, (first, second), strict=True)
    )
    return float(special.stdtrit(freedom, (1 + level) / 2) * np.sqrt(sum(shares)))
