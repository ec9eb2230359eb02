"""Pretrained weights from a file, which must fit all layers but the last."""

import warnings
from pathlib import Path

import keras
import numpy as np

from cnnstudy.errors import UserError
from cnnstudy.models.assemble import heads

KINDS = ".keras, .weights.h5, or the .h5 of keras.applications"


def load(model: keras.Model, plain: keras.Model, file: Path) -> str:
    """Load the weights of a file into all layers of a model but its heads, and return a line about what was loaded.

    The heads are the last layer, or the layers that predict classes and values.

    `plain` is the same net of Keras's own layers, into which the weights are loaded first.

    Raises:
        UserError: there is no such file, or a layer does not fit; the message names the layer and its shapes.
    """
    if not file.is_file():
        raise UserError(f"{file}: no such file; allowed: {KINDS}")
    every = [layer for layer in plain.layers if _numbers(layer)]
    layers = _body(plain)
    for layer in every:
        for variable in _numbers(layer):
            variable.assign(np.full(variable.shape, np.nan))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Keras warns of layers that do not fit; these are checked below
            _fill(plain, file)
    except (ValueError, OSError, KeyError, TypeError) as error:
        cause = " ".join(str(error).split())[:200]
        raise UserError(f"{file}: {cause}; allowed: {KINDS}") from None
    for layer in layers:
        if any(np.isnan(variable.numpy()).any() for variable in _numbers(layer)):
            shapes = ", ".join(str(tuple(variable.shape)) for variable in _numbers(layer))
            raise UserError(f"{file}: no weights for the layer {layer.name} ({shapes}); allowed: those of this net")
    for target, layer in zip(_body(model), layers, strict=True):
        _assign(target, [variable.numpy() for variable in _numbers(layer)])
    count = sum(int(np.prod(variable.shape)) for layer in layers for variable in _numbers(layer))
    new = ", ".join(layer.name for layer in every if layer not in layers)
    verb = "starts" if len(every) == len(layers) + 1 else "start"
    return f"{file}: {len(layers)} of {len(every)} layers, {count:,} numbers; {new} {verb} at random"


def _body(model: keras.Model) -> list[keras.Layer]:
    """Return the layers with weights that are not heads."""
    return [layer for layer in model.layers if _numbers(layer) and layer.name not in heads(model)]


def _fill(plain: keras.Model, file: Path) -> None:
    """Load the weights that fit into a model."""
    if file.suffix == ".keras":
        source = keras.models.load_model(file, compile=False, safe_mode=True)
        theirs = [layer for layer in source.layers if _numbers(layer)]
        for target, layer in zip(_body(plain), theirs, strict=False):
            pairs = list(zip(_numbers(target), _numbers(layer), strict=False))
            if len(pairs) == len(_numbers(target)) and all(a.shape == b.shape for a, b in pairs):
                _assign(target, [value.numpy() for _, value in pairs])
    elif file.name.endswith(".weights.h5"):
        plain.load_weights(file, skip_mismatch=True)
    else:
        plain.load_weights(file, skip_mismatch=True, by_name=True)


def _assign(layer: keras.Layer, values: list[np.ndarray]) -> None:
    for variable, value in zip(_numbers(layer), values, strict=True):
        variable.assign(value)
    if isinstance(layer, keras.layers.Normalization):
        layer.finalize_state()  # the layer computes with a copy of its weights


def _numbers(layer: keras.Layer) -> list[keras.Variable]:
    """Return a layer's weights, without the states of its random generators."""
    return [variable for variable in layer.weights if keras.backend.is_float_dtype(variable.dtype)]
