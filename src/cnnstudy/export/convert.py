"""From a Keras model to LiteRT files."""

import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from cnnstudy.export.litert import PRECISIONS
from cnnstudy.workspace.stage import silenced

if TYPE_CHECKING:
    import keras


# Of a channel that is always 0, and what a channel is multiplied by at most.
TINY, LARGEST_FACTOR = 1e-6, 8.0


def convert(model: "keras.Sequential", images: np.ndarray) -> dict[str, bytes]:
    """A net that takes pixels in [0, 1] as LiteRT files, by precision (see cnnstudy.export.litert).

    Each takes one picture, [1, side, side, 3], of pixels from 0 to 255, and gives probabilities, [1, classes]: float32,
    or uint8 where it computes in int8, with probabilities in steps of 1/256. There weights have a scale a channel
    (Jacob et al. 2018, Krishnamoorthi 2018).

    Args:
        model: in float32, softmax last.
        images: what the ranges of the activations are measured on, uint8 [n, side, side, 3].
    """
    import keras
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    picture = keras.Input(model.input_shape[1:], batch_size=1)
    layers = _equalized(model, images.astype(np.float32) / 255).layers
    whole = keras.Sequential([picture, keras.layers.Rescaling(1 / 255), *layers])
    signature = [tf.TensorSpec(picture.shape, tf.float32)]
    answer = tf.function(lambda pixels: whole(pixels, training=False), input_signature=signature, autograph=False)
    frozen = convert_variables_to_constants_v2(answer.get_concrete_function())
    return {precision: _convert(frozen, precision, images) for precision in PRECISIONS}


def _equalized(model: "keras.Sequential", images: np.ndarray) -> "keras.Sequential":
    """The same net, whose channels reach equally far before each depthwise convolution (Nagel et al. 2019, 4.1).

    All channels of an activation have one scale in int8, so those that stay small would be told apart by few steps.
    ReLU lets a factor through: BatchNorm before it multiplies a channel, the depthwise filter behind it divides, and
    these weights have a scale a channel.
    """
    import keras

    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    places = [
        i
        for i, (norm, relu, depthwise) in enumerate(zip(copy.layers, copy.layers[1:], copy.layers[2:], strict=False))
        if isinstance(norm, keras.layers.BatchNormalization)
        and getattr(relu, "activation", None) is keras.activations.relu
        and isinstance(depthwise, keras.layers.DepthwiseConv2D)
    ]
    values = images
    for i, layer in enumerate(model.layers[: max(places, default=-2) + 2]):
        values = layer(values, training=False)
        if i - 1 not in places:
            continue
        reach = np.asarray(values).max(axis=(0, 1, 2))
        factors = np.minimum(reach.max() / np.maximum(reach, TINY), LARGEST_FACTOR)
        norm, depthwise = copy.layers[i - 1], copy.layers[i + 1]
        gamma, beta, *statistics = norm.get_weights()
        norm.set_weights([gamma * factors, beta * factors, *statistics])
        kernel, *bias = depthwise.get_weights()
        depthwise.set_weights([kernel / factors[:, None], *bias])
    return copy


def _convert(frozen: Any, precision: str, images: np.ndarray) -> bytes:
    """A function of pictures, its weights constants, in a precision."""
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
        # The ranges of inputs that it misses are measured next.
        warnings.filterwarnings("ignore", "Statistics for quantized inputs were expected", UserWarning)
        content: bytes = converter.convert()
    return content


def _one_by_one(images: np.ndarray) -> Iterator[list[Any]]:
    """Each image as the net takes it; the first with a black and a white pixel, so that 0 to 255 mean themselves."""
    for number, image in enumerate(images.astype(np.float32)):
        if number == 0:
            image[0, :2] = [[0], [255]]
        yield [image[None]]
