"""Weights of nets that were never trained."""

import keras

from cnnstudy import trained
from cnnstudy.config.schema import Params
from cnnstudy.models import assemble
from cnnstudy.workspace import paths


def write_weights(params: Params, run: str) -> keras.Model:
    """Write random weights of a run, whose samples are there, and return its net."""
    keras.backend.clear_session()  # as the training does
    model = assemble.build_plain(assemble.design_of(params, run, len(trained.classes(params, run))))
    trained.folder(params, run).mkdir(parents=True)
    model.save_weights(paths.weights(trained.folder(params, run)))
    return model
