"""A run's net as its training left it: of the last phase and of the first seed, unless another folder is given."""

from pathlib import Path
from typing import TYPE_CHECKING

from cnnstudy.config.schema import Params
from cnnstudy.data import samples
from cnnstudy.errors import UserError
from cnnstudy.evaluation.predictions import read_predictions, require_classes
from cnnstudy.nets import specs
from cnnstudy.tracking import keys as tracking
from cnnstudy.workspace import paths

if TYPE_CHECKING:
    import keras


def folder(params: Params, run: str) -> Path:
    """Where its weights and predictions are."""
    return paths.seed(run, params.phases(run)[-1], params.seeds[0])


def classes(params: Params, run: str) -> tuple[str, ...]:
    """What its outputs stand for, in their order.

    Raises:
        UserError: the parameters have them in another order than the run was trained with.
    """
    study = params.runs[run].study
    table = samples.read_samples(study)
    found = samples.present_classes(params.study(study).classes, table)
    if (predictions := paths.predictions(folder(params, run))).is_file():
        require_classes(read_predictions(predictions), found, table["label"].to_numpy(), study)
    return found


def changed(params: Params, run: str, keys: tuple[str, ...] = ()) -> str:
    """The first parameter, of `keys` if any, that is not what the run's stages in dvc.lock were done with; '' if none.

    In a line that says so.
    """
    lock = tracking.read_lock()
    return tracking.changed(lock, params, tracking.stages_of(params, run), keys)


def load(params: Params, run: str, where: Path | None = None) -> "keras.Sequential":
    """The net in float32, for input [B, side, side, 3] in [0, 1], with the BatchNorm statistics that count.

    Raises:
        UserError: the run is not trained, or not as the parameters say by now, or its file is broken.
    """
    weights = paths.weights(where or folder(params, run))
    if not weights.is_file():
        raise UserError(f"{weights}: no such file; `cnnstudy repro` trains {run}, `dvc pull` fetches it")
    settings = params.runs[run]
    shaping = (f"runs.{run}", f"{settings.study}.image_size", f"training.{settings.study}.dropout")
    if problem := changed(params, run, shaping):
        raise UserError(f"{problem}; `cnnstudy repro` trains {run} anew")
    from cnnstudy.nets import build

    # Dropout does nothing here, but has a state of its own in the file.
    layers = specs.of_run(params, run, len(classes(params, run)))
    model = build.build_plain(layers, params.study(settings.study).image_size)
    try:
        model.load_weights(weights)
    except (OSError, ValueError, KeyError) as error:
        cause = " ".join(str(error).split())[:200]
        raise UserError(f"{weights}: {cause}; `dvc checkout` or `cnnstudy repro` writes it anew") from None
    return model
