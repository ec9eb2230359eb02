"""Shortcuts: features other than an image's content from which a model predicts the class better than chance.

The features are properties of the file (type, size, colour mode, bytes, folder), the edge of the image and its mean
brightness. The same model shows whether splits differ in the features: drift.
"""

import re
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np
import pandas as pd
from scipy.stats import binomtest
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
from sklearn.tree import DecisionTreeClassifier

from cnnstudy.config.labels import loosened
from cnnstudy.data.groups import independent_images
from cnnstudy.data.names import split_of

# Enough images for a confidence interval of at most 0.03 to either side.
LARGEST_SAMPLE = 2_000
FOLDS = 5
# An audit makes several tests of a data set; at 95 % false findings would be frequent.
CONFIDENCE = 0.99
STRETCHES = 4
# The row number at the end of the path of an image in a table of pixels; not part of the file type.
ROW = re.compile(r":\d+$")
# Settings of every decision tree.
LIMITS: dict[str, int] = {"max_depth": 8, "min_samples_leaf": 2, "random_state": 0}

Features = dict[str, np.ndarray]


@dataclass(frozen=True)
class ShortcutScore:
    """Cross-validated accuracy with its 99 % interval (Wilson), the largest class's share, and the best single feature.

    `alone` has the accuracy of each feature on its own.
    """

    accuracy: float
    low: float
    high: float
    chance: float
    carrier: str
    alone: dict[str, float]


def features(samples: pd.DataFrame, images: np.ndarray, spoken: set[str]) -> Features:
    """Return each feature as columns of numbers, float [n, k]; a row's id in `samples` is its index in `images`.

    The feature `folder` leaves out parts of a path that are in `spoken` (class names, loosened) or name a split.
    """
    text = {
        "file type": [ROW.sub("", PurePosixPath(path).suffix).casefold() for path in samples["path"]],
        "colour mode": samples["mode"],
        "folder": samples["source"] + [_folder(path, spoken) for path in samples["path"]],
    }
    numbers = {
        "size": samples[["width", "height"]].to_numpy(float),
        "bytes": samples[["bytes"]].to_numpy(float),
    }
    border, brightness = _pixels(images, samples["id"].to_numpy())
    coded = {name: pd.factorize(pd.Series(list(values)), sort=True)[0][:, None] for name, values in text.items()}
    return {**coded, **numbers, "border": border, "brightness": brightness}


def score(features: Features, targets: np.ndarray, families: np.ndarray) -> ShortcutScore | None:
    """Return how well the features predict the targets [n] (classes or splits), with no family on two sides of a fold.

    Targets with only one family, which can't be both learned and tested, are left out; None if fewer than two remain.
    """
    chosen = np.arange(len(targets))
    if len(chosen) > LARGEST_SAMPLE:
        chosen = np.sort(np.random.default_rng(0).choice(chosen, LARGEST_SAMPLE, replace=False))
    counts = pd.Series(families[chosen]).groupby(targets[chosen]).nunique()
    counts = counts[counts > 1]
    if len(counts) < 2:
        return None
    chosen = chosen[np.isin(targets[chosen], counts.index)]
    targets, families = targets[chosen], families[chosen]
    splitter = StratifiedGroupKFold(min(FOLDS, int(counts.min())), shuffle=True, random_state=0)
    folds = list(splitter.split(chosen, targets, families))

    def right(columns: np.ndarray) -> np.ndarray:
        # On a single column all trees of a forest are much the same, so one is enough.
        trees = ExtraTreesClassifier(50, **LIMITS) if columns.shape[1] > 1 else DecisionTreeClassifier(**LIMITS)
        return cross_val_predict(trees, columns[chosen], targets, cv=folds) == targets

    chance = float(pd.Series(targets).value_counts(normalize=True).max())
    varied = {name: columns for name, columns in features.items() if (columns[chosen] != columns[chosen[0]]).any()}
    alone = {name: float(right(columns).mean()) if name in varied else chance for name, columns in features.items()}
    alone = {name: round(value, 4) for name, value in alone.items()}
    together = right(np.hstack(list(varied.values()) or [np.zeros((len(chosen), 1))]))
    # Predictions for one patient's X-rays are not independent.
    n = round(independent_images(together[None], families))
    interval = binomtest(round(n * together.mean()), n).proportion_ci(CONFIDENCE, method="wilson")
    accuracy, low, high, chance = (
        round(float(value), 4) for value in (together.mean(), interval.low, interval.high, chance)
    )
    return ShortcutScore(accuracy, low, high, chance, max(alone, key=lambda name: alone[name]), alone)


def _folder(path: str, spoken: set[str]) -> str:
    return "/".join(part for part in PurePosixPath(path).parts[:-1] if not (loosened(part) in spoken or split_of(part)))


def _pixels(images: np.ndarray, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the means of four stretches of each edge [n, 16], and the mean of each image [n, 1]."""
    border = np.empty((len(ids), 4 * STRETCHES))
    brightness = np.empty((len(ids), 1))
    for row, i in enumerate(ids):
        # Sums of whole numbers are the same in any order, and so on any CPU.
        summed = images[i].sum(axis=2, dtype=np.int64)
        edges = (summed[0], summed[-1], summed[:, 0], summed[:, -1])
        border[row] = [part.sum() / (3 * len(part)) for edge in edges for part in np.array_split(edge, STRETCHES)]
        brightness[row] = summed.sum() / (3 * summed.size)
    return border, brightness
