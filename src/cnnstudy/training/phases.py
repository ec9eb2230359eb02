"""The two phases of a run: train on the train split, then go on with the tune split."""

from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import pandas as pd

from cnnstudy import paths
from cnnstudy.data import samples
from cnnstudy.nets import build, specs
from cnnstudy.params import FacesStudy, Params
from cnnstudy.training.loop import Schedule, fit
from cnnstudy.training.pipeline import training_set
from cnnstudy.training.predict import predict_splits


@dataclass(frozen=True)
class Phase:
    """A phase's name, the split it trains on, its plan and its epochs."""

    name: str
    split: str
    plan: str
    epochs: int


def base(params: Params, run: str) -> Phase:
    """Training from random weights."""
    settings = params.runs[run]
    return Phase("base", "train", settings.plan, params.study(settings.study).epochs)


def tuned(params: Params, run: str) -> Phase:
    """Training on the tune split, from the base phase's weights, all layers trainable, with a fresh optimizer."""
    settings = params.finetuned[run]
    study = params.study(settings.study)
    assert isinstance(study, FacesStudy)
    return Phase("tuned", "tune", settings.plan, study.tuned_epochs)


def train_phase(params: Params, run: str, phase: Phase) -> None:
    """Train every seed of a phase in order, and write its weights, history and predictions."""
    settings = params.runs[run]
    study = params.study(settings.study)
    dataset = samples.load(settings.study, study.classes)
    data = training_set(dataset, pd.read_csv(paths.plan(phase.plan)), phase.split)
    layers = specs.layers_of(settings.net, len(dataset.classes), settings.depth, settings.widths)
    for seed in params.seeds:
        keras.utils.set_random_seed(seed)
        model = build.build(layers, study.image_size)
        if phase.name == "tuned":
            model.load_weights(paths.weights(paths.seed(run, "base", seed)))
        schedule = Schedule(study.batch_size, phase.epochs, study.class_weight, seed)
        history = fit(model, data, dataset, params.training, schedule)
        predictions = predict_splits(model, dataset, data, schedule, params.batchnorm)
        _write(paths.seed(run, phase.name, seed), model, history, predictions)
        keras.backend.clear_session()


def _write(folder: Path, model: keras.Sequential, history: pd.DataFrame, predictions: dict[str, np.ndarray]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    model.save_weights(paths.weights(folder))
    history.to_csv(paths.history(folder), index=False)
    np.savez_compressed(paths.predictions(folder), **predictions)  # type: ignore[arg-type]
