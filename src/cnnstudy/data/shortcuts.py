"""What a model learns that never sees the picture: a shortcut, where it does better than chance.

The features are what a file says of itself (type, size, colour mode, bytes, folder) and what the edge of the picture
and its mean brightness say. The same model tells whether splits differ in them: drift.
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

from cnnstudy.data.groups import independent_images

# Enough for an interval of 0.03 to either side at most.
LARGEST_SAMPLE = 2_000
FOLDS = 5
# An audit asks several questions of a data set, and 95 % would often find something where there is nothing.
CONFIDENCE = 0.99
STRETCHES = 4
# What a picture's path ends with whose pixels are a row of a table; no part of its type.
ROW = re.compile(r":\d+$")
# Of every tree.
LIMITS: dict[str, int] = {"max_depth": 8, "min_samples_leaf": 2, "random_state": 0}

Features = dict[str, np.ndarray]


@dataclass(frozen=True)
class Score:
    """Cross-validated accuracy with its 99 % interval (Wilson), the largest class's share, and the best single feature.

    `alone` has the accuracy of each feature by itself.
    """

    accuracy: float
    low: float
    high: float
    chance: float
    carrier: str
    alone: dict[str, float]


def features(samples: pd.DataFrame, images: np.ndarray, spoken: set[str]) -> Features:
    """Each feature as columns of numbers, float [n, k]; row i of `samples` has its image at the row's id.

    Parts of a path that are in `spoken` (names of classes and splits, in lower case) are not taken as a folder.
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


def score(features: Features, answers: np.ndarray, families: np.ndarray) -> Score | None:
    """How well the features tell the answers [n] (classes, or splits), no family on two sides of a fold.

    Answers with one family only, which no fold could learn and test, are left out; None where fewer than two are left.
    """
    chosen = np.arange(len(answers))
    if len(chosen) > LARGEST_SAMPLE:
        chosen = np.sort(np.random.default_rng(0).choice(chosen, LARGEST_SAMPLE, replace=False))
    counts = pd.Series(families[chosen]).groupby(answers[chosen]).nunique()
    counts = counts[counts > 1]
    if len(counts) < 2:
        return None
    chosen = chosen[np.isin(answers[chosen], counts.index)]
    answers, families = answers[chosen], families[chosen]
    splitter = StratifiedGroupKFold(min(FOLDS, int(counts.min())), shuffle=True, random_state=0)
    folds = list(splitter.split(chosen, answers, families))

    def right(columns: np.ndarray) -> np.ndarray:
        # Of one column the trees of a forest are all much the same.
        trees = ExtraTreesClassifier(50, **LIMITS) if columns.shape[1] > 1 else DecisionTreeClassifier(**LIMITS)
        return cross_val_predict(trees, columns[chosen], answers, cv=folds) == answers

    chance = float(pd.Series(answers).value_counts(normalize=True).max())
    varied = {name: columns for name, columns in features.items() if (columns[chosen] != columns[chosen[0]]).any()}
    alone = {name: float(right(columns).mean()) if name in varied else chance for name, columns in features.items()}
    alone = {name: round(value, 4) for name, value in alone.items()}
    together = right(np.hstack(list(varied.values()) or [np.zeros((len(chosen), 1))]))
    # A patient's films are told, or not, together.
    n = round(independent_images(together[None], families))
    interval = binomtest(round(n * together.mean()), n).proportion_ci(CONFIDENCE, method="wilson")
    accuracy, low, high, chance = (
        round(float(value), 4) for value in (together.mean(), interval.low, interval.high, chance)
    )
    return Score(accuracy, low, high, chance, max(alone, key=lambda name: alone[name]), alone)


def _folder(path: str, spoken: set[str]) -> str:
    return "/".join(part for part in PurePosixPath(path).parts[:-1] if part.casefold() not in spoken)


def _pixels(images: np.ndarray, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Means of four stretches of each edge [n, 16], and the mean of each image [n, 1]."""
    border = np.empty((len(ids), 4 * STRETCHES))
    brightness = np.empty((len(ids), 1))
    for row, i in enumerate(ids):
        grey = images[i].mean(axis=2)
        edges = (grey[0], grey[-1], grey[:, 0], grey[:, -1])
        border[row] = [part.mean() for edge in edges for part in np.array_split(edge, STRETCHES)]
        brightness[row] = grey.mean()
    return border, brightness
