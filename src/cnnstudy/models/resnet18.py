"""ResNet-18 (He et al. 2016, arXiv:1512.03385), with the stem for small images from section 4.2 of the paper."""

import keras
from keras import layers

# Filters of each of the four stages of two residual blocks; all stages but the first halve the side of the maps.
FILTERS = (64, 128, 256, 512)


def build(input_shape: tuple[int, int, int], classes: int, width: float = 1.0) -> keras.Model:
    """Return a net of a 3 x 3 convolution, eight residual blocks, and a softmax over the pooled features.

    `width` multiplies the numbers of filters.

    Raises:
        ValueError: the width is not more than 0.
    """
    if isinstance(width, str) or not width > 0:
        raise ValueError(f"width: {width!r} found; allowed: more than 0")
    filters = [max(1, round(width * count)) for count in FILTERS]
    inputs = keras.Input(input_shape)
    x = layers.Activation("relu")(_convolved(inputs, filters[0], 2))
    for stage, count in enumerate(filters):
        for block in range(2):
            x = _residual(x, count, 2 if stage and not block else 1)
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, layers.Dense(classes, "softmax")(x))


def _residual(x: keras.KerasTensor, filters: int, stride: int) -> keras.KerasTensor:
    """Return the output of two convolutions and a shortcut, which is a 1 x 1 convolution if the shapes differ."""
    shortcut = x if stride == 1 and x.shape[-1] == filters else _convolved(x, filters, stride, kernel=1)
    x = layers.Activation("relu")(_convolved(x, filters, stride))
    x = _convolved(x, filters, 1)
    return layers.Activation("relu")(layers.Add()([x, shortcut]))


def _convolved(x: keras.KerasTensor, filters: int, stride: int, kernel: int = 3) -> keras.KerasTensor:
    x = layers.Conv2D(filters, kernel, stride, padding="same", use_bias=False)(x)
    return layers.BatchNormalization()(x)
