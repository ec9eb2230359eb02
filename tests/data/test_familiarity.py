"""Images unlike the training images: what is marked, and how often by false alarm."""

from pathlib import Path

import numpy as np
import pytest

from cnnstudy.data import familiarity
from cnnstudy.data.samples import Dataset

SIDE = 32


def scenes(count: int, seed: int) -> np.ndarray:
    """Return grey images that are darker to one side, at a random angle, with some noise."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:SIDE, :SIDE] / SIDE
    angles = rng.uniform(-0.5, 0.5, (count, 1, 1))
    light = 60 + 120 * (np.cos(angles) * x + np.sin(angles) * y) + rng.normal(0, 4, (count, SIDE, SIDE))
    return np.repeat(np.clip(light, 0, 255).astype(np.uint8)[..., None], 3, axis=-1)


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    splits = np.repeat(["train", "val", "test"], [300, 200, 400])
    return Dataset(scenes(900, 0), np.zeros(900, np.int64), splits, ("one",))


@pytest.fixture(scope="module")
def model(dataset: Dataset) -> familiarity.Familiarity:
    return familiarity.fit(dataset)


def test_the_rate_of_false_alarms_is_that_of_the_limit(model: familiarity.Familiarity, dataset: Dataset) -> None:
    shares = familiarity.shares(model, dataset)
    assert shares["val"] == familiarity.FALSE_ALARMS
    assert shares["test"] < 0.12  # a limit from 200 images, on 400 others


@pytest.mark.parametrize(
    "change",
    [
        lambda images: 255 - images,
        lambda images: images[:, :, ::-1],
        lambda images: np.random.default_rng(1).integers(0, 256, images.shape, np.uint8),
        lambda images: images * np.array([1, 0.5, 0.5]),
        lambda images: np.full_like(images, 128),
    ],
    ids=["inverted", "mirrored", "noise", "tinted", "blank"],
)
def test_other_images_are_marked(model: familiarity.Familiarity, change: object) -> None:
    assert callable(change)
    assert model.are_unlike(change(scenes(50, 2)).astype(np.uint8)).mean() > 0.9


def test_a_written_model_is_the_same_one(model: familiarity.Familiarity, tmp_path: Path) -> None:
    familiarity.write(model, tmp_path / "model.npz")
    np.testing.assert_array_equal(
        familiarity.read(tmp_path / "model.npz").scores(scenes(9, 3)), model.scores(scenes(9, 3))
    )


def test_few_images_are_enough_to_fit() -> None:
    model = familiarity.fit(Dataset(scenes(3, 4), np.zeros(3, np.int64), np.array(["train", "train", "val"]), ("one",)))
    assert np.isfinite(model.scores(scenes(2, 5))).all()
