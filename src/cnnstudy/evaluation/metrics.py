"""The metrics of a split: the scores of cnnstudy.evaluation.scores with intervals, as means over seeds."""

from collections.abc import Callable
from inspect import isfunction

import numpy as np

from cnnstudy.data.groups import independent_images
from cnnstudy.evaluation import scores
from cnnstudy.evaluation.classes import is_constant
from cnnstudy.evaluation.intervals import accuracy_interval
from cnnstudy.evaluation.predictions import Predictions

Metrics = dict[str, float | int | bool | list[float]]
ScoreFunction = Callable[[np.ndarray, np.ndarray], float | None]

# The scores by name, in the order of their definition.
SCORES: dict[str, ScoreFunction] = {
    name: function
    for name, function in vars(scores).items()
    if isfunction(function) and function.__module__ == scores.__name__ and not name.startswith("_")
}


def metrics(labels: np.ndarray, probabilities: np.ndarray) -> Metrics:
    """Return the metrics of one training: `n`, the number of images; `constant`; and every score that is defined.

    Args:
        labels: int [n], n > 0.
        probabilities: float [n, classes].
    """
    result: Metrics = {"n": len(labels)}
    for name, score in SCORES.items():
        if (value := score(labels, probabilities)) is not None:
            result[name] = value
    return result | {"constant": is_constant(probabilities)}


def split_metrics(seeds: list[Predictions], mode: str, groups: np.ndarray) -> Metrics:
    """Return the means of the metrics over the seeds of a run, with each seed's accuracy in `accuracy_seeds`.

    `mode` is the primary BatchNorm mode; if there are predictions in other modes, `accuracy_<mode>` and
    `constant_<mode>` are added. `accuracy_low` and `accuracy_high` bound the 95 % interval of
    cnnstudy.evaluation.intervals; `groups`, int [n], has the same number for images that belong together (such as
    a patient's). `constant` is true if it is true for any seed, and `constant_seeds` is the number of such seeds.
    """
    result = _mean_metrics([metrics(seed.labels, seed.probabilities[mode]) for seed in seeds])
    accuracies = [_accuracy(seed, mode) for seed in seeds]
    result["accuracy_seeds"] = list(accuracies)
    correct = np.array([seed.probabilities[mode].argmax(axis=1) == seed.labels for seed in seeds])
    result["accuracy_low"], result["accuracy_high"] = accuracy_interval(accuracies, independent_images(correct, groups))
    result["constant_seeds"] = sum(is_constant(seed.probabilities[mode]) for seed in seeds)
    if len(seeds[0].probabilities) > 1:
        for other in seeds[0].probabilities:
            result[f"accuracy_{other}"] = float(np.mean([_accuracy(seed, other) for seed in seeds]))
            result[f"constant_{other}"] = any(is_constant(seed.probabilities[other]) for seed in seeds)
    return result


def _mean_metrics(seeds: list[Metrics]) -> Metrics:
    merged: Metrics = {}
    for name, first in seeds[0].items():
        values = np.array([seed[name] for seed in seeds if name in seed])
        if isinstance(first, bool):
            merged[name] = bool(values.any())
        else:
            merged[name] = first if name == "n" else float(values.mean())
    return merged


def _accuracy(predictions: Predictions, mode: str) -> float:
    return scores.accuracy(predictions.labels, predictions.probabilities[mode])
