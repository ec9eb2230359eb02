"""What stands beside a net's accuracy: the largest class, a linear model, and an oracle that knows what was drawn."""

from collections.abc import Callable

import cv2
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from cnnstudy.data.samples import Dataset
from cnnstudy.data.specifications import Specification, as_numbers

THUMBNAIL = 16
# More training images than this change a linear model on so few numbers little, and its time much.
LARGEST_FIT = 20_000

Features = Callable[[np.ndarray], np.ndarray]


def baselines(dataset: Dataset, specifications: list[Specification]) -> dict[str, dict[str, float]]:
    """Accuracy on every split of what needs no net, all fitted on train: {name: {split: accuracy}}.

    `largest class` answers the class most frequent in train. `linear` is logistic regression on thumbnails of 16 x 16
    pixels. `oracle` is logistic regression on what the specifications say was drawn (strengths of action units; number,
    sum and largest density of patches), for drawn data only: what it misses, the picture does not tell either.
    """
    largest = np.bincount(dataset.labels[dataset.ids("train")]).argmax()
    found = {
        "largest class": {
            split: _share(dataset.labels[dataset.ids(split)] == largest) for split in dataset.present_splits
        },
        "linear": _logistic(dataset, lambda ids: thumbnails(dataset.images, ids)),
    }
    if specifications:
        shown = np.array([as_numbers(specification) for specification in specifications])
        found["oracle"] = _logistic(dataset, lambda ids: shown[ids])
    return found


def thumbnails(images: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """Images [N, H, W, 3], averaged to 16 x 16 pixels: float32 [len(ids), 768]."""
    side = (THUMBNAIL, THUMBNAIL)
    small = [cv2.resize(images[i].astype(np.float32), side, interpolation=cv2.INTER_AREA) for i in ids]
    return np.stack(small).reshape(len(ids), -1)


def _logistic(dataset: Dataset, features: Features) -> dict[str, float]:
    train = dataset.ids("train")
    if len(train) > LARGEST_FIT:
        train = np.sort(np.random.default_rng(0).choice(train, LARGEST_FIT, replace=False))
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    model.fit(features(train), dataset.labels[train])
    return {split: _scored(model, dataset, features, dataset.ids(split)) for split in dataset.present_splits}


def _scored(model: LogisticRegression, dataset: Dataset, features: Features, ids: np.ndarray) -> float:
    parts = np.array_split(ids, -(-len(ids) // LARGEST_FIT))
    return _share(np.concatenate([model.predict(features(part)) for part in parts]) == dataset.labels[ids])


def _share(right: np.ndarray) -> float:
    return round(float(right.mean()), 4)
