"""Augmentation policies: exact copies, and random transforms with the distribution of ImageDataGenerator."""

import dataclasses

import cv2
import numpy as np
import pandas as pd
import pytest
from scipy import stats

from cnnstudy.config.schema import Policy
from cnnstudy.data import augment
from cnnstudy.data.samples import Dataset
from cnnstudy.training.pipeline import TrainingSet, training_batches, training_set

SPLITS = pd.DataFrame({"id": range(6), "split": ["train", "val", "train", "tune", "test", "train"]})


def ranges(rows: int, rotation: float, shift: float, flip: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return np.full(rows, rotation), np.full(rows, shift), np.full(rows, flip)


@pytest.mark.parametrize("level", range(5))
def test_a_level_adds_that_many_copies_of_training_images_only(level: int) -> None:
    table = augment.make(Policy(level=level, rotation=0, shift=0.0, flip=False), SPLITS)
    train = table[table["split"] == "train"]
    assert train["operation"].tolist() == [name for name in augment.OPERATIONS[: level + 1] for _ in range(3)]
    assert sorted(train["id"]) == sorted([0, 2, 5] * (level + 1))
    assert set(table.loc[table["split"] == "tune", "id"]) == {3}
    assert not set(table["id"]) & {1, 4}


def test_exact_copies_turn_counter_clockwise_and_flip_left_to_right() -> None:
    image = np.array([[1, 2], [3, 4]], np.uint8)
    turned = {name: augment.apply_exact(image, name).tolist() for name in augment.OPERATIONS}
    assert turned == {
        "original": [[1, 2], [3, 4]],
        "rotate90": [[2, 4], [1, 3]],
        "rotate180": [[4, 3], [2, 1]],
        "rotate270": [[3, 1], [4, 2]],
        "flip": [[2, 1], [4, 3]],
    }


def test_a_row_depends_on_seed_epoch_and_row_alone() -> None:
    few, many = (augment.random_transforms((3, 7), ranges(rows, 20, 0.1, 1), 64) for rows in (5, 50))
    np.testing.assert_array_equal(few, many[:5])
    for other in ((4, 7), (3, 8)):
        assert not np.array_equal(few, augment.random_transforms(other, ranges(5, 20, 0.1, 1), 64))


def test_without_ranges_nothing_moves() -> None:
    identity = np.tile(np.array([1, 0, 0, 0, 1, 0, 0, 0], np.float32), (4, 1))
    np.testing.assert_allclose(augment.random_transforms((0, 0), ranges(4, 0, 0, 0), 64), identity, atol=1e-5)


def test_rotation_shift_and_flip_are_uniform_in_their_ranges() -> None:
    size, rows = 64, 20_000
    moved = augment.random_transforms((0, 0), ranges(rows, 20, 0.1, 1), size).astype(float)
    mirrored = np.linalg.det(moved[:, [0, 1, 3, 4]].reshape(-1, 2, 2)) < 0
    assert mirrored.mean() == pytest.approx(0.5, abs=0.02)
    angle = np.degrees(np.arctan2(-moved[:, 1], moved[:, 4]))
    assert np.quantile(angle, [0, 0.25, 0.5, 0.75, 1]) == pytest.approx([-20, -10, 0, 10, 20], abs=0.5)
    centre = (size - 1) / 2
    right = moved[:, 0] * centre + moved[:, 1] * centre + moved[:, 2] - centre
    down = moved[:, 3] * centre + moved[:, 4] * centre + moved[:, 5] - centre
    for shift in (right, down):
        assert np.quantile(shift / size, [0, 0.5, 1]) == pytest.approx([-0.1, 0, 0.1], abs=0.005)
    assert abs(np.corrcoef([angle, right, down, mirrored])[np.triu_indices(4, 1)]).max() < 0.03


def test_tensorflow_reads_the_transforms_as_opencv_does() -> None:
    import tensorflow as tf

    image = cv2.GaussianBlur(np.random.default_rng(0).random((48, 48, 3), np.float32), (0, 0), 2)
    transform = augment.random_transforms((1, 2), ranges(1, 20, 0.1, 1), 48)
    ours = tf.raw_ops.ImageProjectiveTransformV3(
        images=image[None], transforms=transform, output_shape=[48, 48], fill_value=0.0,
        interpolation="BILINEAR", fill_mode="NEAREST",
    )[0].numpy()  # fmt: skip
    matrix = np.append(transform[0], 1).reshape(3, 3)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    theirs = cv2.warpPerspective(image, matrix, (48, 48), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    np.testing.assert_allclose(ours, theirs, atol=0.02)


KEY = (3, 7)
NOISE = np.random.default_rng(0).integers(0, 256, (6, 8, 8, 3)).astype(np.uint8)


def policy(**changes: float) -> Policy:
    return Policy.model_validate({"level": 0, "rotation": 0, "shift": 0.0, "flip": False, **changes})


def training(**changes: float) -> TrainingSet:
    """Six images of noise, of three classes, under a policy."""
    labels = np.arange(6) % 3
    dataset = Dataset(NOISE, labels, np.full(6, "train"), ("a", "b", "c"))
    splits = pd.DataFrame({"id": range(6), "split": "train"})
    return training_set(dataset, augment.make(policy(**changes), splits), "train")


def test_brightness_and_contrast_by_hand() -> None:
    images = np.full((3, 2, 2, 3), 100.0)
    uniform, share = np.array([[0.0, 0], [0.5, 0], [1, 0]]), np.array([0.2, 0.2, 0.1])
    lighter = augment.brightness(images, uniform, share)
    np.testing.assert_allclose(lighter[:, 0, 0, 0], [100 - 51, 100, 100 + 25.5])
    steeper = augment.contrast(images, uniform, share)
    np.testing.assert_allclose(steeper[:, 0, 0, 0], [127.5 - 27.5 * 0.8, 100, 127.5 - 27.5 * 1.1])
    assert (lighter == lighter[:, :1, :1, :1]).all()


def test_cutout_is_a_grey_square_that_the_edge_may_cut_off() -> None:
    images = np.zeros((3, 8, 8, 3))
    centres, share = np.array([[0.5, 0.25], [0, 1], [0.5, 0.5]]), np.array([0.5, 0.5, 0.0])
    cut = augment.cutout(images, centres, share)
    expected = np.zeros((3, 8, 8))
    expected[0, 0:4, 2:6] = expected[1, 6:8, 0:2] = 127.5  # rows are y
    np.testing.assert_array_equal(cut, np.repeat(expected[..., None], 3, axis=-1))


def test_a_crop_enlarges_a_square_that_lies_inside_the_image() -> None:
    size, rows = 64, 5000
    identity = augment.random_transforms(KEY, ranges(rows, 0, 0, 0), size)
    cropped = augment.crop(identity, KEY, np.full(rows, 0.4), size).astype(float)
    side = cropped[:, 0]
    assert np.quantile(side, [0, 0.5, 1]) == pytest.approx([0.6, 0.8, 1], abs=0.02)
    np.testing.assert_allclose(cropped[:, 4], side)
    np.testing.assert_array_equal(cropped[:, [1, 3, 6, 7]], 0)
    for offset in (cropped[:, 2], cropped[:, 5]):  # where the edge of the first pixel, and of the last, comes from
        first, last = offset - side / 2, offset + side * (size - 0.5)
        assert first.min() > -0.5 - 1e-3
        assert last.max() < size - 0.5 + 1e-3
        assert np.corrcoef(first, last)[0, 1] < 0.5
    np.testing.assert_array_equal(augment.crop(identity, KEY, np.zeros(rows), size), identity)


def test_a_crop_comes_before_a_turn() -> None:
    """The crop takes output pixels to those of the turned image, and the turn those to the original's."""
    turned = augment.random_transforms(KEY, ranges(1, 90, 0, 0), 64)
    both = augment.crop(turned, KEY, np.array([0.5]), 64)
    alone = augment.crop(augment.random_transforms(KEY, ranges(1, 0, 0, 0), 64), KEY, np.array([0.5]), 64)
    turn, cut, found = (np.append(each[0], 1).reshape(3, 3) for each in (turned, alone, both))
    np.testing.assert_allclose(found, turn @ cut, atol=1e-4)


@pytest.mark.parametrize("name", ["brightness", "contrast", "cutout", "crop", "mixing"])
def test_a_change_follows_from_seed_epoch_and_row(name: str) -> None:
    few, many = (augment.random_numbers(KEY, name, (rows, 2)) for rows in (5, 50))
    np.testing.assert_array_equal(few, many[:5])
    for other in ((4, 7), (3, 8)):
        assert not np.array_equal(few, augment.random_numbers(other, name, (5, 2)))
    assert not any(
        np.array_equal(few, augment.random_numbers(KEY, other, (5, 2))) for other in augment.STREAMS if other != name
    )


@pytest.mark.parametrize("name", augment.PIXELS)
def test_pixels_change_alike_in_any_batch(name: str) -> None:
    data = training(**{name: 0.5})
    whole = data.changed(np.arange(6), *KEY)
    assert whole.dtype == np.uint8
    assert not np.array_equal(whole, NOISE)
    np.testing.assert_array_equal(data.changed(np.array([4, 1]), *KEY), whole[[4, 1]])
    assert not np.array_equal(data.changed(np.arange(6), 3, 8), whole)


def test_what_is_off_leaves_every_byte() -> None:
    data = training()
    assert not data.is_random
    np.testing.assert_array_equal(data.changed(np.arange(6), *KEY), NOISE)
    images = [images.numpy() for (images, _), _ in training_batches(data, 6, *KEY)]
    order = np.random.Generator(np.random.Philox(key=list(KEY))).permutation(6)
    np.testing.assert_array_equal(np.concatenate(images), NOISE[order])


@pytest.mark.parametrize("other", [*augment.PIXELS, "crop", "mixing"])
def test_one_change_leaves_the_numbers_of_another(other: str) -> None:
    if other != "crop":  # which is a part of the same transform
        alone, both = training(rotation=20, flip=True), training(rotation=20, flip=True, **{other: 0.3})
        np.testing.assert_array_equal(both.transforms(*KEY), alone.transforms(*KEY))
    if other not in augment.PIXELS:  # which change the same pixels
        alone, both = training(brightness=0.3, cutout=0.3), training(brightness=0.3, cutout=0.3, **{other: 0.3})
        np.testing.assert_array_equal(both.changed(np.arange(6), *KEY), alone.changed(np.arange(6), *KEY))


def test_brightness_draws_the_same_whether_contrast_is_on(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[np.ndarray] = []

    def noted(images: np.ndarray, uniform: np.ndarray, share: np.ndarray) -> np.ndarray:
        drawn.append(uniform)
        return images

    monkeypatch.setitem(augment.CHANGES, "brightness", noted)
    for data in (training(brightness=0.3), training(brightness=0.3, contrast=0.2, cutout=0.2, mixing=0.2)):
        data.changed(np.arange(6), *KEY)
    np.testing.assert_array_equal(drawn[0], drawn[1])


def test_shares_of_mixing_have_the_beta_distribution() -> None:
    partner, share = augment.mixing((0, 0), np.full(20_000, 0.4))
    grid = np.linspace(0.01, 0.99, 50)
    found = (share[:, None] <= grid).mean(axis=0)
    np.testing.assert_allclose(found, stats.beta.cdf(grid, 0.4, 0.4), atol=0.02)
    assert partner.min() >= 0
    assert partner.max() < 20_000
    assert abs(np.corrcoef(partner, share)[0, 1]) < 0.03
    np.testing.assert_array_equal(augment.mixing((0, 0), np.zeros(5))[1], 1)


@pytest.mark.parametrize("strength", [0.2, 2.0])
def test_a_mixed_image_and_its_label_are_shares_of_two(strength: float) -> None:
    data = training(mixing=strength)
    rows = np.array([4, 0, 2])
    images, labels = data.mixed(rows, *KEY, outputs=3)
    partner, share = (each[rows] for each in augment.mixing(KEY, np.full(6, strength)))
    np.testing.assert_allclose(labels.sum(axis=1), 1, rtol=1e-6)
    for row, image, label, other, weight in zip(rows, images, labels, partner, share, strict=True):
        expected = weight * NOISE[row].astype(float) + (1 - weight) * NOISE[other]
        assert np.abs(image - expected).max() <= 0.5 + 1e-3
        by_hand = np.zeros(3)
        by_hand[row % 3] += weight
        by_hand[other % 3] += 1 - weight
        np.testing.assert_allclose(label, by_hand, rtol=1e-5)
    assert images.dtype == np.uint8


def test_of_two_classes_a_mixed_label_is_the_second_ones_share_or_both() -> None:
    data = dataclasses.replace(training(mixing=1.0), labels=np.arange(6) % 2)
    partner, share = augment.mixing(KEY, np.full(6, 1.0))
    expected = share * (np.arange(6) % 2) + (1 - share) * (partner % 2)
    for outputs in (1, 2):
        _, labels = data.mixed(np.arange(6), *KEY, outputs=outputs)
        assert labels.shape == (6, outputs)
        np.testing.assert_allclose(labels[:, -1], expected, rtol=1e-5)
