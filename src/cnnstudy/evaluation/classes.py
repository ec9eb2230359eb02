"""Scores by class, from which metrics and curves are computed."""

import numpy as np
from sklearn.metrics import precision_recall_fscore_support


def per_class(labels: np.ndarray, probabilities: np.ndarray) -> dict[str, np.ndarray]:
    """Return precision, recall, f1 and support, each [classes]; the precision of a class never predicted is 0.

    The scores of a class without images are NaN.
    """
    predicted, classes = probabilities.argmax(axis=1), range(probabilities.shape[1])
    columns = precision_recall_fscore_support(labels, predicted, labels=classes, zero_division=0)
    *scores, support = columns
    scores = [np.where(support > 0, score, np.nan) for score in scores]
    return dict(zip(("precision", "recall", "f1", "support"), [*scores, support], strict=True))


def scored_classes(labels: np.ndarray, classes: int) -> list[int]:
    """Return the classes with a ROC curve: those with some but not all images; if binary, only the positive one."""
    present = [c for c in range(classes) if 0 < (labels == c).sum() < len(labels)]
    return present[1:] if classes == 2 else present


def is_constant(probabilities: np.ndarray) -> bool:
    """Return whether one class is predicted for every image; false for a single image."""
    predicted = probabilities.argmax(axis=1)
    return len(predicted) > 1 and bool((predicted == predicted[0]).all())
