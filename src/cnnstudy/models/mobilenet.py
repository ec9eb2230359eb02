"""MobileNet for faces, after Hewitt and Gunes 2018 (arXiv:1807.08775), as the report's table 7 prints it."""

import keras
from keras import layers

# (filters, stride) of each depthwise-separable block, for the width multiplier 1.
BLOCKS = (
    (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2),
    (512, 1), (512, 1), (512, 1), (512, 1), (512, 1), (1024, 2), (1024, 1),
)  # fmt: skip


def build(input_shape: tuple[int, int, int], classes: int) -> keras.Model:
    """Return a net of a strided convolution, 13 depthwise-separable blocks, and a softmax over the pooled features."""
    inputs = keras.Input(input_shape)
    x = _normalized(layers.Conv2D(32, 3, 2, padding="same", use_bias=False)(inputs))
    for filters, stride in BLOCKS:
        x = _normalized(layers.DepthwiseConv2D(3, stride, padding="same", use_bias=False)(x))
        x = _normalized(layers.Conv2D(filters, 1, padding="same", use_bias=False)(x))
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, layers.Dense(classes, "softmax")(x))


def _normalized(x: keras.KerasTensor) -> keras.KerasTensor:
    return layers.Activation("relu")(layers.BatchNormalization()(x))
