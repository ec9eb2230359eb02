"""The two phases of a run: train on the train split, then go on with the tune split."""

import json
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import keras
import numpy as np
import pandas as pd
import tensorflow as tf

from cnnstudy.config.schema import HEADLINE, BatchNormMode, FacesStudy, Frozen, Params, StudyName
from cnnstudy.data import samples
from cnnstudy.data.samples import Dataset
from cnnstudy.errors import UserError
from cnnstudy.nets import build, specs
from cnnstudy.training import checkpoint, devices, environment, gradcam, precision, selection
from cnnstudy.training.loop import Schedule, fit
from cnnstudy.training.pipeline import TrainingSet, training_set
from cnnstudy.training.predict import predict_splits, write_arrays
from cnnstudy.workspace import edits, files, paths

Result = TypeVar("Result")
# Of a phase's kept folder: the file that says that a seed was trained without deterministic operations.
DIFFERS = "differs"


@dataclass(frozen=True)
class Phase:
    """A phase's name, the split it trains on, its plan, its epochs, its learning rate and that rate's parameter.

    `frozen` is what of the net isn't trained.
    """

    name: str
    split: str
    plan: str
    epochs: int
    learning_rate: float
    rate_key: str
    frozen: Frozen = "none"


def base(params: Params, run: str) -> Phase:
    """Training from random weights."""
    settings, rate = params.runs[run], params.run_recipe(run).learning_rate
    own = f"runs.{run}.training.learning_rate"
    key = own if "learning_rate" in settings.training else f"training.{settings.study}.learning_rate"
    return Phase("base", "train", settings.plan, params.run_sizes(run).epochs, rate, key)


def tuned(params: Params, run: str) -> Phase:
    """Training on the tune split, from the base phase's weights and BatchNorm statistics, with a fresh optimizer."""
    settings = params.finetuned[run]
    study = params.study(settings.study)
    assert isinstance(study, FacesStudy)
    key = f"{settings.study}.tuned_learning_rate"
    return Phase("tuned", "tune", settings.plan, study.tuned_epochs, study.tuned_learning_rate, key, study.tuned_frozen)


def train_phase(params: Params, run: str, phase: Phase, report: Callable[[int, dict[str, float]], None]) -> None:
    """Train every seed of a phase in order, and write its weights, history and predictions when all are there.

    The first seed also says where it looks. `report` is given the seed and the history's row of every epoch.

    Raises:
        UserError: the loss is no longer a number.
        MemoryError: there is not enough of it.
    """
    name = f"{run}-{phase.name}-{_key(params, run, phase)}"
    with checkpoint.kept_folder(paths.checkpoints(), name) as folder:
        for seed in params.seeds:
            if not (folder / "done" / f"seed{seed}").exists():
                with user_errors(phase):
                    deterministically(partial(_train_seed, params, run, phase, seed, folder, partial(report, seed)))
                if not environment.is_deterministic():
                    (folder / DIFFERS).touch()  # for another process, which may find all seeds done
        facts = _of_the_machine(params, run) | {"deterministic": not (folder / DIFFERS).exists()}
        files.write_text(folder / "done" / paths.FACTS, json.dumps(facts) + "\n")
        edits.check()  # while what was trained is still kept for the same again
        with files.replacing(paths.phase(run, phase.name)) as aside:
            shutil.move(folder / "done", aside)
    environment.write_facts(params.compute.threads)


def deterministically(train: Callable[[], Result]) -> Result:
    """Train, again if an operation has no deterministic kind on this device and must then be allowed to differ.

    Raises:
        UserError: there are several devices, whose copies no longer hear of one another after such an operation.
    """
    try:
        return train()
    except tf.errors.UnimplementedError as error:
        if "determin" not in str(error):
            raise
        cause = next(line for line in str(error).splitlines() if "determin" in line).strip()
        if devices.strategy().num_replicas_in_sync > 1:
            allowed = "one GPU, such as by CUDA_VISIBLE_DEVICES=0"
            raise UserError(f"several GPUs: {cause.rstrip('.')}; allowed: {allowed}") from None
        print(f"warning: {cause} Trains without: the same again may give other bits.", file=sys.stderr)
        environment.allow_nondeterminism()
        return train()


def _of_the_machine(params: Params, run: str) -> dict[str, str | bool | int]:
    """What a training's bits depend on that is chosen by the machine."""
    policy = precision.policy(params.compute.precision)
    return {
        "precision": policy,
        "products": precision.of_products(policy),
        "jit": devices.compiles(params.compute.jit, specs.of_run(params, run, 2)),
        "replicas": devices.strategy().num_replicas_in_sync,
        "gpus": ", ".join(environment.gpus()) or "none",
    }


def training_data(params: Params, run: str, phase: Phase, dataset: Dataset) -> TrainingSet:
    """What a phase of a run trains on, by its plan and the recipe."""
    study = params.runs[run].study
    plan = pd.read_csv(paths.plan(study, phase.plan))
    return training_set(dataset, plan, phase.split, params.run_recipe(run).augmentation)


def schedule(params: Params, run: str, phase: Phase, seed: int) -> Schedule:
    """How a phase of a run trains a seed on this machine."""
    machine = _of_the_machine(params, run)
    return Schedule(
        params.run_sizes(run).batch_size,
        phase.epochs,
        params.run_sizes(run).class_weight,
        seed,
        str(machine["precision"]),
        params.batchnorm,
        bool(machine["jit"]),
        bool(tf.config.list_logical_devices("GPU")),
    )


@contextmanager
def user_errors(phase: Phase) -> Iterator[None]:
    """Name the parameter that made a loss no number; of too little memory, the line that says for what."""
    try:
        yield
    except FloatingPointError as error:
        found = f"{phase.rate_key}: {phase.learning_rate} found"
        raise UserError(f"params.yaml: {found}, but {error}; allowed: a smaller rate") from None
    except tf.errors.ResourceExhaustedError as error:
        lines = str(error).splitlines()
        raise MemoryError(next((line.strip() for line in lines if "OOM" in line), lines[0])) from None


@dataclass(frozen=True)
class Fitted:
    """A net that a phase has trained, in float32; a row of the history an epoch; and what it was trained on and how."""

    model: keras.Sequential
    history: pd.DataFrame
    dataset: Dataset
    data: TrainingSet
    schedule: Schedule


def fit_seed(
    params: Params, run: str, phase: Phase, seed: int, progress: checkpoint.Checkpoint, compares: bool = False
) -> Fitted:
    """Train one seed of a phase; where `compares`, epochs are compared although the recipe does not.

    Raises:
        FloatingPointError: the loss is no longer a number.
    """
    study = params.study(params.runs[run].study)
    recipe = params.run_recipe(run).model_copy(update={"learning_rate": phase.learning_rate})
    if compares and not selection.compares(recipe):
        recipe = recipe.model_copy(update={"patience": sys.maxsize})
    dataset = samples.load(params.runs[run].study, study.classes)
    data = training_data(params, run, phase, dataset)
    layers, how = specs.of_run(params, run, len(dataset.classes)), schedule(params, run, phase, seed)
    frozen = specs.head_start(layers) if phase.frozen == "features" else 0
    keras.backend.clear_session()  # layers are named by number, and the names are in the weights' file
    keras.utils.set_random_seed(seed)
    with devices.strategy().scope():
        model = build.build(layers, study.image_size, how.policy, frozen)
        if phase.name == "tuned":
            model.load_weights(paths.weights(paths.seed(run, "base", seed)))
        history = fit(model, data, dataset, recipe, how, progress)
    build.set_float32(model)
    return Fitted(model, history, dataset, data, how)


def _train_seed(params: Params, run: str, phase: Phase, seed: int, folder: Path, report: checkpoint.Report) -> None:
    """Train one seed, into folder/done/seed<k>; its checkpoint is folder/seed<k>.npz."""
    study, kept = params.runs[run].study, folder / f"seed{seed}.npz"
    progress = checkpoint.Checkpoint(kept, params.compute.checkpoint_seconds, report)
    fitted = fit_seed(params, run, phase, seed, progress)
    model, history = fitted.model, fitted.history
    del progress  # it holds the optimizer
    keras.backend.clear_session()  # collects the optimizer, which is twice the net
    predictions = predict_splits(model, fitted.dataset, fitted.data, fitted.schedule, HEADLINE[study])
    refuse_nan(predictions, params.batchnorm)
    looks = _explain(params, study, model, fitted.dataset, predictions) if seed == params.seeds[0] else {}
    with files.replacing_folder(folder / "done" / f"seed{seed}") as done:
        # HDF5 that finds no room for its last bytes takes the process down with it.
        files.reserve(paths.weights(done), 2 * 4 * model.count_params())
        model.save_weights(paths.weights(done))
        history.to_csv(paths.history(done), index=False)
        write_arrays(paths.predictions(done), predictions)
        if looks:
            write_arrays(paths.gradcam(done), looks)
    files.remove(kept)


def refuse_nan(predictions: dict[str, np.ndarray], mode: BatchNormMode) -> None:
    """Refuse answers, in the mode that counts, that are no numbers: of weights that are, but too large to multiply.

    Raises:
        FloatingPointError: saying so.
    """
    for name, array in predictions.items():
        if name.endswith(f"/{mode}") and not np.isfinite(array).all():
            raise FloatingPointError(f"of the answers on {name.split('/')[0]} some are no numbers")


def _explain(
    params: Params, study: StudyName, model: keras.Sequential, dataset: Dataset, predictions: dict[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Where the net looks in the split that stands for the run."""
    split = HEADLINE[study]
    ids, labels, probabilities = (predictions[f"{split}/{name}"] for name in ("id", "label", params.batchnorm))
    return gradcam.explain(model, dataset.images, (ids, labels, probabilities))


def _key(params: Params, run: str, phase: Phase) -> str:
    settings = params.runs[run]
    study = params.study(settings.study)
    used = {
        "run": settings.model_dump(),
        "phase": asdict(phase),
        "seeds": params.seeds,
        "batch_size": params.run_sizes(run).batch_size,
        "class_weight": params.run_sizes(run).class_weight,
        "classes": list(study.classes),
        "training": params.run_recipe(run).model_dump(),
        "batchnorm": params.batchnorm,
        "threads": params.compute.threads,
        "machine": _of_the_machine(params, run),
    }
    data = [path(settings.study) for path in (paths.samples, paths.images, paths.splits)]
    data.append(paths.plan(settings.study, phase.plan))
    if phase.name == "tuned":
        data += [paths.weights(paths.seed(run, "base", seed)) for seed in params.seeds]
    return checkpoint.key(used, data)
