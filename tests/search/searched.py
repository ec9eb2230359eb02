"""A search over two settings of an X-ray net whose trials take no time."""

import math
from collections.abc import Callable
from pathlib import Path

from synthetic_runs import params_with, write_samples

from cnnstudy.config.schema import Params
from cnnstudy.search.space import Alternatives, Range
from cnnstudy.search.trials import Epoch, Objective, Report, Search

RUN = "xray-aug0"
SPACE = (
    Range("studies.xray.training.learning_rate", 1e-5, 1e-1, True, False),
    Alternatives("studies.xray.training.schedule", ("constant", "cosine")),
)
EPOCHS = 4


def make(folder: Path | None = None, seed: int = 0) -> Search:
    """A search in the working directory, with its data; its database is a file in `folder`, or in memory."""
    Path(".dvc").mkdir(exist_ok=True)
    params = params_with((RUN,), studies__xray__epochs=EPOCHS)
    write_samples(params, "xray")
    if folder:
        folder.mkdir(exist_ok=True)
    return Search(RUN, params, SPACE, seed, f"sqlite:///{folder}/optuna.db" if folder else "sqlite:///:memory:")


def accuracy(params: Params) -> float:
    """The nearer the learning rate is to 0.003 the higher, and higher with a schedule that is not constant."""
    away = abs(math.log10(params.studies["xray"].training.learning_rate) + 2.5)
    return 0.9 - 0.2 * away - 0.05 * (params.studies["xray"].training.schedule == "constant")


def epoch(number: int, value: float, loss: float = 0.5) -> Epoch:
    return Epoch(number, value, loss, 20, {"epoch": number, "loss": 0.4, "val_accuracy": value})


def quick(params: Params, report: Report) -> Epoch:
    """An objective that knows its accuracy and gets there in four epochs."""
    for number in range(1, EPOCHS + 1):
        report(epoch(number, accuracy(params) * number / EPOCHS))
    return epoch(EPOCHS, accuracy(params))


def scripted(values: list[float]) -> Objective:
    """An objective that gives these accuracies, one a trial; NaN where the loss is to be none."""
    left = iter(values)

    def objective(params: Params, report: Report) -> Epoch:
        value = next(left)
        for number in range(1, EPOCHS + 1):
            report(epoch(number, value, math.nan if math.isnan(value) else 0.5))
        return epoch(EPOCHS, value)

    return objective


def stopped_in(trial: int, stop: Callable[[], None]) -> Objective:
    """The objective `quick`, which calls `stop` in the second epoch of one trial, counted from 1."""
    made = 0

    def objective(params: Params, report: Report) -> Epoch:
        nonlocal made
        made += 1
        if made == trial:
            report(epoch(1, 0.1))
            stop()
        return quick(params, report)

    return objective


def unrecorded(*_: object) -> None:
    """Record nothing."""
