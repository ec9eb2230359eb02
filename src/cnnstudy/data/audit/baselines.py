"""Baselines beside a net's accuracy: the largest class, a linear model, and an oracle for synthetic images."""

from collections.abc import Callable

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from cnnstudy.data.samples import Dataset

THUMBNAIL = 16
# The most training images for a linear model: more take long and hardly change so few coefficients.
LARGEST_FIT = 20_000
# The number of images processed at once, which bounds the memory.
AT_ONCE = 1_000
# How close to its optimum the linear model is fitted. After a coarse fit, the last bits of sums, which differ between
# CPUs, would change the predictions for some images.
TOLERANCE = 1e-6

Features = Callable[[np.ndarray], np.ndarray]


def baselines(dataset: Dataset, shown: np.ndarray | None) -> dict[str, dict[str, float]]:
    """Return the accuracy of each baseline, fitted on train, on every split: {name: {split: accuracy}}.

    `largest_class` predicts the class most frequent in train. `linear` is logistic regression on thumbnails of 16 x 16
    pixels. `oracle` is logistic regression on `shown` [N, k], all properties that the class of a synthetic image may
    depend on: a net that sees the image alone can hardly do better.
    """
    largest = np.bincount(dataset.labels[dataset.ids("train")]).argmax()
    accuracies = {
        "largest_class": {
            split: _share(dataset.labels[dataset.ids(split)] == largest) for split in dataset.present_splits
        },
        "linear": _logistic(dataset, lambda ids: thumbnails(dataset.images, ids)),
    }
    if shown is not None:
        accuracies["oracle"] = _logistic(dataset, lambda ids: shown[ids])
    return accuracies


def thumbnails(images: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """Return images [N, H, W, 3] averaged to 16 x 16 pixels: float64 [len(ids), 768], bit-identical on every CPU."""
    down, across = _shares(images.shape[1]), _shares(images.shape[2])
    small = np.empty((len(ids), THUMBNAIL, 3, THUMBNAIL))
    for row, i in enumerate(ids):
        # Sums of whole numbers are exact in any order.
        small[row] = np.tensordot(down, images[i].astype(np.float64), 1).swapaxes(1, 2) @ across.T
    small /= images.shape[1] * images.shape[2]
    return small.swapaxes(2, 3).reshape(len(ids), -1)


def _shares(side: int) -> np.ndarray:
    """Return each pixel's overlap with 16 equal parts of a side, in 16ths of a pixel: whole numbers [16, side]."""
    begins, ends = np.arange(THUMBNAIL)[:, None] * side, np.arange(1, THUMBNAIL + 1)[:, None] * side
    pixels = np.arange(side) * THUMBNAIL
    inside = np.minimum(ends, pixels + THUMBNAIL) - np.maximum(begins, pixels)
    return np.maximum(inside, 0).astype(np.float64)


def _logistic(dataset: Dataset, features: Features) -> dict[str, float]:
    train = dataset.ids("train")
    if len(train) > LARGEST_FIT:
        train = np.sort(np.random.default_rng(0).choice(train, LARGEST_FIT, replace=False))
    scaler, numbers = StandardScaler(copy=False), features(train)
    for part in _parts(numbers):
        scaler.partial_fit(part)
    model = LogisticRegression(max_iter=10_000, tol=TOLERANCE).fit(scaler.transform(numbers), dataset.labels[train])

    def right(ids: np.ndarray) -> np.ndarray:
        return np.asarray(model.predict(scaler.transform(features(ids))) == dataset.labels[ids])

    splits = {split: dataset.ids(split) for split in dataset.present_splits}
    return {split: _share(np.concatenate([right(part) for part in _parts(ids)])) for split, ids in splits.items()}


def _parts(rows: np.ndarray) -> list[np.ndarray]:
    return np.array_split(rows, -(-len(rows) // AT_ONCE))


def _share(right: np.ndarray) -> float:
    return round(float(right.mean()), 4)
