"""The faster layers compute what Keras's do: outputs, gradients, and the moments that they follow."""

from typing import Any

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
    """A layer's outputs for a batch, the gradients of a weighted sum of the outputs, and the weights afterwards."""
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


@pytest.mark.parametrize(
    ("kernel", "stride", "options"),
    [(1, 1, {"use_bias": False}), (1, 1, {"activation": "swish"}), (1, 2, {"use_bias": False}), (3, 1, {}),
     (1, 1, {"groups": 2})],
)  # fmt: skip
@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_convolution_is_keras_s(kernel: int, stride: int, options: dict[str, Any], policy: str) -> None:
    shape = (6, 5, 4, 16)  # with fewer channels and a stride, Keras's own may crash
    kinds = layers.Conv2D, keras.layers.Conv2D
    made = [kind(6, kernel, stride, "same", dtype=policy, **options) for kind in kinds]
    ours, theirs = twins(made[0], made[1], shape)
    tolerance = 1e-5 if policy == "float32" else 2e-2
    for found, expected in zip(trained(ours, values(shape)), trained(theirs, values(shape)), strict=True):
        scale = max(1.0, np.abs(expected).max())
        np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance * scale)
    assert ours(values(shape), training=True).dtype == theirs(values(shape), training=True).dtype
    np.testing.assert_array_equal(ours(values(shape)), theirs(values(shape)))


@pytest.mark.parametrize("side", [32, 33])
def test_a_strided_convolution_of_few_channels_has_its_gradient(side: int) -> None:
    layer = layers.Conv2D(13, 1, 2, "same", use_bias=False)
    inputs = values((3, side, side, 6))
    layer.build(inputs.shape)
    for _ in range(20):  # oneDNN's own crashes in most of such runs
        outputs, _, kernel, _ = trained(layer, inputs)
    weights = np.sin(np.arange(outputs.size, dtype=np.float32)).reshape(outputs.shape)
    expected = np.einsum("bhwi,bhwo->io", inputs.numpy()[:, ::2, ::2], weights)
    np.testing.assert_allclose(kernel[0, 0], expected, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("shape", [(6, 5, 4, 3), (7, 4, 3), (7, 3)])
@pytest.mark.parametrize("settings", [{"scale": False}, {"center": False}, {}])
def test_batchnorm_without_scale_or_shift_is_keras_s(shape: tuple[int, ...], settings: dict[str, bool]) -> None:
    ours, theirs = twins(layers.BatchNormalization(**settings), keras.layers.BatchNormalization(**settings), shape)
    for found, expected in zip(trained(ours, values(shape)), trained(theirs, values(shape)), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=2e-5)
    np.testing.assert_allclose(ours(values(shape)), theirs(values(shape)), rtol=1e-5, atol=2e-6)


POOLS = [(2, 2, "same"), (2, 2, "valid"), (3, 2, "same"), (3, 2, "valid"), (3, 1, "same"), ((1, 3), (1, 2), "valid")]
KERNELS = [(3, 1, "same"), (3, 2, "same"), (3, 2, "valid"), (5, 1, "valid")]
SIDES = [(8, 8), (7, 9), (5, 6)]


def as_xla(layer: keras.Layer, inputs: tf.Tensor) -> list[np.ndarray]:
    """Return what `trained` returns, without the weights, from a function that XLA compiles."""

    @tf.function(jit_compile=True, autograph=False)
    def step(inputs: tf.Tensor) -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            outputs = tf.cast(layer(inputs, training=True), tf.float32)
            weights = tf.reshape(tf.sin(tf.range(tf.size(outputs), dtype=tf.float32)), tf.shape(outputs))
            total = tf.reduce_sum(outputs * weights)
        gradients = tape.gradient(total, [inputs, *(weight.value for weight in layer.trainable_variables)])
        return [outputs, *gradients]

    return [tf.cast(each, tf.float32).numpy() for each in step(inputs)]


@pytest.mark.parametrize("sides", SIDES)
@pytest.mark.parametrize(("size", "strides", "padding"), POOLS)
def test_shifted_pooling_is_keras_s_with_ties_and_under_xla(
    size: Any, strides: Any, padding: str, sides: tuple[int, int]
) -> None:
    # Few values, so that many windows have several largest pixels.
    inputs = tf.round(values((2, *sides, 3)))
    ours, theirs = (kind(size, strides, padding=padding) for kind in (layers.MaxPooling2D, keras.layers.MaxPooling2D))
    expected = trained(theirs, inputs)
    for found in (trained(ours, inputs), as_xla(ours, inputs)):
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(ours(inputs), theirs(inputs))


@pytest.mark.parametrize("sides", SIDES)
@pytest.mark.parametrize(("size", "strides", "padding"), KERNELS)
def test_shifted_products_are_keras_s_depthwise_convolution_under_xla(
    size: Any, strides: Any, padding: str, sides: tuple[int, int]
) -> None:
    settings: dict[str, Any] = {"strides": strides, "padding": padding, "activation": "relu"}
    shape = (2, *sides, 3)
    kinds = layers.DepthwiseConv2D, keras.layers.DepthwiseConv2D
    ours, theirs = twins(kinds[0](size, **settings), kinds[1](size, **settings), shape)
    expected = trained(theirs, values(shape))
    for found in (trained(ours, values(shape)), as_xla(ours, values(shape))):
        for one, other in zip(found, expected, strict=False):
            np.testing.assert_allclose(one, other, rtol=2e-5, atol=2e-4)
    np.testing.assert_array_equal(ours(values(shape)), theirs(values(shape)))


@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16"])
def test_shifted_layers_repeat_to_the_bit_under_xla(dtype: str) -> None:
    inputs = values((4, 9, 9, 16), dtype.removeprefix("mixed_"))
    for layer in (
        layers.MaxPooling2D(3, 2, padding="same", dtype=dtype),
        layers.DepthwiseConv2D(3, padding="same", dtype=dtype),
    ):
        layer.build(inputs.shape)
        first, second = as_xla(layer, inputs), as_xla(layer, inputs)
        assert [each.tobytes() for each in first] == [each.tobytes() for each in second]


@pytest.mark.parametrize("settings", [{"depth_multiplier": 2}, {"dilation_rate": 2}])
def test_other_depthwise_convolutions_are_left_to_keras(settings: dict[str, int]) -> None:
    kinds = layers.DepthwiseConv2D, keras.layers.DepthwiseConv2D
    ours, theirs = twins(kinds[0](3, **settings), kinds[1](3, **settings), (1, 8, 8, 2))
    np.testing.assert_array_equal(ours(values((1, 8, 8, 2)), training=True), theirs(values((1, 8, 8, 2))))
