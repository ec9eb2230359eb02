"""The dense head that several nets share."""

import keras
from keras import layers


def dense_head(x: keras.KerasTensor, classes: int) -> keras.KerasTensor:
    """Return the output of two dense layers of 1,024 units with BatchNorm, ReLU and dropout, and a softmax."""
    x = layers.Flatten()(x)
    for _ in range(2):
        x = layers.Dense(1024, use_bias=False)(x)
        x = layers.BatchNormalization()(x)
        x = layers.Activation("relu")(x)
        x = layers.Dropout(0.5)(x)
    return layers.Dense(classes, "softmax")(x)
