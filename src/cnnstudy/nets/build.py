"""From a layer table to a Keras model."""

import keras
import numpy as np

from cnnstudy.nets import specs

# Beside Keras's dtype policies: mixed_bfloat16 for convolutions, float32 for all else.
CONVOLUTIONS = "convolutions_bfloat16"


def build(layers: tuple[specs.Layer, ...], size: int, policy: str = "float32", frozen: int = 0) -> keras.Sequential:
    """An uncompiled model for float input [B, size, size, 3] in [0, 1], under a Keras dtype policy or `CONVOLUTIONS`.

    Variables and outputs are float32 under each policy. The first `frozen` layers are not trained: neither their
    weights nor, in BatchNorm, the moving statistics, which stand for the batch's then (what Keras calls inference
    mode). Their dropout stays.
    """
    policies = [*(_policy_of(layer, policy) for layer in layers[:-1]), "float32"]
    model = keras.Sequential([keras.Input((size, size, 3)), *map(_keras_layer, layers, policies)])
    for layer in model.layers[:frozen]:
        layer.trainable = False
    return model


def class_probabilities(outputs: np.ndarray) -> np.ndarray:
    """A model's outputs as [n, classes]: a single sigmoid output p becomes [1 - p, p]."""
    return np.hstack([1 - outputs, outputs]) if outputs.shape[1] == 1 else outputs


def _policy_of(layer: specs.Layer, policy: str) -> str:
    if policy == CONVOLUTIONS:
        return "mixed_bfloat16" if isinstance(layer, specs.Conv) else "float32"
    return policy


def _keras_layer(layer: specs.Layer, policy: str) -> keras.Layer:
    match layer:
        case specs.Conv(filters, kernel, stride, bias):
            return keras.layers.Conv2D(filters, kernel, stride, "same", use_bias=bias, dtype=policy)
        case specs.Depthwise(stride):
            return keras.layers.DepthwiseConv2D(3, stride, "same", use_bias=False, dtype=policy)
        case specs.BatchNorm():
            return keras.layers.BatchNormalization(dtype=policy)
        case specs.Relu():
            return keras.layers.Activation("relu", dtype=policy)
        case specs.MaxPool(padding):
            return keras.layers.MaxPooling2D(2, padding=padding, dtype=policy)
        case specs.Dropout(rate):
            return keras.layers.Dropout(rate, dtype=policy)
        case specs.GaussianDropout(rate):
            return keras.layers.GaussianDropout(rate, dtype=policy)
        case specs.Flatten():
            return keras.layers.Flatten(dtype=policy)
        case specs.GlobalAveragePool():
            return keras.layers.GlobalAveragePooling2D(dtype=policy)
        case specs.Dense(units, bias, activation):
            return keras.layers.Dense(units, activation or None, use_bias=bias, dtype=policy)
