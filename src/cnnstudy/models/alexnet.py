"""AlexNet for faces, after Hewitt and Gunes 2018 (arXiv:1807.08775), as the report's table 2 prints it."""

import keras
from keras import layers

from cnnstudy.models.head import dense_head

# Filters and kernel side of each convolution.
BLOCKS = ((16, 9), (32, 7), (64, 5), (128, 3), (128, 3))


def build(input_shape: tuple[int, int, int], classes: int) -> keras.Model:
    """Return a net of five blocks of one convolution, and the dense head."""
    inputs = x = keras.Input(input_shape)
    for filters, kernel in BLOCKS:
        x = layers.Conv2D(filters, kernel, padding="same", use_bias=False)(x)
        x = layers.BatchNormalization()(x)
        x = layers.Activation("relu")(x)
        x = layers.MaxPooling2D(2, padding="same")(x)
        x = layers.GaussianDropout(0.2)(x)
    return keras.Model(inputs, dense_head(x, classes))
