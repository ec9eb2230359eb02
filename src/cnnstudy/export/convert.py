"""From a Keras model to LiteRT files."""

import tempfile
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from cnnstudy.export.litert import PRECISIONS
from cnnstudy.process import silenced

if TYPE_CHECKING:
    import keras


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

    picture = keras.Input(model.input_shape[1:], batch_size=1)
    whole = keras.Sequential([picture, keras.layers.Rescaling(1 / 255), *model.layers])
    with tempfile.TemporaryDirectory(prefix="cnnstudy-") as folder:
        whole.export(folder, verbose=False)
        return {precision: _convert(folder, precision, images) for precision in PRECISIONS}


def _convert(folder: str, precision: str, images: np.ndarray) -> bytes:
    """The SavedModel in `folder` in a precision."""
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_saved_model(folder)
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
