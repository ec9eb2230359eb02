"""The faster layers compute what Keras's do: outputs, gradients, and the moments that they follow."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from cnnstudy.models import layers

SHAPES = [(6, 5, 4, 3), (7, 3), (1, 1, 1, 3)]


def twins(ours: keras.Layer, theirs: keras.Layer, shape: tuple[int, ...]) -> tuple[keras.Layer, keras.Layer]:
    for layer in (ours, theirs):
        layer.build(shape)
    random = np.random.default_rng(0)
    weights = [random.uniform(0.5, 1.5, weight.shape) for weight in ours.get_weights()]
    ours.set_weights(weights)
    theirs.set_weights(weights)
    return ours, theirs


def trained(layer: keras.Layer, inputs: tf.Tensor) -> list[np.ndarray]:
    """Its outputs for a batch, the gradients of a weighted sum of them, and its weights afterwards."""
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        outputs = tf.cast(layer(inputs, training=True), tf.float32)
        total = tf.reduce_sum(outputs * tf.reshape(tf.sin(tf.range(tf.size(outputs), dtype=tf.float32)), outputs.shape))
    gradients = tape.gradient(total, [inputs, *(weight.value for weight in layer.trainable_variables)])
    return [outputs.numpy(), *(tf.cast(each, tf.float32).numpy() for each in gradients), *layer.get_weights()]


def values(shape: tuple[int, ...], dtype: str = "float32") -> tf.Tensor:
    return tf.constant(np.random.default_rng(1).normal(2, 3, shape).astype(np.float32), dtype)


@pytest.mark.parametrize("shape", SHAPES)
def test_batchnorm_is_keras_s(shape: tuple[int, ...]) -> None:
    ours, theirs = twins(layers.BatchNormalization(), keras.layers.BatchNormalization(), shape)
    for found, expected in zip(trained(ours, values(shape)), trained(theirs, values(shape)), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=2e-5)
    np.testing.assert_allclose(ours(values(shape)), theirs(values(shape)), rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize("shape", SHAPES)
def test_batchnorm_by_batch_answers_as_in_training_and_follows_nothing(shape: tuple[int, ...]) -> None:
    ours, theirs = twins(layers.BatchNormalization(), keras.layers.BatchNormalization(), shape)
    before = ours.get_weights()
    expected = theirs(values(shape), training=True)
    np.testing.assert_allclose(ours.by_batch(values(shape)), expected, rtol=1e-4, atol=2e-5)
    for found, weight in zip(ours.get_weights(), before, strict=True):
        np.testing.assert_array_equal(found, weight)


@pytest.mark.parametrize("gpus", [[], ["a device"]])
def test_batchnorm_in_inference_is_the_operation_only_where_its_gradient_is_deterministic(
    gpus: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    layer, _ = twins(layers.BatchNormalization(), keras.layers.BatchNormalization(), SHAPES[0])
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: gpus)
    graph = tf.function(lambda inputs: layer(inputs, training=False)).get_concrete_function(values(SHAPES[0])).graph
    assert any("FusedBatchNorm" in operation.type for operation in graph.get_operations()) is not bool(gpus)


def test_batchnorm_in_half_the_bits_computes_in_float32() -> None:
    shape = SHAPES[0]
    ours, theirs = (
        kind(dtype="mixed_bfloat16") for kind in (layers.BatchNormalization, keras.layers.BatchNormalization)
    )
    twins(ours, theirs, shape)
    found, expected = (trained(each, values(shape, "bfloat16")) for each in (ours, theirs))
    assert ours(values(shape, "bfloat16"), training=True).dtype == tf.bfloat16
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-2, atol=2e-2)


def test_a_frozen_batchnorm_keeps_and_takes_its_moments() -> None:
    ours, theirs = twins(layers.BatchNormalization(), keras.layers.BatchNormalization(), SHAPES[0])
    ours.trainable = theirs.trainable = False
    before = ours.get_weights()
    found, expected = (each(values(SHAPES[0]), training=True) for each in (ours, theirs))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=2e-6)
    for found, expected in zip(ours.get_weights(), before, strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(("kernel", "stride", "bias"), [(1, 1, False), (1, 1, True), (1, 2, False), (3, 1, False)])
@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_convolution_is_keras_s(kernel: int, stride: int, bias: bool, policy: str) -> None:
    made = [
        kind(5, kernel, stride, "same", use_bias=bias, dtype=policy) for kind in (layers.Conv2D, keras.layers.Conv2D)
    ]
    ours, theirs = twins(made[0], made[1], SHAPES[0])
    tolerance = 1e-5 if policy == "float32" else 2e-2
    for found, expected in zip(trained(ours, values(SHAPES[0])), trained(theirs, values(SHAPES[0])), strict=True):
        np.testing.assert_allclose(found, expected, rtol=tolerance, atol=10 * tolerance)
    assert ours(values(SHAPES[0]), training=True).dtype == theirs(values(SHAPES[0]), training=True).dtype
    np.testing.assert_array_equal(ours(values(SHAPES[0])), theirs(values(SHAPES[0])))


@pytest.mark.parametrize("shape", [(6, 5, 4, 3), (7, 4, 3), (7, 3)])
@pytest.mark.parametrize("settings", [{"scale": False}, {"center": False}, {}])
def test_batchnorm_without_scale_or_shift_is_keras_s(shape: tuple[int, ...], settings: dict[str, bool]) -> None:
    ours, theirs = twins(layers.BatchNormalization(**settings), keras.layers.BatchNormalization(**settings), shape)
    for found, expected in zip(trained(ours, values(shape)), trained(theirs, values(shape)), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=2e-5)
    np.testing.assert_allclose(ours(values(shape)), theirs(values(shape)), rtol=1e-5, atol=2e-6)
