"""A net for prediction, with the classes of its outputs and the side of its input images."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cnnstudy.evaluation.confidence import at_temperature

if TYPE_CHECKING:
    import keras

    from cnnstudy.data.decode import Finder
    from cnnstudy.data.familiarity import Familiarity


@dataclass(frozen=True)
class Net:
    """A net for RGB images; `outputs` maps uint8 [n, size, size, 3] to float32 [n, classes + values].

    The outputs are the probabilities of `classes`, () for a net of values alone, and the numbers `values`.
    `familiarity` finds images unlike the training images, None where that is unknown. `is_synthetic` says whether the
    training images were synthetic, and `notices` are lines that a user must see with every prediction. `crop` finds the
    part of an image to use; None for the whole image.
    """

    classes: tuple[str, ...]
    size: int
    outputs: Callable[[np.ndarray], np.ndarray]
    values: tuple[str, ...] = ()
    familiarity: "Familiarity | None" = None
    is_synthetic: bool = False
    notices: tuple[str, ...] = ()
    crop: "Finder | None" = None


def calibrated(net: Net, temperature: float) -> Net:
    """Return a net whose classes' logits are divided by a temperature, see cnnstudy.evaluation.calibration."""
    if temperature == 1 or not net.classes:
        return net

    def outputs(images: np.ndarray) -> np.ndarray:
        found = net.outputs(images)
        probabilities, values = np.split(found, [len(net.classes)], axis=1)
        return np.hstack([at_temperature(probabilities, temperature).astype(np.float32), values])

    return replace(net, outputs=outputs)


def keras_net(model: "keras.Model", classes: tuple[str, ...], values: tuple[str, ...] = ()) -> Net:
    """Wrap a Keras model for float input [B, H, W, 3] in [0, 1], as built by cnnstudy.models.assemble.

    `classes` are those of the study; a net of values alone has none of them.
    """
    import tensorflow as tf

    from cnnstudy.models.assemble import joined

    size = model.input_shape[1]
    shape = tf.TensorSpec((None, size, size, 3), tf.float32)
    # No AutoGraph: it has nothing to rewrite here and writes files to disk.
    infer = tf.function(lambda images: model(images, training=False), input_signature=[shape], autograph=False)

    def outputs(images: np.ndarray) -> np.ndarray:
        return joined(infer(tf.constant(images.astype(np.float32) / np.float32(255))).numpy(), len(values))

    return Net(classes if model.output_shape[1] > len(values) else (), size, outputs, values)


def read_keras_net(path: Path, classes: tuple[str, ...], values: tuple[str, ...] = ()) -> Net:
    """Read a net from a .keras file, with Keras's own layers only: no code, no pickle."""
    import keras

    return keras_net(keras.models.load_model(path, compile=False, safe_mode=True), classes, values)
