"""From a layer table to a Keras model."""

import keras

from cnnstudy.nets import specs


def build(layers: tuple[specs.Layer, ...], size: int) -> keras.Sequential:
    """An uncompiled model for float input [B, size, size, 3] in [0, 1]."""
    return keras.Sequential([keras.Input((size, size, 3)), *map(_keras_layer, layers)])


def _keras_layer(layer: specs.Layer) -> keras.Layer:
    match layer:
        case specs.Conv(filters, kernel, stride, bias):
            return keras.layers.Conv2D(filters, kernel, strides=stride, padding="same", use_bias=bias)
        case specs.Depthwise(stride):
            return keras.layers.DepthwiseConv2D(3, strides=stride, padding="same", use_bias=False)
        case specs.BatchNorm():
            return keras.layers.BatchNormalization()
        case specs.Relu():
            return keras.layers.Activation("relu")
        case specs.MaxPool(padding):
            return keras.layers.MaxPooling2D(2, padding=padding)
        case specs.Dropout(rate):
            return keras.layers.Dropout(rate)
        case specs.GaussianDropout(rate):
            return keras.layers.GaussianDropout(rate)
        case specs.Flatten():
            return keras.layers.Flatten()
        case specs.GlobalAveragePool():
            return keras.layers.GlobalAveragePooling2D()
        case specs.Dense(units, bias, activation):
            return keras.layers.Dense(units, use_bias=bias, activation=activation or None)
