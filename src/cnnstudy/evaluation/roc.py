"""ROC curves (see cnnstudy.evaluation.curve) of a split, averaged over classes and seeds."""

import numpy as np
from sklearn.metrics import roc_curve

from cnnstudy.evaluation.classes import scored_classes
from cnnstudy.evaluation.curve import mean_curve
from cnnstudy.evaluation.predictions import Predictions


def split_curves(seeds: list[Predictions], mode: str, classes: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Return the ROC curves of a split by name: each class against the rest, then `micro` and `macro`.

    Each curve is the mean over seeds. A binary task has one curve, of the positive (second) class. A class
    without images, or with all of them, has no curve.
    """
    by_seed = [_curves(seed.labels, seed.probabilities[mode], classes) for seed in seeds]
    return {name: mean_curve([curves[name] for curves in by_seed]) for name in by_seed[0]}


def _curves(labels: np.ndarray, probabilities: np.ndarray, classes: tuple[str, ...]) -> dict[str, np.ndarray]:
    scored = scored_classes(labels, len(classes))
    curves = {classes[c]: _curve(labels == c, probabilities[:, c]) for c in scored}
    if len(curves) > 1:
        truth = labels[:, None] == np.arange(len(classes))
        curves |= {"micro": _curve(truth.ravel(), probabilities.ravel()), "macro": mean_curve(list(curves.values()))}
    return curves


def _curve(truth: np.ndarray, score: np.ndarray) -> np.ndarray:
    false_positive, true_positive, _ = roc_curve(truth, score)
    return np.column_stack([false_positive, true_positive])
