"""What answers pictures: a net, the side of the images that it takes, and what its outputs mean."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True)
class Net:
    """`probabilities` maps uint8 [n, size, size, 3], RGB, to float32 [n, classes]."""

    classes: tuple[str, ...]
    size: int
    probabilities: Callable[[np.ndarray], np.ndarray]


def keras_net(model: "keras.Model", classes: tuple[str, ...]) -> Net:
    """A Keras model for float input [B, H, W, 3] in [0, 1] as a net; of a single sigmoid output too."""
    import tensorflow as tf

    from cnnstudy.nets.build import class_probabilities

    size = model.input_shape[1]
    shape = tf.TensorSpec((None, size, size, 3), tf.float32)
    # Without AutoGraph, which has nothing to rewrite here and needs room on the disk for what it writes.
    infer = tf.function(lambda images: model(images, training=False), input_signature=[shape], autograph=False)

    def probabilities(images: np.ndarray) -> np.ndarray:
        return class_probabilities(infer(tf.constant(images.astype(np.float32) / np.float32(255))).numpy())

    return Net(classes, size, probabilities)


def read_keras_net(path: Path, classes: tuple[str, ...]) -> Net:
    """The net in a .keras file, of which nothing but Keras's own layers is loaded: no code, no pickle."""
    import keras

    return keras_net(keras.models.load_model(path, compile=False, safe_mode=True), classes)
