"""BatchNorm re-estimation: exact, layer by layer, streamed, dropout off, weights untouched."""

from collections.abc import Callable
from functools import partial
from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from cnnstudy.data import augment
from cnnstudy.models import assemble, graph
from cnnstudy.training import batchnorm, inference, pipeline

IMAGES = np.random.default_rng(0).random((37, 16, 16, 3), np.float32)


def plain() -> keras.Model:
    layers = keras.layers
    inputs = x = keras.Input((16, 16, 3))
    for layer in (
        layers.Conv2D(4, 3, padding="same", use_bias=False), layers.BatchNormalization(), layers.Activation("relu"),
        layers.Dropout(0.5), layers.MaxPooling2D(2), layers.Conv2D(6, 3, padding="same", use_bias=False),
        layers.BatchNormalization(), layers.Activation("relu"), layers.Flatten(), layers.Dense(5, use_bias=False),
        layers.BatchNormalization(), layers.Dense(3, "softmax"),
    ):  # fmt: skip
        x = layer(x)
    return keras.Model(inputs, x)


@pytest.fixture
def model() -> keras.Model:
    made = plain()
    keras.utils.set_random_seed(3)
    return assemble.faster(made)


def batches(size: int) -> list[np.ndarray]:
    return [IMAGES[start : start + size] for start in range(0, len(IMAGES), size)]


def loaders(batches: list[np.ndarray]) -> list[Callable[[], np.ndarray]]:
    return [partial(np.asarray, batch) for batch in batches]


def statistics(model: keras.Model) -> list[np.ndarray]:
    norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    return [np.asarray(value) for layer in norms for value in (layer.moving_mean, layer.moving_variance)]


def test_statistics_are_those_of_each_layers_input_with_the_layers_before_it_corrected(model: keras.Model) -> None:
    batchnorm.recalibrate(graph.trace(model), loaders(batches(8)))
    values = tf.constant(IMAGES)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            axes = tuple(range(len(values.shape) - 1))
            np.testing.assert_allclose(layer.moving_mean, values.numpy().mean(axis=axes), rtol=1e-4, atol=1e-6)
            np.testing.assert_allclose(layer.moving_variance, values.numpy().var(axis=axes), rtol=1e-4, atol=1e-6)
        if not isinstance(layer, keras.layers.InputLayer):
            values = layer(values, training=False)


GRAPHS = [
    ("resnet18", {"width": 0.1}),
    *(("applications", {"name": name}) for name in ("MobileNetV3Small", "EfficientNetB0")),
]


@pytest.mark.parametrize("kept", [batchnorm.CACHED_BYTES, pytest.param(0, marks=pytest.mark.slow), 3_000_000])
@pytest.mark.parametrize(("name", "options"), GRAPHS)
def test_in_a_graph_statistics_are_those_of_each_layers_input_too(
    name: str, options: dict[str, Any], kept: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batchnorm, "CACHED_BYTES", kept)
    net = assemble.build(assemble.Design(name, tuple(options.items()), 32, 3), seed=1)
    images = np.random.default_rng(0).random((12, 32, 32, 3), np.float32)
    found = batchnorm.recalibrate(graph.trace(net), loaders(np.array_split(images, 3)))
    norms = [layer for layer in net.layers if isinstance(layer, keras.layers.BatchNormalization)]
    inputs = keras.Model(net.input, [layer.input for layer in norms])(images, training=False)
    assert len(norms) > 15
    for layer, values in zip(norms, inputs, strict=True):
        exact = values.numpy().astype(np.float64)
        mean, variance = exact.mean(axis=(0, 1, 2)), exact.var(axis=(0, 1, 2))
        tolerance = 1e-4 * np.sqrt(variance.max()) + 1e-6
        np.testing.assert_allclose(layer.moving_mean, mean, rtol=1e-3, atol=tolerance, err_msg=layer.name)
        np.testing.assert_allclose(
            layer.moving_variance, variance, rtol=2e-3, atol=1e-4 * variance.max(), err_msg=layer.name
        )
    np.testing.assert_allclose(found, net(images, training=False), atol=1e-4)


def test_memory_left_is_used_so_that_no_batch_goes_through_a_layer_twice(
    model: keras.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[str] = []
    whole = graph.run

    def noted(steps: tuple[graph.Step, ...], *arguments: Any) -> graph.Values:
        ran.extend(step.operation.name for step in steps)
        return whole(steps, *arguments)

    monkeypatch.setattr(graph, "run", noted)
    batchnorm.recalibrate(graph.trace(model), loaders([IMAGES]))
    assert ran == [layer.name for layer in model.layers[1:]]


def test_it_says_what_the_net_then_answers(model: keras.Model) -> None:
    found = batchnorm.recalibrate(graph.trace(model), loaders(batches(8)))
    np.testing.assert_allclose(found, model(IMAGES, training=False), atol=1e-5)


def test_statistics_of_values_far_from_zero_keep_their_digits() -> None:
    values = np.random.default_rng(1).normal(1000, 1, (37, 16, 16, 3)).astype(np.float32)
    net = keras.Sequential([keras.Input((16, 16, 3)), keras.layers.BatchNormalization()])
    batchnorm.recalibrate(graph.trace(net), loaders(np.array_split(values, 5)))
    exact = values.astype(np.float64)
    np.testing.assert_allclose(net.layers[0].moving_mean, exact.mean(axis=(0, 1, 2)), rtol=1e-6)
    np.testing.assert_allclose(net.layers[0].moving_variance, exact.var(axis=(0, 1, 2)), rtol=1e-5)


def test_a_graph_is_made_once_however_many_images_come(model: keras.Model) -> None:
    made = []

    def answers(images: tf.Tensor) -> tf.Tensor:
        made.append(images.shape)
        outputs: tf.Tensor = model(images, training=False)
        return outputs

    traced = batchnorm.in_graph(answers, tf.TensorSpec((None, 16, 16, 3)))
    found = np.concatenate([traced(batch).numpy() for batch in batches(8)])
    np.testing.assert_allclose(found, model(IMAGES, training=False), atol=1e-6)
    assert len(made) == 1


def test_the_batch_size_does_not_matter(model: keras.Model) -> None:
    batchnorm.recalibrate(graph.trace(model), loaders(batches(8)))
    small = statistics(model)
    batchnorm.recalibrate(graph.trace(model), loaders(batches(37)))
    for one, other in zip(small, statistics(model), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)


def test_less_memory_costs_time_and_changes_nothing(model: keras.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    runs: list[int] = []
    whole = graph.run

    def counted(steps: tuple[graph.Step, ...], *arguments: Any) -> graph.Values:
        runs[-1] += len(steps)
        return whole(steps, *arguments)

    monkeypatch.setattr(graph, "run", counted)
    expected: list[np.ndarray] | None = None
    # The activations before the first BatchNorm take 4,096 bytes an image, those before the second 1,536.
    for limit in (1 << 20, 8 * 4096, 8 * 1536, 0):
        monkeypatch.setattr(batchnorm, "CACHED_BYTES", limit)
        runs.append(0)
        batchnorm.recalibrate(graph.trace(model), loaders(batches(8)))
        found = statistics(model)
        expected = expected or found
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_array_equal(one, other)
    assert runs == sorted(set(runs))


def test_weights_are_untouched(model: keras.Model) -> None:
    before = [weight.numpy().copy() for weight in model.trainable_weights]
    batchnorm.recalibrate(graph.trace(model), loaders(batches(8)))
    for old, weight in zip(before, model.trainable_weights, strict=True):
        np.testing.assert_array_equal(old, weight.numpy())


def test_frozen_layers_keep_their_statistics_in_every_mode() -> None:
    keras.utils.set_random_seed(3)
    model = assemble.faster(plain())
    assemble.freeze(model, 5)
    before = statistics(model)
    frozen = graph.trace(keras.Model(model.input, model.layers[5].output))
    batch = batchnorm.forward_with_batch_statistics(frozen, tf.constant(IMAGES)).numpy()
    np.testing.assert_array_equal(
        batch, graph.run(frozen.steps, {frozen.input: tf.constant(IMAGES)}, {frozen.output})[frozen.output]
    )
    batchnorm.recalibrate(graph.trace(model), loaders(batches(8)))
    for old, new in zip(before[:2], statistics(model)[:2], strict=True):
        np.testing.assert_array_equal(old, new)
    assert all(not np.array_equal(old, new) for old, new in zip(before[2:], statistics(model)[2:], strict=True))


def test_half_the_bits_have_the_same_statistics(model: keras.Model) -> None:
    half = assemble.faster(plain(), "mixed_bfloat16")
    half.set_weights(model.get_weights())
    one, other = (batchnorm.forward_with_batch_statistics(graph.trace(net), IMAGES).numpy() for net in (model, half))
    np.testing.assert_allclose(one, other, atol=0.05)


def test_after_recalibration_over_one_batch_inference_equals_batch_statistics(model: keras.Model) -> None:
    batch = batchnorm.forward_with_batch_statistics(graph.trace(model), IMAGES).numpy()
    before = model(IMAGES, training=False).numpy()
    assert np.abs(batch - before).max() > 0.01
    batchnorm.recalibrate(graph.trace(model), loaders([IMAGES]))
    np.testing.assert_allclose(model(IMAGES, training=False).numpy(), batch, atol=1e-4)


def test_batch_statistics_leave_the_moving_ones_alone(model: keras.Model) -> None:
    before = statistics(model)
    batchnorm.forward_with_batch_statistics(graph.trace(model), IMAGES)
    for old, new in zip(before, statistics(model), strict=True):
        np.testing.assert_array_equal(old, new)


def training_rows(counts: tuple[int, ...]) -> pipeline.TrainingSet:
    """A training set of noise, each class that often."""
    n = sum(counts)
    rows = pd.DataFrame({"split": "train", "operation": "original", **dict.fromkeys(augment.RANGES, 0.0)}, range(n))
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
    model: keras.Model, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inference, "SAMPLE", most)
    data = training_rows((20, 20))
    answers = inference.recalibrated(model, data, seed=3)
    found = statistics(model)
    everything = pipeline.scaled(data.images)
    np.testing.assert_allclose(answers, model(everything, training=False), atol=1e-5)
    batchnorm.recalibrate(graph.trace(model), loaders([everything[pipeline.sample_rows(data, most, seed=3)]]))
    for one, other in zip(found, statistics(model), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)
