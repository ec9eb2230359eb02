"""Weights of nets that were never trained."""

import keras

from cnnstudy import trained
from cnnstudy.config.schema import Params
from cnnstudy.nets import build, specs
from cnnstudy.workspace import paths


def write_weights(params: Params, run: str) -> keras.Sequential:
    """Write random weights of a run, whose samples are there, and return its net."""
    settings = params.runs[run]
    layers = specs.layers_of(settings.net, len(trained.classes(params, run)), settings.depth, settings.widths)
    keras.backend.clear_session()  # as the training does
    model = build.build(
        specs.with_dropout(layers, params.study_recipe(settings.study).dropout), params.study(settings.study).image_size
    )
    trained.folder(params, run).mkdir(parents=True)
    model.save_weights(paths.weights(trained.folder(params, run)))
    return model
