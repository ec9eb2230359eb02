"""Metrics of a split, from its labels and the predicted probabilities.

In a binary task the second class is the positive one.
"""

from collections.abc import Iterable

import numpy as np
from sklearn.metrics import average_precision_score, cohen_kappa_score, precision_recall_fscore_support, roc_auc_score

from cnnstudy.data.groups import independent_images
from cnnstudy.evaluation.intervals import accuracy_interval
from cnnstudy.evaluation.predictions import Answers

Metrics = dict[str, float | int | bool | list[float]]


def metrics(labels: np.ndarray, probabilities: np.ndarray) -> Metrics:
    """Metrics of one training.

    `loss` is the mean cross-entropy, clipped at 1e-7 as Keras does; `kappa` is Cohen's, `alpha` Krippendorff's (see
    `krippendorff_alpha`); `auc` and `average_precision` are means of one class against the rest over the classes
    present, in a binary task those of the positive class; `constant` is true where every image got the same answer.
    Macro means are over the classes present, and a precision without predictions counts as 0. What is not defined, such
    as `auc` where only one class is present or `sensitivity` where the positive one is not, is left out.

    Args:
        labels: int [n], n > 0.
        probabilities: float [n, classes].
    """
    classes = probabilities.shape[1]
    answers = probabilities.argmax(axis=1)
    accuracy = float((answers == labels).mean())
    table = per_class(labels, answers, classes)
    present = table["support"] > 0
    weights = table["support"][present] / len(labels)
    result: Metrics = {
        "n": len(labels),
        "accuracy": accuracy,
        "loss": cross_entropy(labels, probabilities),
        "macro_precision": float(table["precision"][present].mean()),
        "macro_recall": float(table["recall"][present].mean()),
        "macro_f1": float(table["f1"][present].mean()),
        "weighted_f1": float(table["f1"][present] @ weights),
        "constant": is_constant(probabilities),
    }
    if len({*labels, *answers}) > 1:
        result["kappa"] = float(cohen_kappa_score(labels, answers))
        result["alpha"] = krippendorff_alpha(labels, answers)
    if scored := scored_classes(labels, classes):
        result["auc"] = _mean(roc_auc_score(labels == c, probabilities[:, c]) for c in scored)
        result["average_precision"] = _mean(average_precision_score(labels == c, probabilities[:, c]) for c in scored)
    if classes == 2:
        recalls = zip(("specificity", "sensitivity"), table["recall"], present, strict=True)
        result |= {name: float(recall) for name, recall, is_present in recalls if is_present}
    return result


def split_metrics(seeds: list[Answers], mode: str, groups: np.ndarray) -> Metrics:
    """Means over the trainings of a run, with each one's accuracy in `accuracy_seeds`.

    `mode` is the one that counts; where others were predicted too, there are also `accuracy_<mode>` and
    `constant_<mode>`. `accuracy_low` and `accuracy_high` bound the 95 % interval of cnnstudy.evaluation.intervals;
    `groups`, int [n], numbers the images that belong together (of one patient). `constant` is true if it is for any
    seed, and `constant_seeds` says for how many.
    """
    result = _mean_metrics([metrics(seed.labels, seed.probabilities[mode]) for seed in seeds])
    accuracies = [_accuracy(seed, mode) for seed in seeds]
    result["accuracy_seeds"] = list(accuracies)
    correct = np.array([seed.probabilities[mode].argmax(axis=1) == seed.labels for seed in seeds])
    result["accuracy_low"], result["accuracy_high"] = accuracy_interval(accuracies, independent_images(correct, groups))
    result["constant_seeds"] = sum(is_constant(seed.probabilities[mode]) for seed in seeds)
    if len(seeds[0].probabilities) > 1:
        for other in seeds[0].probabilities:
            result[f"accuracy_{other}"] = _mean(_accuracy(seed, other) for seed in seeds)
            result[f"constant_{other}"] = any(is_constant(seed.probabilities[other]) for seed in seeds)
    return result


def krippendorff_alpha(labels: np.ndarray, answers: np.ndarray) -> float:
    """Krippendorff's alpha (2004) of two coders, nominal data: 1 - observed / expected disagreement.

    Defined where labels and answers hold more than one class together.
    """
    both = np.concatenate([labels, answers])
    _, counts = np.unique(both, return_counts=True)
    n = len(both)
    expected = 1 - float((counts * (counts - 1)).sum()) / (n * (n - 1))
    return 1 - float((labels != answers).mean()) / expected


def per_class(labels: np.ndarray, answers: np.ndarray, classes: int) -> dict[str, np.ndarray]:
    """precision, recall, f1 and support, each [classes]; a precision without predictions is 0.

    Of a class without images nothing but the support is a number.
    """
    columns = precision_recall_fscore_support(labels, answers, labels=range(classes), zero_division=0)
    *scores, support = columns
    scores = [np.where(support > 0, each, np.nan) for each in scores]
    return dict(zip(("precision", "recall", "f1", "support"), [*scores, support], strict=True))


def cross_entropy(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Mean cross-entropy in nats of float [n, classes], normalised and clipped at 1e-7 as Keras does."""
    probabilities = probabilities.astype(np.float64)
    chosen = probabilities[np.arange(len(labels)), labels] / probabilities.sum(axis=1)
    return float(-np.log(np.clip(chosen, 1e-7, 1 - 1e-7)).mean())


def is_constant(probabilities: np.ndarray) -> bool:
    """Whether every image got the same answer, which a single image can't show."""
    answers = probabilities.argmax(axis=1)
    return len(answers) > 1 and bool((answers == answers[0]).all())


def scored_classes(labels: np.ndarray, classes: int) -> list[int]:
    """The classes whose ROC is defined: present and not alone; in a binary task the positive one only."""
    present = [c for c in range(classes) if 0 < (labels == c).sum() < len(labels)]
    return present[1:] if classes == 2 else present


def _mean_metrics(seeds: list[Metrics]) -> Metrics:
    merged: Metrics = {}
    for name, first in seeds[0].items():
        values = np.array([seed[name] for seed in seeds if name in seed])
        if isinstance(first, bool):
            merged[name] = bool(values.any())
        else:
            merged[name] = first if name == "n" else float(values.mean())
    return merged


def _accuracy(answers: Answers, mode: str) -> float:
    return float((answers.probabilities[mode].argmax(axis=1) == answers.labels).mean())


def _mean(values: Iterable[float]) -> float:
    return float(np.mean(list(values)))
