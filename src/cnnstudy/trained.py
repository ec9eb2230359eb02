"""A run's net as its training left it: of the last phase and of the first seed, unless another folder is given."""

from pathlib import Path
from typing import TYPE_CHECKING

from cnnstudy import paths
from cnnstudy.data import samples
from cnnstudy.errors import UserError
from cnnstudy.nets import specs
from cnnstudy.params import Params

if TYPE_CHECKING:
    import keras


def folder(params: Params, run: str) -> Path:
    """Where its weights and predictions are."""
    return paths.seed(run, params.phases(run)[-1], params.seeds[0])


def classes(params: Params, run: str) -> tuple[str, ...]:
    """What its outputs stand for, in their order."""
    study = params.runs[run].study
    return samples.present_classes(params.study(study).classes, samples.read_samples(study))


def load(params: Params, run: str, where: Path | None = None) -> "keras.Sequential":
    """The net in float32, for input [B, side, side, 3] in [0, 1], with the BatchNorm statistics that count.

    Raises:
        UserError: the run is not trained.
    """
    weights = paths.weights(where or folder(params, run))
    if not weights.is_file():
        raise UserError(f"{weights}: no such file; `cnnstudy repro` trains {run}, `dvc pull` fetches it")
    from cnnstudy.nets import build

    settings = params.runs[run]
    layers = specs.layers_of(settings.net, len(classes(params, run)), settings.depth, settings.widths)
    # Dropout does nothing here, but has a state of its own in the file.
    layers = specs.with_head_dropout(layers, settings.head_dropout)
    layers = specs.with_dropout(layers, params.recipe_of(settings.study).dropout)
    model = build.build_plain(layers, params.study(settings.study).image_size)
    model.load_weights(weights)
    return model
