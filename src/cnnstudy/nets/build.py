"""From a layer table to a Keras model."""

from types import ModuleType

import keras
import numpy as np

from cnnstudy.nets import layers, specs

# Beside Keras's dtype policies: mixed_bfloat16 for convolutions, float32 for all else.
CONVOLUTIONS = "convolutions_bfloat16"


def build(table: tuple[specs.Layer, ...], size: int, policy: str = "float32", frozen: int = 0) -> keras.Sequential:
    """An uncompiled model for float input [B, size, size, 3] in [0, 1], under a Keras dtype policy or `CONVOLUTIONS`.

    Variables and outputs are float32 under each policy. The first `frozen` layers are not trained: neither their
    weights nor, in BatchNorm, the moving statistics, which stand for the batch's then (what Keras calls inference
    mode). Their dropout stays.
    """
    policies = [*(_policy_of(layer, policy) for layer in table[:-1]), "float32"]
    model = _model(table, size, policies, layers)
    for layer in model.layers[:frozen]:
        layer.trainable = False
    return model


def build_plain(table: tuple[specs.Layer, ...], size: int) -> keras.Sequential:
    """The same in float32 of Keras's own layers alone, which can be stored whole and loaded without this package."""
    return _model(table, size, ["float32"] * len(table), keras.layers)


def _model(table: tuple[specs.Layer, ...], size: int, policies: list[str], kinds: ModuleType) -> keras.Sequential:
    made = (_keras_layer(layer, policy, kinds) for layer, policy in zip(table, policies, strict=True))
    return keras.Sequential([keras.Input((size, size, 3)), *made])


def set_float32(model: keras.Sequential) -> None:
    """Have a model compute in float32 from now on, as whoever loads its weights builds it."""
    for layer in model.layers:
        layer.dtype_policy = "float32"


def class_probabilities(outputs: np.ndarray) -> np.ndarray:
    """A model's outputs as [n, classes]: a single sigmoid output p becomes [1 - p, p]."""
    return np.hstack([1 - outputs, outputs]) if outputs.shape[1] == 1 else outputs


def _policy_of(layer: specs.Layer, policy: str) -> str:
    if policy == CONVOLUTIONS:
        return "mixed_bfloat16" if isinstance(layer, specs.Conv) else "float32"
    return policy


def _keras_layer(layer: specs.Layer, policy: str, kinds: ModuleType) -> keras.Layer:
    """`kinds` has the convolution and the BatchNorm."""
    match layer:
        case specs.Conv(filters, kernel, stride, bias):
            return kinds.Conv2D(filters, kernel, stride, "same", use_bias=bias, dtype=policy)
        case specs.Depthwise(stride):
            return keras.layers.DepthwiseConv2D(3, stride, "same", use_bias=False, dtype=policy)
        case specs.BatchNorm():
            return kinds.BatchNormalization(dtype=policy)
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
