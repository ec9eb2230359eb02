"""A trial trains what the stage trains, and looks at no split but train and val."""

import dataclasses
import hashlib
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from search.searched import RUN, make, unrecorded
from training.small_net import ADAM, SCHEDULE, doubtful, trained, training, unkept

from cnnstudy.config.schema import Params
from cnnstudy.search import trainer, trials
from cnnstudy.search.space import with_values
from cnnstudy.search.trials import DivergedError, Epoch, Search
from cnnstudy.training import fit
from cnnstudy.workspace import paths

POLICY = "id,split,operation,rotation,shift,flip,crop,brightness,contrast,cutout,mixing\n"
COMPARED = ADAM.model_copy(update={"patience": sys.maxsize})


@pytest.fixture
def search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Search:
    """A search with data, in a working directory of its own."""
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.chdir(tmp_path)
    return make(tmp_path)


@pytest.fixture
def small(search: Search) -> Search:
    """A search with one convolution, small bright and dark X-rays, and two epochs."""
    labels = np.load(paths.images("xray")).shape[0]
    images = np.random.default_rng(0).integers(0, 120, (labels, 8, 8, 3))
    images[1::2] += 120  # the classes take turns
    np.save(paths.images("xray"), images.astype(np.uint8))
    policy = "id,split,operation,rotation,shift,flip,crop,brightness,contrast,cutout,mixing\n" + "".join(
        f"{i},train,original,0,0,False,0,0,0,0,0\n" for i in range(40)
    )
    paths.policy("xray", "aug0").write_text(policy)
    values: dict[str, float | str] = {"studies.xray.image_size": 8, "runs.xray-aug0.options.depth": 1}
    values |= {"studies.xray.epochs": 2, "studies.xray.training.learning_rate": 0.01}
    return dataclasses.replace(search, params=with_values(search.params, values))


def digest(model: keras.Sequential) -> str:
    return hashlib.sha256(b"".join(weight.tobytes() for weight in model.get_weights())).hexdigest()


@pytest.mark.slow
def test_reporting_changes_no_byte_of_a_training() -> None:
    dataset = doubtful()
    data = training(dataset, rotation=20)
    usual, history = trained(dataset, data, checkpoint=unkept())
    epochs: list[Epoch] = []
    watched, rows = trained(dataset, data, checkpoint=trainer.reporting(epochs.append, 40), settings=COMPARED)
    assert digest(watched) == digest(usual)
    assert rows[list(history.columns)].equals(history)
    assert [epoch.number for epoch in epochs] == [1, 2, 3, 4, 5, 6]
    assert [epoch.accuracy for epoch in epochs] == history["val_accuracy"].tolist()


def test_a_report_may_end_a_training() -> None:
    def stop(epoch: Epoch) -> None:
        if epoch.number == 2:
            raise KeyboardInterrupt

    dataset = doubtful()
    reporting = trainer.reporting(stop, 40)
    with pytest.raises(KeyboardInterrupt):
        trained(dataset, training(dataset), checkpoint=reporting, settings=COMPARED)
    assert reporting.progress.epoch == 2


def test_epochs_are_told_in_the_mode_that_counts() -> None:
    dataset, epochs = doubtful(), list[Epoch]()
    schedule = dataclasses.replace(SCHEDULE, epochs=2, batchnorm="recalibrated")
    reporting = trainer.reporting(epochs.append, 40)
    _, history = trained(dataset, training(dataset), checkpoint=reporting, settings=COMPARED, schedule=schedule)
    assert [epoch.loss for epoch in epochs] == history["selection_loss"].tolist()
    assert [epoch.loss for epoch in epochs] != history["val_loss"].tolist()


def test_a_trial_starts_as_the_stage_does(search: Search, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[Any] = []

    def stop(model: keras.Sequential, data: Any, dataset: Any, settings: Any, schedule: Any, checkpoint: Any) -> None:
        settings = settings.model_copy(update={"patience": 0})
        started.append((digest(model), data.ids.tolist(), dataset.labels.tolist(), settings, schedule))
        raise KeyboardInterrupt

    small_enough = with_values(search.params, {"studies.xray.training.dropout": 0.5, "batchnorm": "moving"})
    policy = POLICY + "".join(f"{i},train,original,0,0,False,0,0,0,0,0\n" for i in range(2))
    paths.policy("xray", "aug0").write_text(policy)
    paths.specifications("xray").write_text("null\n")
    monkeypatch.setattr(fit, "fit", stop)
    with pytest.raises(KeyboardInterrupt):
        fit.train_phase(small_enough, RUN, fit.base(small_enough, RUN), lambda seed, row: None)
    with pytest.raises(KeyboardInterrupt):
        trainer.train(small_enough, RUN, unrecorded)
    stage, trial = started
    assert trial == stage


def test_a_trial_never_looks_at_test_images(small: Search) -> None:
    epochs: list[Epoch] = []
    kept = trainer.train(small.params, RUN, epochs.append)
    images = np.load(paths.images("xray"))
    images[50:] = 0  # those of test
    np.save(paths.images("xray"), images)
    again = trainer.train(small.params, RUN, unrecorded)
    assert again == kept == epochs[-1]


def test_the_best_epoch_counts_where_it_is_kept(small: Search) -> None:
    epochs: list[Epoch] = []
    values: dict[str, float | str] = {
        "studies.xray.training.selection": "best",
        "studies.xray.training.learning_rate": 1.0,
        "studies.xray.epochs": 3,
    }
    kept = trainer.train(with_values(small.params, values), RUN, epochs.append)
    assert kept.value == max(epoch.value for epoch in epochs)


def test_a_loss_that_is_no_number_is_not_an_epoch(small: Search, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*arguments: Any) -> None:
        raise FloatingPointError("the loss is nan after epoch 1")

    monkeypatch.setattr(fit, "fit", stop)
    epochs: list[Epoch] = []
    with pytest.raises(DivergedError, match="the loss is nan after epoch 1"):
        trainer.train(small.params, RUN, epochs.append)
    assert epochs == []


def test_a_search_trains(small: Search) -> None:
    def objective(params: Params, report: trials.Report) -> Epoch:
        return trainer.train(params, RUN, report)

    study = trials.run(small, 2, objective, unrecorded)
    assert [sorted(trial.intermediate_values) for trial in study.trials] == [[1, 2], [1, 2]]
    rows = study.trials[0].user_attrs["rows"]
    assert {"epoch", "loss", "val_accuracy", "selection_accuracy", "value"} <= set(rows[0])
    assert study.trials[0].value == rows[-1]["value"]
