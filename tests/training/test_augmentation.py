"""Input of a net: images scaled, and in training transformed as by ImageDataGenerator."""

import numpy as np
import pytest
import tensorflow as tf
from scipy import ndimage

from cnnstudy.data import augment
from cnnstudy.training import pipeline
from cnnstudy.training.augmentation import Augmentation, transformed, transformed_by_gathering

SIDE = 24


def noise_images(count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, SIDE, SIDE, 3)).astype(np.uint8)


def transforms(count: int, rotation: float = 20, shift: float = 0.1, flip: bool = True) -> np.ndarray:
    ranges = (np.full(count, rotation), np.full(count, shift), np.full(count, flip))
    return augment.random_transforms((0, 0), ranges, SIDE)


def test_gathering_moves_as_the_operation_does() -> None:
    images = tf.constant(noise_images(50) / 255, tf.float32)
    drawn = transforms(50, rotation=60, shift=0.4)
    np.testing.assert_allclose(transformed_by_gathering(images, drawn), transformed(images, drawn), atol=2e-4)


@pytest.mark.parametrize("move", [transformed, transformed_by_gathering])
def test_a_move_is_scipy_s_affine_transform_with_the_nearest_pixel_outside(move: object) -> None:
    images = (noise_images(8) / 255).astype(np.float32)
    drawn = transforms(8)
    found = np.asarray(move(tf.constant(images), drawn))  # type: ignore[operator]
    for image, (a, b, x, c, d, y, *_), result in zip(images, drawn, found, strict=True):
        for channel in range(3):
            expected = ndimage.affine_transform(image[..., channel], [[d, c], [b, a]], (y, x), order=1, mode="nearest")
            np.testing.assert_allclose(result[..., channel], expected, atol=2e-4)


def test_a_cpu_moves_bytes_as_the_operation_does() -> None:
    images, drawn = noise_images(20), transforms(20)
    smooth = ndimage.uniform_filter(images, (1, 5, 5, 1))  # OpenCV rounds places to 1/32 of a pixel
    expected = transformed(tf.constant(smooth, tf.float32), drawn).numpy()
    pipeline.transform_images(smooth, drawn)
    assert np.abs(smooth - expected).max() < 3
    assert np.abs(smooth - expected).mean() < 0.5


@pytest.mark.parametrize("is_compiled", [False, True])
def test_images_are_moved_in_training_only(is_compiled: bool) -> None:
    images, drawn = noise_images(6), transforms(6)
    layer = Augmentation(True, is_compiled)
    scaled = images.astype(np.float32) / np.float32(255)
    np.testing.assert_array_equal(layer([images, drawn], training=False), scaled)
    assert np.abs(np.asarray(layer([images, drawn], training=True)) - scaled).max() > 0.2
    np.testing.assert_array_equal(Augmentation(False, is_compiled)([images, drawn], training=True), scaled)


def test_the_compiled_kind_compiles() -> None:
    layer = Augmentation(True, True)
    compiled = tf.function(lambda images, drawn: layer([images, drawn], training=True), jit_compile=True)
    images, drawn = tf.constant(noise_images(4)), tf.constant(transforms(4))
    np.testing.assert_allclose(compiled(images, drawn), layer([images, drawn], training=True), atol=1e-4)


@pytest.mark.parametrize("is_compiled", [False, True])
@pytest.mark.parametrize("operation", augment.OPERATIONS)
def test_an_exact_copy_as_a_transform_has_the_same_pixels(operation: str, is_compiled: bool) -> None:
    images = noise_images(3)
    layer = Augmentation(True, is_compiled, images)
    found = layer([np.array([2, 0], np.int32), augment.exact_transforms(np.repeat(operation, 2), SIDE)], training=True)
    expected = np.stack([augment.apply_exact(images[i], operation) for i in (2, 0)]).astype(np.float32) / np.float32(
        255
    )
    np.testing.assert_array_equal(found, expected)


def test_composed_transforms_change_an_image_as_one_after_the_other() -> None:
    smooth = ndimage.uniform_filter(noise_images(20) / 255, (1, 5, 5, 1)).astype(np.float32)
    exact = augment.exact_transforms(np.repeat("rotate90", 20), SIDE)
    copies = tf.constant(np.stack([augment.apply_exact(image, "rotate90") for image in smooth]))
    found = transformed(tf.constant(smooth), augment.composed(exact, transforms(20)))
    np.testing.assert_allclose(found, transformed(copies, transforms(20)), atol=2e-4)


def test_the_moves_are_distributed_as_image_data_generator_s() -> None:
    """Angles, shifts along both axes and flips, of 4,000 draws each, by Kolmogorov and Smirnov's distance."""
    theirs = tf.keras.preprocessing.image.ImageDataGenerator(
        rotation_range=20, width_shift_range=0.1, height_shift_range=0.1, horizontal_flip=True
    )
    drawn = [theirs.get_random_transform((SIDE, SIDE, 3), seed) for seed in range(4_000)]
    rows = transforms(4_000).T.astype(float)
    mirror = np.sign(rows[0])
    angles = np.degrees(np.arctan2(rows[3] * mirror, rows[4]))
    # What is read for the centre tells the shifts.
    centre = (SIDE - 1) / 2
    across, down = (each[2] + (each[0] + each[1] - 1) * centre for each in (rows[:3], rows[3:6]))
    for ours, name in ((angles, "theta"), (across, "ty"), (down, "tx")):
        values = np.array([each[name] for each in drawn])
        grid = np.linspace(values.min(), values.max(), 50)
        shares = [(np.asarray(sample)[:, None] <= grid).mean(axis=0) for sample in (ours, values)]
        assert np.abs(shares[0] - shares[1]).max() < 0.04, name
    assert abs((mirror < 0).mean() - np.mean([each["flip_horizontal"] for each in drawn])) < 0.04
