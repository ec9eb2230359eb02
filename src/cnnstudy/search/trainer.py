"""A trial: the base phase of a run, trained as its stage does and measured on the validation split alone."""

import math
import sys

import keras
import pandas as pd

from cnnstudy import paths
from cnnstudy.data import samples
from cnnstudy.nets import build, specs
from cnnstudy.params import Params
from cnnstudy.search.trials import DivergedError, Epoch, Report
from cnnstudy.training import phases, precision, selection
from cnnstudy.training.checkpoint import Checkpoint
from cnnstudy.training.loop import Schedule, fit
from cnnstudy.training.pipeline import training_set

# A patience that compares epochs and never stops.
ENDLESS = sys.maxsize


class Reporting(Checkpoint):
    """Reports each epoch when it ends, and stores nothing.

    The history's rows must have what epochs are compared by. `images` is the size of the split `val`.
    """

    def __init__(self, report: Report, images: int) -> None:
        super().__init__(paths.checkpoints() / "none.npz", math.inf)
        self.report, self.images = report, images

    def end_epoch(self, row: dict[str, float]) -> None:
        """Take the epoch's row, and report it; the loss of a row that is no number is left to the training."""
        super().end_epoch(row)
        if math.isfinite(row["loss"]):
            self.report(epoch_of(row, self.images))


def epoch_of(row: dict[str, float], images: int) -> Epoch:
    """A row of the history with what epochs are compared by, as a search sees it."""
    return Epoch(int(row["epoch"]), row["selection_accuracy"], row["selection_loss"], images, row)


def train(params: Params, run: str, report: Report) -> Epoch:
    """Train the base phase of a run with the first seed, and return the epoch whose weights it keeps.

    Raises:
        DivergedError: the loss is no longer a number.
        MemoryError: there is not enough of it.
    """
    settings, phase = params.runs[run], phases.base(params, run)
    study, recipe = params.study(settings.study), params.recipe_of(settings.study)
    if not selection.compares(recipe):
        recipe = recipe.model_copy(update={"patience": ENDLESS})
    dataset = samples.load(settings.study, study.classes)
    data = training_set(dataset, pd.read_csv(paths.plan(phase.plan)), phase.split)
    layers = specs.layers_of(settings.net, len(dataset.classes), settings.depth, settings.widths)
    layers = specs.with_dropout(specs.with_head_dropout(layers, settings.head_dropout), recipe.dropout)
    policy, seed = precision.policy(params.compute.precision, settings.net), params.seeds[0]
    schedule = Schedule(params.batch_size(run), phase.epochs, study.class_weight, seed, policy, params.batchnorm)
    reporting = Reporting(report, len(dataset.ids(selection.SPLIT)))
    keras.backend.clear_session()
    keras.utils.set_random_seed(seed)
    model = build.build(layers, study.image_size, policy)
    with phases.user_errors(phase):
        try:
            history = fit(model, data, dataset, recipe, schedule, reporting)
        except FloatingPointError as error:
            raise DivergedError(str(error)) from None
    best = reporting.progress.best
    row = best.epoch - 1 if recipe.selection == "best" and best else -1
    return epoch_of(history.iloc[row].to_dict(), reporting.images)
