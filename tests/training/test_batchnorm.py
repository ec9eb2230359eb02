"""BatchNorm re-estimation: exact, layer by layer, streamed, dropout off, weights untouched."""

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from cnnstudy.nets import build, specs
from cnnstudy.training import batchnorm, pipeline, predict

IMAGES = np.random.default_rng(0).random((37, 16, 16, 3), np.float32)
LAYERS = (
    specs.Conv(4, 3), specs.BatchNorm(), specs.Relu(), specs.Dropout(0.5), specs.MaxPool("valid"),
    specs.Conv(6, 3), specs.BatchNorm(), specs.Relu(), specs.Flatten(), specs.Dense(5), specs.BatchNorm(),
    specs.Dense(3, activation="softmax"),
)  # fmt: skip


@pytest.fixture
def model() -> keras.Sequential:
    keras.utils.set_random_seed(3)
    return build.build(LAYERS, 16)


def batches(size: int) -> list[np.ndarray]:
    return [IMAGES[start : start + size] for start in range(0, len(IMAGES), size)]


def statistics(model: keras.Sequential) -> list[np.ndarray]:
    norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    return [np.asarray(value) for layer in norms for value in (layer.moving_mean, layer.moving_variance)]


def test_statistics_are_those_of_each_layers_input_with_the_layers_before_it_corrected(model: keras.Sequential) -> None:
    batchnorm.recalibrate(model, lambda: iter(batches(8)))
    values = tf.constant(IMAGES)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            axes = tuple(range(len(values.shape) - 1))
            np.testing.assert_allclose(layer.moving_mean, values.numpy().mean(axis=axes), rtol=1e-4, atol=1e-6)
            np.testing.assert_allclose(layer.moving_variance, values.numpy().var(axis=axes), rtol=1e-4, atol=1e-6)
        values = layer(values, training=False)


def test_it_says_what_the_net_then_answers(model: keras.Sequential) -> None:
    found = batchnorm.recalibrate(model, lambda: iter(batches(8)))
    np.testing.assert_allclose(found, model(IMAGES, training=False), atol=1e-5)


def test_statistics_of_values_far_from_zero_keep_their_digits() -> None:
    values = np.random.default_rng(1).normal(1000, 1, (37, 16, 16, 3)).astype(np.float32)
    net = keras.Sequential([keras.Input((16, 16, 3)), keras.layers.BatchNormalization()])
    batchnorm.recalibrate(net, lambda: iter(np.array_split(values, 5)))
    exact = values.astype(np.float64)
    np.testing.assert_allclose(net.layers[0].moving_mean, exact.mean(axis=(0, 1, 2)), rtol=1e-6)
    np.testing.assert_allclose(net.layers[0].moving_variance, exact.var(axis=(0, 1, 2)), rtol=1e-5)


def test_a_graph_is_made_once_however_many_images_come(model: keras.Sequential) -> None:
    made = []

    def answers(images: tf.Tensor) -> tf.Tensor:
        made.append(images.shape)
        return batchnorm.forward(model.layers, images)

    graph = batchnorm.in_graph(answers, tf.TensorSpec((None, 16, 16, 3)))
    found = np.concatenate([graph(batch).numpy() for batch in batches(8)])
    np.testing.assert_allclose(found, model(IMAGES, training=False), atol=1e-6)
    assert len(made) == 1


def test_the_batch_size_does_not_matter(model: keras.Sequential) -> None:
    batchnorm.recalibrate(model, lambda: iter(batches(8)))
    small = statistics(model)
    batchnorm.recalibrate(model, lambda: iter(batches(37)))
    for one, other in zip(small, statistics(model), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)


def test_computing_activations_anew_gives_the_same_as_keeping_them(
    model: keras.Sequential, monkeypatch: pytest.MonkeyPatch
) -> None:
    batchnorm.recalibrate(model, lambda: iter(batches(8)))
    kept = statistics(model)
    monkeypatch.setattr(batchnorm, "KEPT_BYTES", 0)
    batchnorm.recalibrate(model, lambda: iter(batches(8)))
    for one, other in zip(kept, statistics(model), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6)


def test_weights_are_untouched(model: keras.Sequential) -> None:
    before = [weight.numpy().copy() for weight in model.trainable_weights]
    batchnorm.recalibrate(model, lambda: iter(batches(8)))
    for old, weight in zip(before, model.trainable_weights, strict=True):
        np.testing.assert_array_equal(old, weight.numpy())


def test_frozen_layers_keep_their_statistics_in_every_mode() -> None:
    keras.utils.set_random_seed(3)
    model = build.build(LAYERS, 16, frozen=5)
    before = statistics(model)
    batch = batchnorm.forward_with_batch_statistics(model.layers[:5], IMAGES).numpy()
    np.testing.assert_array_equal(batch, batchnorm.forward(model.layers[:5], IMAGES).numpy())
    batchnorm.recalibrate(model, lambda: iter(batches(8)))
    for old, new in zip(before[:2], statistics(model)[:2], strict=True):
        np.testing.assert_array_equal(old, new)
    assert all(not np.array_equal(old, new) for old, new in zip(before[2:], statistics(model)[2:], strict=True))


def test_half_the_bits_have_the_same_statistics(model: keras.Sequential) -> None:
    half = build.build(LAYERS, 16, "mixed_bfloat16")
    half.set_weights(model.get_weights())
    one, other = (batchnorm.forward_with_batch_statistics(net.layers, IMAGES).numpy() for net in (model, half))
    np.testing.assert_allclose(one, other, atol=0.05)


def test_after_recalibration_over_one_batch_inference_equals_batch_statistics(model: keras.Sequential) -> None:
    batch = batchnorm.forward_with_batch_statistics(model.layers, IMAGES).numpy()
    before = model(IMAGES, training=False).numpy()
    assert np.abs(batch - before).max() > 0.01
    batchnorm.recalibrate(model, lambda: iter([IMAGES]))
    np.testing.assert_allclose(model(IMAGES, training=False).numpy(), batch, atol=1e-4)


def test_batch_statistics_leave_the_moving_ones_alone(model: keras.Sequential) -> None:
    before = statistics(model)
    batchnorm.forward_with_batch_statistics(model.layers, IMAGES)
    for old, new in zip(before, statistics(model), strict=True):
        np.testing.assert_array_equal(old, new)


def training_rows(counts: tuple[int, ...]) -> pipeline.TrainingSet:
    """A training set of noise, each class that often."""
    n = sum(counts)
    rows = pd.DataFrame(
        {"split": "train", "operation": "original", "rotation": 0, "shift": 0.0, "flip": False}, range(n)
    )
    images = np.random.default_rng(0).integers(0, 256, (n, 16, 16, 3), dtype=np.uint8)
    return pipeline.TrainingSet(images, np.arange(n), np.repeat(np.arange(len(counts)), counts), rows)


def test_a_sample_has_each_class_in_proportion_and_follows_from_its_seed() -> None:
    data = training_rows((60, 30, 9, 1))
    rows = pipeline.sample_rows(data, 20, seed=1)
    assert np.bincount(data.labels[rows]).tolist() == [12, 6, 2, 1]
    assert (np.diff(rows) > 0).all()
    np.testing.assert_array_equal(rows, pipeline.sample_rows(data, 20, seed=1))
    assert not np.array_equal(rows, pipeline.sample_rows(data, 20, seed=2))
    np.testing.assert_array_equal(pipeline.sample_rows(data, 100, seed=1), np.arange(100))


@pytest.mark.parametrize("most", [40, 39, 10])
def test_statistics_are_those_of_the_sample_and_answers_are_to_all(
    model: keras.Sequential, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(predict, "SAMPLE", most)
    data = training_rows((20, 20))
    answers = predict.recalibrated(model, data, seed=3)
    found = statistics(model)
    everything = pipeline.scaled(data.images)
    np.testing.assert_allclose(answers, model(everything, training=False), atol=1e-5)
    batchnorm.recalibrate(model, lambda: iter([everything[pipeline.sample_rows(data, most, seed=3)]]))
    for one, other in zip(found, statistics(model), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)
