"""A trial: the base phase of a run, trained as its stage does and measured on the validation split alone."""

import math
import sys
from functools import partial

import keras

from cnnstudy.config.schema import Params
from cnnstudy.data import samples
from cnnstudy.nets import build
from cnnstudy.search.trials import DivergedError, Epoch, Report
from cnnstudy.training import devices, phases, selection
from cnnstudy.training.checkpoint import Checkpoint
from cnnstudy.training.loop import fit
from cnnstudy.workspace import paths

# A patience that compares epochs and never stops.
ENDLESS = sys.maxsize


def reporting(report: Report, images: int) -> Checkpoint:
    """Reports each epoch when it ends, and stores nothing.

    The history's rows must have what epochs are compared by. `images` is the size of the split `val`.
    """
    return Checkpoint(paths.checkpoints() / "none.npz", math.inf, lambda row: report(epoch_of(row, images)))


def epoch_of(row: dict[str, float], images: int) -> Epoch:
    """A row of the history with what epochs are compared by, as a search sees it."""
    return Epoch(int(row["epoch"]), row["selection_accuracy"], row["selection_loss"], images, row)


def train(params: Params, run: str, report: Report) -> Epoch:
    """Train the base phase of a run with the first seed, and return the epoch whose weights it keeps.

    Raises:
        DivergedError: the loss is no longer a number.
        MemoryError: there is not enough of it.
    """
    return phases.deterministically(partial(_train, params, run, report))


def _train(params: Params, run: str, report: Report) -> Epoch:
    settings, phase = params.runs[run], phases.base(params, run)
    study, recipe = params.study(settings.study), params.recipe_of(settings.study)
    if not selection.compares(recipe):
        recipe = recipe.model_copy(update={"patience": ENDLESS})
    dataset = samples.load(settings.study, study.classes)
    data = phases.training_data(params, run, phase, dataset)
    seed = params.seeds[0]
    how = phases.schedule(params, run, phase, seed)
    images = len(dataset.ids(selection.SPLIT))
    kept = reporting(report, images)
    keras.backend.clear_session()
    keras.utils.set_random_seed(seed)
    with phases.user_errors(phase), devices.strategy().scope():
        model = build.build(phases.table(params, run, len(dataset.classes)), study.image_size, how.policy)
        try:
            history = fit(model, data, dataset, recipe, how, kept)
        except FloatingPointError as error:
            raise DivergedError(str(error)) from None
    best = kept.progress.best
    row = best.epoch - 1 if recipe.selection == "best" and best else -1
    return epoch_of(history.iloc[row].to_dict(), images)
