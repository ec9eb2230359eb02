"""LeNet-5 (LeCun et al. 1998, doi 10.1109/5.726791), with average pooling and a softmax."""

import keras
from keras import layers


def build(input_shape: tuple[int, int, int], classes: int) -> keras.Model:
    """Return three 5 x 5 convolutions, the first two with subsampling, and two dense layers."""
    inputs = keras.Input(input_shape)
    x = layers.Conv2D(6, 5, activation="tanh")(inputs)
    x = layers.AveragePooling2D(2)(x)
    x = layers.Conv2D(16, 5, activation="tanh")(x)
    x = layers.AveragePooling2D(2)(x)
    x = layers.Conv2D(120, 5, activation="tanh")(x)
    x = layers.Flatten()(x)
    x = layers.Dense(84, activation="tanh")(x)
    return keras.Model(inputs, layers.Dense(classes, activation="softmax")(x))
