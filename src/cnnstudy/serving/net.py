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
    """A net for RGB images; `probabilities` maps uint8 [n, size, size, 3] to float32 [n, classes].

    `familiarity` finds images unlike the training images, None where that is unknown. `is_synthetic` says whether the
    training images were synthetic, and `notices` are lines that a user must see with every prediction. `crop` finds the
    part of an image to use; None for the whole image.
    """

    classes: tuple[str, ...]
    size: int
    probabilities: Callable[[np.ndarray], np.ndarray]
    familiarity: "Familiarity | None" = None
    is_synthetic: bool = False
    notices: tuple[str, ...] = ()
    crop: "Finder | None" = None


def calibrated(net: Net, temperature: float) -> Net:
    """Return a net whose logits are divided by a temperature, see cnnstudy.evaluation.calibration."""
    if temperature == 1:
        return net
    return replace(
        net, probabilities=lambda images: at_temperature(net.probabilities(images), temperature).astype(np.float32)
    )


def keras_net(model: "keras.Model", classes: tuple[str, ...]) -> Net:
    """Wrap a Keras model for float input [B, H, W, 3] in [0, 1], with softmax outputs or a single sigmoid output."""
    import tensorflow as tf

    from cnnstudy.models.assemble import class_probabilities

    size = model.input_shape[1]
    shape = tf.TensorSpec((None, size, size, 3), tf.float32)
    # No AutoGraph: it has nothing to rewrite here and writes files to disk.
    infer = tf.function(lambda images: model(images, training=False), input_signature=[shape], autograph=False)

    def probabilities(images: np.ndarray) -> np.ndarray:
        return class_probabilities(infer(tf.constant(images.astype(np.float32) / np.float32(255))).numpy())

    return Net(classes, size, probabilities)


def read_keras_net(path: Path, classes: tuple[str, ...]) -> Net:
    """Read a net from a .keras file, with Keras's own layers only: no code, no pickle."""
    import keras

    return keras_net(keras.models.load_model(path, compile=False, safe_mode=True), classes)
