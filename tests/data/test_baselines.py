"""Baselines that are reported beside a net's accuracy."""

import numpy as np
import pytest

from cnnstudy.data.audit import baselines
from cnnstudy.data.samples import Dataset
from cnnstudy.data.synth import xrays


def dataset(labels: np.ndarray, images: np.ndarray) -> Dataset:
    splits = np.resize(np.array(["train", "train", "train", "val"], dtype=object), len(labels))
    return Dataset(images, labels, splits, ("a", "b"))


def test_the_largest_class_is_train_s() -> None:
    labels = np.array([0, 0, 1, 1] * 5)
    found = baselines.baselines(dataset(labels, np.zeros((20, 20, 20, 3), np.uint8)), None)
    assert found["largest_class"] == {"train": 0.6667, "val": 0.0}
    assert set(found) == {"largest_class", "linear"}


@pytest.mark.parametrize("size", [16, 20, 50])
def test_a_linear_model_sees_brightness_and_no_more(size: int) -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 200)
    noise = rng.integers(0, 60, (200, size, size, 3), dtype=np.uint8)
    assert baselines.baselines(dataset(labels, noise), None)["linear"]["val"] < 0.75
    told = noise + (100 * labels[:, None, None, None]).astype(np.uint8)
    assert baselines.baselines(dataset(labels, told), None)["linear"]["val"] == 1.0


def test_a_large_set_is_fitted_on_a_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(baselines, "LARGEST_FIT", 40)
    labels = np.arange(200) % 2
    images = np.broadcast_to((100 * labels[:, None, None, None]).astype(np.uint8), (200, 16, 16, 3))
    assert baselines.baselines(dataset(labels, images), None)["linear"] == {"train": 1.0, "val": 1.0}


def test_the_oracle_knows_what_was_generated() -> None:
    labels = np.array([0, 1, 1, 0, 1] * 20)
    shown = np.array([xrays.as_numbers({"patches": [{"density": 0.5}] * int(3 * label)}) for label in labels])
    found = baselines.baselines(dataset(labels, np.zeros((100, 16, 16, 3), np.uint8)), shown)
    assert found["oracle"] == {"train": 1.0, "val": 1.0}
