"""The CNN of Reshi et al. 2021 (doi 10.1155/2021/6621607), as the report's tables 8 and 13 to 17 print it."""

import keras
from keras import layers

# Filters of each convolution in the report (which does not print the sixth) and in Reshi et al.
FILTERS = {"report": (64, 128, 256, 512, 512, 512), "reshi": (64, 64, 128, 128, 256, 256)}


def build(input_shape: tuple[int, int, int], classes: int, depth: int = 5, widths: str = "report") -> keras.Model:
    """Return a net of `depth` convolutions, 1 to 6, and a dense head with one sigmoid output for two classes.

    `widths` is the source of the numbers of filters: `report` or `reshi`.

    Raises:
        ValueError: an option has a value that is not allowed.
    """
    if classes != 2:
        raise ValueError(f"{classes} classes found; allowed: 2, since the net has one output")
    if widths not in FILTERS:
        raise ValueError(f"widths: {widths!r} found; allowed: {', '.join(FILTERS)}")
    if not isinstance(depth, int) or not 1 <= depth <= len(FILTERS[widths]):
        raise ValueError(f"depth: {depth!r} found; allowed: 1 to {len(FILTERS[widths])}")
    inputs = x = keras.Input(input_shape)
    for filters in FILTERS[widths][:depth]:
        x = layers.Conv2D(filters, 3, padding="same")(x)
        x = layers.MaxPooling2D(2)(x)
        x = layers.BatchNormalization()(x)
        x = layers.Activation("relu")(x)
        x = layers.Dropout(0.2)(x)
    x = layers.Flatten()(x)
    x = layers.BatchNormalization()(layers.Dense(512)(x))
    x = layers.BatchNormalization()(layers.Dense(256, "relu")(x))
    return keras.Model(inputs, layers.Dense(1, "sigmoid")(x))
