"""The layer table of a net, with the columns of Keras's `summary`."""

from math import prod

import keras
import pandas as pd

COLUMNS = ("type", "shape", "parameters", "trainable")


def layer_table(model: keras.Model) -> pd.DataFrame:
    """Return a row for each layer: type, output shape (such as 128x128x16), parameters, trainable parameters."""
    rows = [
        (type(layer).__name__, "x".join(map(str, layer.output.shape[1:])), layer.count_params(), _trainable(layer))
        for layer in model.layers
        if not isinstance(layer, keras.layers.InputLayer)
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _trainable(layer: keras.Layer) -> int:
    return sum(prod(variable.shape) for variable in layer.trainable_variables)
