"""The metrics of predicted values, such as valence and arousal, with 95 % intervals, baselines and differences.

All moments are those of the population, each value apart. The intervals are bootstraps over groups of images (as those
of accuracies), with Student's over seeds added.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from cnnstudy.evaluation.intervals import Difference, difference_of, resampled_sums, seed_bounds
from cnnstudy.evaluation.metrics import Metrics
from cnnstudy.evaluation.predictions import ValuePredictions

# Sums over images: their count, truth t, prediction p, t^2, p^2, t p, agreement of signs, and agreement of t > 0.
SUMS = 8
# Variances up to this are rounding errors of a constant.
SMALLEST = 1e-10
# The scores by name, in the order in which they are shown.
Score = Callable[[np.ndarray], np.ndarray]


def rmse(sums: np.ndarray) -> np.ndarray:
    """Return the root of the mean squared error."""
    _, _, _, true2, predicted2, product, *_ = sums
    return np.sqrt(np.maximum(true2 + predicted2 - 2 * product, 0) / _count(sums))


def ccc(sums: np.ndarray) -> np.ndarray:
    """Return Lin's concordance correlation coefficient (1989): 2 cov / (var t + var p + (mean t - mean p)^2).

    It is 0 for a constant prediction.
    """
    mean, predicted, covariance, spread, predicted_spread = _moments(sums)
    whole = spread + predicted_spread + (mean - predicted) ** 2
    return 2 * covariance / np.where(whole > 0, whole, 1)


def pcc(sums: np.ndarray) -> np.ndarray:
    """Return Pearson's correlation coefficient; NaN for a constant prediction, which has none."""
    _, _, covariance, spread, predicted_spread = _moments(sums)
    varies = np.minimum(spread, predicted_spread) > SMALLEST
    return np.where(varies, covariance / np.sqrt(np.where(varies, spread * predicted_spread, 1)), np.nan)


def sagr(sums: np.ndarray) -> np.ndarray:
    """Return the share of images whose predicted sign is the true one (Nicolaou et al. 2011); 0 is its own sign."""
    return sums[6] / _count(sums)


def sagr_positive(sums: np.ndarray) -> np.ndarray:
    """Return the share of images for which truth and prediction are both above 0, or both not, as Hewitt and Gunes."""
    return sums[7] / _count(sums)


def alpha(sums: np.ndarray) -> np.ndarray:
    """Return Krippendorff's alpha for interval data, of the predictions and the truth as two coders.

    It is 1 - Do / De: Do is the mean squared error, De the mean squared difference of all pairs of the pooled values.
    """
    _, true, predicted, true2, predicted2, product, *_ = sums
    n = _count(sums)
    observed = (true2 + predicted2 - 2 * product) / n
    pooled, squares, total = 2 * n, true2 + predicted2, true + predicted
    expected = 2 * (pooled * squares - total**2) / (pooled * (pooled - 1))
    return 1 - observed / np.where(expected > 0, expected, 1)


SCORES: dict[str, Score] = {
    "rmse": rmse, "ccc": ccc, "pcc": pcc, "sagr": sagr, "sagr_positive": sagr_positive, "alpha": alpha,
}  # fmt: skip
# Scores that get an interval.
BOUNDED = ("rmse", "ccc")


def sums_of(truth: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Return each image's terms of the sums, float64 [SUMS, n]; all are 0 where the truth is missing."""
    present = np.isfinite(truth)
    t, p = np.where(present, truth, 0.0).astype(float), np.where(present, predicted, 0.0).astype(float)
    terms = [np.ones_like(t), t, p, t * t, p * p, t * p, np.sign(t) == np.sign(p), (t > 0) == (p > 0)]
    return np.array(terms, float) * present


def value_metrics(
    seeds: list[ValuePredictions], mode: str, names: tuple[str, ...], groups: np.ndarray, has_bounds: bool = True
) -> Metrics:
    """Return the metrics of a split as means over seeds: `<value>_<score>`, with `_low` and `_high` of those bounded.

    Without `has_bounds` nothing is resampled, which would take minutes for a large training set.

    `ccc`, with bounds and `ccc_seeds`, is the mean over the values; `<value>_spread` is the ratio of the standard
    deviations of prediction and truth; `<value>_n` is the number of images that have the value.
    """
    found: Metrics = {f"{name}_n": int(np.isfinite(seeds[0].truth[:, place]).sum()) for place, name in enumerate(names)}
    terms = _terms(seeds, mode)
    whole = terms.sum(axis=-1)
    resampled = _resampled(terms, groups) if has_bounds else whole[..., None]
    scores, draws = [], []  # CCC by value: [seeds], and the mean over the seeds of each resampling
    for place, name in enumerate(names):
        if not found[f"{name}_n"]:
            continue
        for score, function in SCORES.items():
            own = np.array([function(each) for each in whole[:, place]], float)
            if np.isfinite(own).all():
                found[f"{name}_{score}"] = float(own.mean())
            if score in BOUNDED and not has_bounds:
                scores += [own] if score == "ccc" else []
            elif score in BOUNDED:
                drawn = np.mean([function(each) for each in resampled[:, place]], axis=0)
                low, high = seed_bounds(own, drawn)
                found |= {f"{name}_{score}_low": low, f"{name}_{score}_high": high}
                if score == "ccc":
                    scores.append(own)
                    draws.append(drawn)
        _, _, _, spread, predicted_spread = _moments(whole[:, place].T)
        found[f"{name}_spread"] = float(np.sqrt(predicted_spread / np.where(spread > 0, spread, 1)).mean())
    if not scores:
        return found
    mean = np.mean(scores, axis=0)
    headline: Metrics = {"ccc": float(mean.mean()), "ccc_seeds": mean.tolist()}
    if has_bounds:
        low, high = seed_bounds(mean, np.mean(draws, axis=0))
        headline |= {"ccc_low": low, "ccc_high": high}
    return headline | found


def ccc_differences(
    trainings: dict[str, list[ValuePredictions]], mode: str, groups: np.ndarray, pairs: list[tuple[str, str]]
) -> list[Difference]:
    """Return the differences in mean CCC of pairs of trainings on the same images, the first minus the second.

    The bootstrap is paired. A difference is significant if its interval excludes 0 at the level 1 - 0.05 / pairs.
    """
    own, drawn = {}, {}
    for name, seeds in trainings.items():
        terms = _terms(seeds, mode)
        used = np.isfinite(seeds[0].truth).any(axis=0)
        own[name] = [float(np.mean([ccc(each) for each in row[used]])) for row in terms.sum(axis=-1)]
        drawn[name] = np.mean([[ccc(each) for each in row[used]] for row in _resampled(terms, groups)], axis=(0, 1))
    return [
        difference_of((first, second), (own[first], own[second]), drawn[first] - drawn[second], len(pairs))
        for first, second in pairs
    ]


def baseline_metrics(
    seeds: list[ValuePredictions], train: ValuePredictions, mode: str, names: tuple[str, ...], groups: np.ndarray
) -> Metrics:
    """Return the metrics of predictions that a net of values should beat, `<baseline>_<value>_<score>`.

    The baselines are `train_mean`, the mean of each value in train, with its RMSE; `positive`, a value above 0 for
    every image, with its SAGR; and for a net that predicts classes too `class_means`: the means of the classes in
    train, weighted by the net's class probabilities, with the CCC. `ccc_gain` is how much the net's own CCC is above
    that, with its interval.
    """
    mean = _mean(train.truth)
    found: Metrics = {}
    for place, name in enumerate(names):
        truth = seeds[0].truth[:, place]
        if np.isfinite(truth).any():
            constant, positive = np.full(truth.shape, mean[place]), np.ones(truth.shape)
            found[f"train_mean_{name}_rmse"] = float(rmse(sums_of(truth, constant).sum(axis=1)))
            for score in ("sagr", "sagr_positive"):
                found[f"positive_{name}_{score}"] = float(SCORES[score](sums_of(truth, positive).sum(axis=1)))
    classes = seeds[0].probabilities[mode].shape[1]
    if not classes or not found:
        return found
    rows = [train.truth[train.labels == label] for label in range(classes)]
    # A class without values in train has the mean of all images.
    means = np.array([np.where(np.isfinite(each).any(axis=0), _mean(each), mean) for each in rows])
    by_class = [replace(seed, predicted={mode: seed.probabilities[mode] @ means}) for seed in seeds]
    whole = _terms(by_class, mode).sum(axis=-1)
    for place, name in enumerate(names):
        if np.isfinite(seeds[0].truth[:, place]).any():
            found[f"class_means_{name}_ccc"] = float(np.mean([ccc(each) for each in whole[:, place]]))
    (gain,) = ccc_differences({"net": seeds, "means": by_class}, mode, groups, [("net", "means")])
    bounds: Metrics = {"ccc_gain_low": gain.low, "ccc_gain_high": gain.high}
    return found | bounds | {"ccc_gain": gain.difference, "is_ccc_gain_significant": gain.significant}


def _terms(seeds: list[ValuePredictions], mode: str) -> np.ndarray:
    """Return each image's terms of the sums, float64 [seeds, values, SUMS, n]."""
    return np.array(
        [[sums_of(*pair) for pair in zip(seed.truth.T, seed.predicted[mode].T, strict=True)] for seed in seeds]
    )


def _resampled(terms: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Return the sums of terms [seeds, values, SUMS, n] over resampled groups, [seeds, values, SUMS, DRAWS]."""
    return resampled_sums(terms.reshape(-1, terms.shape[-1]), groups).reshape(*terms.shape[:-1], -1)


def _mean(rows: np.ndarray) -> np.ndarray:
    """Return the means of the columns, without NaN; 0 for a column without numbers."""
    present = np.isfinite(rows)
    return np.where(present, rows, 0).sum(axis=0) / np.maximum(present.sum(axis=0), 1)


def _count(sums: np.ndarray) -> np.ndarray:
    """Return the number of images, at least 1: a resampling may have none with the value, and all sums are 0 then."""
    return np.maximum(sums[0], 1)


def _moments(sums: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return the means of truth and prediction, their covariance, and their variances."""
    _, true, predicted, true2, predicted2, product, *_ = sums
    n = _count(sums)
    mean, guess = true / n, predicted / n
    spread, guessed = np.maximum(true2 / n - mean**2, 0), np.maximum(predicted2 / n - guess**2, 0)
    return mean, guess, product / n - mean * guess, spread, guessed
