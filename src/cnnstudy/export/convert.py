"""Conversion of Keras models to LiteRT files."""

import warnings
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from cnnstudy.export.litert import PRECISIONS
from cnnstudy.workspace.stage import silenced

if TYPE_CHECKING:
    import keras


# The smallest range of a channel, used for channels that are always 0, and the largest factor of a channel.
TINY, LARGEST_FACTOR = 1e-6, 8.0


def convert(model: "keras.Model", images: np.ndarray) -> dict[str, bytes]:
    """Return a model as LiteRT files, by precision (see cnnstudy.export.litert).

    The model takes pixels in [0, 1]. Each file takes one image, [1, side, side, 3], of pixels from 0 to 255, and gives
    probabilities, [1, classes], or values, [1, k], or both as two outputs. In int8 the input and the outputs are uint8,
    with probabilities in steps of 1/256, and weights have one scale per channel (Jacob et al. 2018, Krishnamoorthi
    2018).

    Args:
        model: a model in float32, as built by cnnstudy.models.assemble.
        images: the images on which the ranges of activations are measured, uint8 [n, side, side, 3].
    """
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    from cnnstudy.models.assemble import parts

    # Two outputs, since in int8 all numbers of one output share a scale.
    equalized = parts(_equalized(model, images.astype(np.float32) / 255))
    signature = [tf.TensorSpec((1, *model.input_shape[1:]), tf.float32)]
    predict = tf.function(
        lambda pixels: equalized(pixels / 255, training=False), input_signature=signature, autograph=False
    )
    frozen = convert_variables_to_constants_v2(predict.get_concrete_function())
    return {precision: _convert(frozen, precision, images) for precision in PRECISIONS}


def _equalized(model: "keras.Model", images: np.ndarray) -> "keras.Model":
    """Return the same net with channels of equal ranges before depthwise convolutions (Nagel et al. 2019, 4.1).

    In int8 all channels of an activation share one scale, so that channels with small values would have few steps. A
    factor passes through ReLU: the BatchNorm before ReLU multiplies a channel by it, and the depthwise filter after
    ReLU, whose weights have one scale per channel, divides by it. If another step uses the output of the BatchNorm or
    of the ReLU as well, as a residual connection does, the channels are unchanged.
    """
    import keras

    from cnnstudy.models import graph

    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    for layer in copy.layers:
        if isinstance(layer, keras.layers.Normalization):
            layer.finalize_state()  # the layer computes with a copy of its weights
    net, layers = graph.trace(model), {layer.name: layer for layer in copy.layers}
    consumers = Counter(number for step in net.steps for number in set(step.inputs))
    producers = {step.output: step for step in net.steps}
    values, start = {net.input: images}, 0
    for index, depthwise in enumerate(net.steps):
        if not isinstance(depthwise.operation, keras.layers.DepthwiseConv2D):
            continue
        relu = producers.get(depthwise.inputs[0])
        norm = producers.get(relu.inputs[0]) if relu and relu.inputs else None
        if not relu or not norm or not _is_unbounded_relu(relu.operation) or not _is_scaling_norm(norm.operation):
            continue
        if consumers[norm.output] + consumers[relu.output] > 2:
            continue
        values, start = graph.run(net.steps[start:index], values, net.needed(index)), index
        reach = np.asarray(values[relu.output]).max(axis=(0, 1, 2))
        factors = np.minimum(reach.max() / np.maximum(reach, TINY), LARGEST_FACTOR)
        gamma, beta, *statistics = layers[norm.operation.name].get_weights()
        layers[norm.operation.name].set_weights([gamma * factors, beta * factors, *statistics])
        kernel, *bias = layers[depthwise.operation.name].get_weights()
        layers[depthwise.operation.name].set_weights([kernel / factors[:, None], *bias])
    return copy


def _is_scaling_norm(operation: Any) -> bool:
    """Return whether an operation is a BatchNorm with a scale and a shift of its own."""
    import keras

    return isinstance(operation, keras.layers.BatchNormalization) and operation.scale and operation.center


def _is_unbounded_relu(operation: Any) -> bool:
    """Return whether an operation is a ReLU without an upper bound, through which a positive factor passes."""
    import keras

    if isinstance(operation, keras.layers.ReLU):
        return operation.max_value is None and not operation.negative_slope and not operation.threshold
    return getattr(operation, "activation", None) is keras.activations.relu


def _convert(frozen: Any, precision: str, images: np.ndarray) -> bytes:
    """Return the LiteRT file of a function of images, with weights as constants, in a precision."""
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_concrete_functions([frozen], tf.Module())
    if precision != "float32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if precision == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if precision == "int8":
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = tf.uint8
        converter.representative_dataset = lambda: _one_by_one(images)
    with silenced(), warnings.catch_warnings():
        # The conversion itself measures the ranges that this warning calls missing.
        warnings.filterwarnings("ignore", "Statistics for quantized inputs were expected", UserWarning)
        content: bytes = converter.convert()
    return content


def _one_by_one(images: np.ndarray) -> Iterator[list[Any]]:
    """Yield each image as input of the net; a black and a white pixel in the first fix the input range to 0 to 255."""
    for number, image in enumerate(images.astype(np.float32)):
        if number == 0:
            image[0, :2] = [[0], [255]]
        yield [image[None]]
