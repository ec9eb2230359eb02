"""What stands beside a net's accuracy: the largest class, a linear model, and an oracle that knows what was drawn."""

from collections.abc import Callable

import cv2
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from cnnstudy.data.samples import Dataset

THUMBNAIL = 16
# More training images than this change a linear model on so few numbers little, and its time much.
LARGEST_FIT = 20_000
# Images that are looked at together; all together would take memory as they grow.
AT_ONCE = 1_000

Features = Callable[[np.ndarray], np.ndarray]


def baselines(dataset: Dataset, drawn: np.ndarray) -> dict[str, dict[str, float]]:
    """Accuracy on every split of what needs no net, all fitted on train: {name: {split: accuracy}}.

    `largest class` answers the class most frequent in train. `linear` is logistic regression on thumbnails of 16 x 16
    pixels. `oracle` is logistic regression on `drawn` [N, k], what was drawn (strengths of action units; number, sum
    and largest density of patches), for drawn data only: what it misses, the picture does not tell either.
    """
    largest = np.bincount(dataset.labels[dataset.ids("train")]).argmax()
    found = {
        "largest class": {
            split: _share(dataset.labels[dataset.ids(split)] == largest) for split in dataset.present_splits
        },
        "linear": _logistic(dataset, lambda ids: thumbnails(dataset.images, ids)),
    }
    if drawn.size:
        found["oracle"] = _logistic(dataset, lambda ids: drawn[ids])
    return found


def thumbnails(images: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """Images [N, H, W, 3], averaged to 16 x 16 pixels: float32 [len(ids), 768]."""
    side = (THUMBNAIL, THUMBNAIL)
    small = np.empty((len(ids), *side, 3), np.float32)
    for row, i in enumerate(ids):
        small[row] = cv2.resize(images[i].astype(np.float32), side, interpolation=cv2.INTER_AREA)
    return small.reshape(len(ids), -1)


def _logistic(dataset: Dataset, features: Features) -> dict[str, float]:
    train = dataset.ids("train")
    if len(train) > LARGEST_FIT:
        train = np.sort(np.random.default_rng(0).choice(train, LARGEST_FIT, replace=False))
    scaler, numbers = StandardScaler(copy=False), features(train)
    for part in _parts(numbers):
        scaler.partial_fit(part)
    model = LogisticRegression(max_iter=1000).fit(scaler.transform(numbers), dataset.labels[train])

    def right(ids: np.ndarray) -> np.ndarray:
        return np.asarray(model.predict(scaler.transform(features(ids))) == dataset.labels[ids])

    splits = {split: dataset.ids(split) for split in dataset.present_splits}
    return {split: _share(np.concatenate([right(part) for part in _parts(ids)])) for split, ids in splits.items()}


def _parts(rows: np.ndarray) -> list[np.ndarray]:
    return np.array_split(rows, -(-len(rows) // AT_ONCE))


def _share(right: np.ndarray) -> float:
    return round(float(right.mean()), 4)
