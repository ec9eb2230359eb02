"""Augmentation plans: exact copies, and random transforms with the distribution of ImageDataGenerator."""

import cv2
import numpy as np
import pandas as pd
import pytest

from cnnstudy.config.schema import Plan
from cnnstudy.data import plans

SPLITS = pd.DataFrame({"id": range(6), "split": ["train", "val", "train", "tune", "test", "train"]})


def ranges(rows: int, rotation: float, shift: float, flip: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return np.full(rows, rotation), np.full(rows, shift), np.full(rows, flip)


@pytest.mark.parametrize("level", range(5))
def test_a_level_adds_that_many_copies_of_training_images_only(level: int) -> None:
    plan = plans.make(Plan(level=level, rotation=0, shift=0.0, flip=False), SPLITS)
    train = plan[plan["split"] == "train"]
    assert train["operation"].tolist() == [name for name in plans.OPERATIONS[: level + 1] for _ in range(3)]
    assert sorted(train["id"]) == sorted([0, 2, 5] * (level + 1))
    assert set(plan.loc[plan["split"] == "tune", "id"]) == {3}
    assert not set(plan["id"]) & {1, 4}


def test_exact_copies_turn_counter_clockwise_and_flip_left_to_right() -> None:
    image = np.array([[1, 2], [3, 4]], np.uint8)
    turned = {name: plans.apply_exact(image, name).tolist() for name in plans.OPERATIONS}
    assert turned == {
        "original": [[1, 2], [3, 4]],
        "rotate90": [[2, 4], [1, 3]],
        "rotate180": [[4, 3], [2, 1]],
        "rotate270": [[3, 1], [4, 2]],
        "flip": [[2, 1], [4, 3]],
    }


def test_a_row_depends_on_seed_epoch_and_row_alone() -> None:
    few, many = (plans.random_transforms((3, 7), ranges(rows, 20, 0.1, 1), 64) for rows in (5, 50))
    np.testing.assert_array_equal(few, many[:5])
    for other in ((4, 7), (3, 8)):
        assert not np.array_equal(few, plans.random_transforms(other, ranges(5, 20, 0.1, 1), 64))


def test_without_ranges_nothing_moves() -> None:
    identity = np.tile(np.array([1, 0, 0, 0, 1, 0, 0, 0], np.float32), (4, 1))
    np.testing.assert_allclose(plans.random_transforms((0, 0), ranges(4, 0, 0, 0), 64), identity, atol=1e-5)


def test_rotation_shift_and_flip_are_uniform_in_their_ranges() -> None:
    size, rows = 64, 20_000
    moved = plans.random_transforms((0, 0), ranges(rows, 20, 0.1, 1), size).astype(float)
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
    transform = plans.random_transforms((1, 2), ranges(1, 20, 0.1, 1), 48)
    ours = tf.raw_ops.ImageProjectiveTransformV3(
        images=image[None], transforms=transform, output_shape=[48, 48], fill_value=0.0,
        interpolation="BILINEAR", fill_mode="NEAREST",
    )[0].numpy()  # fmt: skip
    matrix = np.append(transform[0], 1).reshape(3, 3)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    theirs = cv2.warpPerspective(image, matrix, (48, 48), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    np.testing.assert_allclose(ours, theirs, atol=0.02)
