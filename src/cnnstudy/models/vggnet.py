"""VGGNet for faces, after Hewitt and Gunes 2018 (arXiv:1807.08775), as the report's table 5 prints it."""

import keras
from keras import layers

from cnnstudy.models.head import dense_head

# Filters of each block of two convolutions.
FILTERS = (16, 32, 64, 128, 128)


def build(input_shape: tuple[int, int, int], classes: int) -> keras.Model:
    """Return a net of five blocks of two 3 x 3 convolutions, and the dense head."""
    inputs = x = keras.Input(input_shape)
    for filters in FILTERS:
        for _ in range(2):
            x = layers.Conv2D(filters, 3, padding="same", use_bias=False)(x)
            x = layers.BatchNormalization()(x)
            x = layers.Activation("relu")(x)
        x = layers.MaxPooling2D(2, padding="same")(x)
        x = layers.GaussianDropout(0.2)(x)
    return keras.Model(inputs, dense_head(x, classes))
