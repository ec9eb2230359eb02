"""The scores of a split: every public function of this module is a metric that appears wherever metrics are shown.

A metric takes labels, int [n], n > 0, and probabilities, float [n, classes], and returns a number, or None where it is
not defined. In a binary task the second class is the positive one. Macro means are over the classes present.
"""

from collections.abc import Iterable

import numpy as np
from sklearn.metrics import average_precision_score, cohen_kappa_score, roc_auc_score

from cnnstudy.evaluation.classes import per_class, scored_classes
from cnnstudy.evaluation.confidence import by_confidence, squared_distances


def accuracy(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Return the share of images whose likeliest class is their label."""
    return float((probabilities.argmax(axis=1) == labels).mean())


def loss(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Return the mean cross-entropy in nats, with probabilities normalised and clipped at 1e-7 as in Keras."""
    probabilities = probabilities.astype(np.float64)
    chosen = probabilities[np.arange(len(labels)), labels] / probabilities.sum(axis=1)
    return float(-np.log(np.clip(chosen, 1e-7, 1 - 1e-7)).mean())


def brier(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Return the mean squared distance of the probabilities from the labels, summed over classes (Brier 1950)."""
    return float(squared_distances(labels, probabilities).mean())


def calibration_error(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Return the expected calibration error: the mean gap of confidence and accuracy in bins of as many images each.

    Confidence is the probability of the predicted class (Naeini et al. 2015; bins of equal mass as Nguyen and O'Connor
    2015).
    """
    found = by_confidence(labels, probabilities)
    gaps = np.add.reduceat(found.confidence - found.correct, found.starts)
    return float(np.abs(gaps).sum() / len(labels))


def macro_precision(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Return the mean precision over the classes; that of a class never predicted counts as 0."""
    return _macro("precision", labels, probabilities)


def macro_recall(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Return the mean recall over the classes."""
    return _macro("recall", labels, probabilities)


def macro_f1(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Return the mean F1 over the classes."""
    return _macro("f1", labels, probabilities)


def weighted_f1(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Return the mean F1 over the classes, weighted by their number of images."""
    table = per_class(labels, probabilities)
    present = table["support"] > 0
    return float(table["f1"][present] @ (table["support"][present] / len(labels)))


def kappa(labels: np.ndarray, probabilities: np.ndarray) -> float | None:
    """Return Cohen's kappa (1960); None if labels and predictions together have one class."""
    predicted = probabilities.argmax(axis=1)
    return float(cohen_kappa_score(labels, predicted)) if len({*labels, *predicted}) > 1 else None


def alpha(labels: np.ndarray, probabilities: np.ndarray) -> float | None:
    """Return Krippendorff's alpha (2004) for two coders and nominal data: 1 - observed / expected disagreement.

    The result is None if labels and predictions together have one class.
    """
    predicted = probabilities.argmax(axis=1)
    _, counts = np.unique(np.concatenate([labels, predicted]), return_counts=True)
    if len(counts) == 1:
        return None
    n = counts.sum()
    expected = 1 - float((counts * (counts - 1)).sum()) / (n * (n - 1))
    return 1 - float((labels != predicted).mean()) / expected


def auc(labels: np.ndarray, probabilities: np.ndarray) -> float | None:
    """Return the area under the ROC curve: the mean of each class against the rest; if binary, the positive class's."""
    scored = scored_classes(labels, probabilities.shape[1])
    return _mean(roc_auc_score(labels == c, probabilities[:, c]) for c in scored)


def average_precision(labels: np.ndarray, probabilities: np.ndarray) -> float | None:
    """Return the area under the precision-recall curve, over the same classes as `auc`."""
    scored = scored_classes(labels, probabilities.shape[1])
    return _mean(average_precision_score(labels == c, probabilities[:, c]) for c in scored)


def specificity(labels: np.ndarray, probabilities: np.ndarray) -> float | None:
    """Return the recall of the negative class in a binary task."""
    return _recall(0, labels, probabilities)


def sensitivity(labels: np.ndarray, probabilities: np.ndarray) -> float | None:
    """Return the recall of the positive class in a binary task."""
    return _recall(1, labels, probabilities)


def _macro(column: str, labels: np.ndarray, probabilities: np.ndarray) -> float:
    table = per_class(labels, probabilities)
    return float(table[column][table["support"] > 0].mean())


def _recall(label: int, labels: np.ndarray, probabilities: np.ndarray) -> float | None:
    is_defined = probabilities.shape[1] == 2 and bool((labels == label).any())
    return float(per_class(labels, probabilities)["recall"][label]) if is_defined else None


def _mean(values: Iterable[float]) -> float | None:
    scores = list(values)
    return float(np.mean(scores)) if scores else None
