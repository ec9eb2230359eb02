"""A trial: the base phase of a run, trained as its stage does and measured on the validation split alone."""

import math
from functools import partial

from cnnstudy.config.schema import Params
from cnnstudy.data import samples
from cnnstudy.search.trials import DivergedError, Epoch, Report
from cnnstudy.training import fit, selection
from cnnstudy.training.checkpoint import Checkpoint
from cnnstudy.workspace import paths


def reporting(report: Report, images: int) -> Checkpoint:
    """Return a checkpoint that reports each epoch at its end and stores nothing.

    The history's rows must have the metrics by which epochs are compared. `images` is the size of the split `val`.
    """
    return Checkpoint(paths.checkpoints() / "none.npz", math.inf, lambda row: report(epoch_of(row, images)))


def epoch_of(row: dict[str, float], images: int) -> Epoch:
    """Return a row of the history as the epoch that a search compares."""
    return Epoch(int(row["epoch"]), row["selection_accuracy"], row["selection_loss"], images, row)


def train(params: Params, run: str, report: Report) -> Epoch:
    """Train the base phase of a run with the first seed, and return the epoch whose weights it keeps.

    Raises:
        DivergedError: the loss is no longer a number.
        MemoryError: there is not enough memory.
    """
    return fit.train_deterministically(partial(_train, params, run, report))


def _train(params: Params, run: str, report: Report) -> Epoch:
    study = params.all_runs[run].study
    images = len(samples.load(study, params.studies[study].classes).ids(selection.SPLIT))
    phase, kept = fit.base(params, run), reporting(report, images)
    with fit.user_errors(phase):
        try:
            history = fit.fit_seed(params, run, phase, params.seeds[0], kept, compares=True).history
        except FloatingPointError as error:
            raise DivergedError(str(error)) from None
    best = kept.progress.best
    row = best.epoch - 1 if params.run_recipe(run).selection == "best" and best else -1
    return epoch_of(history.iloc[row].to_dict(), images)
