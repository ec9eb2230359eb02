"""The two phases of a run: training on the train split, and fine-tuning on the tune split."""

import json
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import keras
import numpy as np
import pandas as pd
import tensorflow as tf

from cnnstudy.config.schema import BatchNormMode, Frozen, Params
from cnnstudy.data import samples
from cnnstudy.data.samples import Dataset
from cnnstudy.errors import UserError
from cnnstudy.explain import gradcam
from cnnstudy.models import assemble, pretrained
from cnnstudy.models.table import layer_table
from cnnstudy.training import checkpoint, devices, environment, precision, selection
from cnnstudy.training.inference import predict_splits
from cnnstudy.training.loop import Schedule, fit
from cnnstudy.training.pipeline import TrainingSet, sample_rows, training_set
from cnnstudy.workspace import edits, files, paths
from cnnstudy.workspace.terminal import say

Result = TypeVar("Result")
# A function that is called with the seed and the history's row of every completed epoch.
PhaseReport = Callable[[int, dict[str, float]], None]


@dataclass(frozen=True)
class Phase:
    """One phase of a run: name, training split, augmentation policy, epochs and learning rate.

    `rate_key` is the parameter that sets the learning rate; `frozen` are the layers that are not trained; `train_share`
    is the share of the train split that is trained on besides `split`.
    """

    name: str
    split: str
    policy: str
    epochs: int
    learning_rate: float
    rate_key: str
    frozen: Frozen = "none"
    train_share: float = 0.0


def base(params: Params, run: str) -> Phase:
    """Return the phase that trains from random or pretrained weights."""
    settings, rate = params.all_runs[run], params.run_recipe(run).learning_rate
    own = f"runs.{run}.training.learning_rate"
    key = own if "learning_rate" in (settings.training or {}) else f"studies.{settings.study}.training.learning_rate"
    frozen = params.pretrained[run].frozen if run in params.pretrained else "none"
    return Phase("base", "train", settings.policy, params.run_sizes(run).epochs, rate, key, frozen)


def tuned(params: Params, run: str) -> Phase:
    """Return the phase that trains on the tune split, from the base phase's weights and BatchNorm statistics.

    The optimizer starts afresh.
    """
    settings = params.finetuned[run]
    finetune = params.studies[settings.study].finetune
    assert finetune is not None
    key = f"studies.{settings.study}.finetune.learning_rate"
    rate, frozen, share = finetune.learning_rate, finetune.frozen, finetune.train_share
    return Phase("tuned", "tune", settings.policy, finetune.epochs, rate, key, frozen, share)


def train_phase(params: Params, run: str, phase: Phase, report: PhaseReport) -> None:
    """Train every seed of a phase in order; when all are trained, write their weights, histories and predictions.

    For the first seed the saliency maps are written as well.

    Raises:
        UserError: the loss is no longer a number.
        MemoryError: there is not enough memory.
    """
    name = f"{run}-{phase.name}-{_key(params, run, phase)}"
    with checkpoint.working_folder(paths.checkpoints(), name) as folder:
        checkpoint.take_seeds(folder)
        for seed in params.seeds:
            # The facts come last.
            if not all(path.exists() for path in (folder / "done" / f"seed{seed}", folder / _facts_name(seed))):
                _finish_seed(params, run, phase, seed, folder, report)
        facts = _joined([json.loads((folder / _facts_name(seed)).read_text(encoding="utf-8")) for seed in params.seeds])
        if names := params.values_of(run):
            facts["values"] = ", ".join(names)
        files.write_text(folder / "done" / paths.FACTS, json.dumps(facts) + "\n")
        _write_layers(params, run, folder / "done" / paths.LAYERS)
        edits.check()  # before the checkpoints are removed, so that a training of the same parameters can use them
        with files.replacing(paths.phase(run, phase.name)) as aside:
            shutil.move(folder / "done", aside)
    environment.write_facts(params.compute.threads)


def train_apart(params: Params, run: str, phase: Phase, seed: int, target: Path, report: PhaseReport) -> None:
    """Train one seed of a phase into the folder `target`, from which `checkpoint.take_seeds` takes it.

    Raises:
        UserError: the loss is no longer a number.
        MemoryError: there is not enough memory.
    """
    name = f"{run}-{phase.name}-seed{seed}-{_key(params, run, phase)}"
    with checkpoint.working_folder(paths.checkpoints(), name) as folder:
        _finish_seed(params, run, phase, seed, folder, report)
        for path in (folder / "done" / f"seed{seed}", folder / _facts_name(seed)):
            shutil.move(path, target)


def _finish_seed(params: Params, run: str, phase: Phase, seed: int, folder: Path, report: PhaseReport) -> None:
    """Train one seed into folder/done, and write its machine's facts beside that."""
    with user_errors(phase):
        train = partial(_train_seed, params, run, phase, seed, folder, partial(report, seed))
        train_deterministically(train)
    # For a later process that finds the seed trained, perhaps on another machine.
    facts = _machine_facts(params, run) | {"deterministic": environment.is_deterministic()}
    files.write_text(folder / _facts_name(seed), json.dumps(facts) + "\n")


def _facts_name(seed: int) -> str:
    return f"facts-seed{seed}.json"


def _joined(facts: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the facts of a phase from those of its seeds; facts that differ are joined as text."""
    found: dict[str, Any] = {}
    for name in facts[0]:
        values = list(dict.fromkeys(each[name] for each in facts))
        found[name] = values[0] if len(values) == 1 else " and ".join(map(str, values))
    return found | {"deterministic": all(each["deterministic"] for each in facts)}


def _write_layers(params: Params, run: str, file: Path) -> None:
    """Write the net's layer table, for images of the size in the paper's tables if the study gives one."""
    study = params.study_of(run)
    classes = len(samples.present_classes(study.classes, samples.read_samples(params.all_runs[run].study)))
    design = assemble.design_of(params, run, classes, study.paper_image_size)
    layer_table(assemble.sketch(design)).to_csv(file, index=False)


def train_deterministically(train: Callable[[], Result]) -> Result:
    """Train with deterministic operations, or without if one of them has no deterministic version on this device.

    Raises:
        UserError: there are several devices; after such an operation fails, sums over their replicas no longer work.
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
        say(f"warning: {cause} Training without determinism: the next training may give different bits.", sys.stderr)
        environment.allow_nondeterminism()
        return train()


def _machine_facts(params: Params, run: str) -> dict[str, str | bool | int]:
    """Return the settings that depend on this machine and that a training's bits depend on."""
    policy = precision.policy(params.compute.precision)
    return {
        "precision": policy,
        "products": precision.product_dtype(policy),
        "jit": devices.compiles(params.compute.jit),
        "holds_images": devices.holds(paths.images(params.all_runs[run].study)),
        "replicas": devices.strategy().num_replicas_in_sync,
        "gpus": ", ".join(environment.gpus()) or "none",
    }


def training_data(params: Params, run: str, phase: Phase, dataset: Dataset) -> TrainingSet:
    """Return the training set of a phase of a run, by its augmentation policy and the recipe."""
    study, strength = params.all_runs[run].study, params.run_recipe(run).augmentation
    table = pd.read_csv(paths.policy(study, phase.policy))
    data = training_set(dataset, table, phase.split, strength)
    if not phase.train_share:
        return data
    train = training_set(dataset, table, "train", strength)
    return data.joined(train, sample_rows(train, round(phase.train_share * len(train)), seed=0))


def schedule(params: Params, run: str, phase: Phase, seed: int) -> Schedule:
    """Return the schedule by which a phase of a run trains a seed on this machine."""
    machine = _machine_facts(params, run)
    return Schedule(
        params.run_sizes(run).batch_size,
        phase.epochs,
        params.run_sizes(run).class_weight,
        seed,
        str(machine["precision"]),
        params.batchnorm,
        bool(machine["jit"]),
        devices.has_gpu(),
        bool(machine["holds_images"]),
        devices.steps_at_once(),
    )


@contextmanager
def user_errors(phase: Phase) -> Iterator[None]:
    """Turn a loss that is not a number into a UserError, and TensorFlow's out-of-memory error into a MemoryError.

    The UserError names the parameter of the learning rate, the MemoryError the allocation that failed.
    """
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
    """A trained net in float32, its history with one row per epoch, its data and its schedule."""

    model: keras.Model
    history: pd.DataFrame
    dataset: Dataset
    data: TrainingSet
    schedule: Schedule


def fit_seed(
    params: Params, run: str, phase: Phase, seed: int, progress: checkpoint.Checkpoint, compares: bool = False
) -> Fitted:
    """Train one seed of a phase; with `compares`, epochs are compared even if the recipe does not compare them.

    Raises:
        FloatingPointError: the loss is no longer a number.
    """
    study = params.study_of(run)
    recipe = params.run_recipe(run).model_copy(update={"learning_rate": phase.learning_rate})
    if compares and not selection.compares(recipe):
        recipe = recipe.model_copy(update={"patience": sys.maxsize})
    dataset = samples.load(params.all_runs[run].study, study.classes, params.task_of(run), params.values_of(run))
    _require_values(params, run, dataset)
    data = training_data(params, run, phase, dataset)
    design, plan = assemble.design_of(params, run, len(dataset.classes)), schedule(params, run, phase, seed)
    keras.backend.clear_session()  # the weights file has the layers' names, which Keras numbers within a session
    start = params.pretrained.get(run) if phase.name == "base" else None
    source = assemble.build_plain(design) if start else None
    keras.backend.clear_session()
    with devices.strategy().scope():
        model = assemble.build(design, seed, plan.policy, phase.frozen, plan.is_compiled)
        if phase.name == "tuned":
            model.load_weights(paths.weights(paths.seed(run, "base", seed)))
        elif start:
            say(pretrained.load(model, source, Path(start.weights)))
        with precision.products(plan.policy):
            history = fit(model, data, dataset, recipe, plan, progress)
    assemble.set_float32(model)
    return Fitted(model, history, dataset, data, plan)


def _require_values(params: Params, run: str, dataset: Dataset) -> None:
    """Refuse a data set without one of the values that a run learns, in a split that its training or result needs.

    Raises:
        UserError: a value is missing for all images of such a split.
    """
    for split in dict.fromkeys(("train", selection.SPLIT, params.study_of(run).primary_split)):
        for place, name in enumerate(dataset.value_names):
            assert dataset.values is not None
            if not np.isfinite(dataset.values[dataset.ids(split), place]).any():
                key = f"{paths.samples(params.all_runs[run].study)}: {samples.VALUE}{name}"
                raise UserError(f"{key}: no image of the split {split} has it; allowed: at least one, for {run}")


def _train_seed(params: Params, run: str, phase: Phase, seed: int, folder: Path, report: checkpoint.Report) -> None:
    """Train one seed and write the result to folder/done/seed<k>; the checkpoint is folder/seed<k>.npz."""
    study, file = params.all_runs[run].study, folder / f"seed{seed}.npz"
    progress = checkpoint.Checkpoint(file, params.compute.checkpoint_seconds, report)
    fitted = fit_seed(params, run, phase, seed, progress)
    model, history = fitted.model, fitted.history
    del progress  # the checkpoint holds the optimizer
    keras.backend.clear_session()  # frees the optimizer, which takes twice the net's memory
    predictions = predict_splits(
        model, fitted.dataset, fitted.data, fitted.schedule, params.studies[study].primary_split
    )
    refuse_nan(predictions, params.batchnorm)
    saliency = _saliency(params, study, model, fitted.dataset, predictions) if seed == params.seeds[0] else {}
    with files.replacing_folder(folder / "done" / f"seed{seed}") as done:
        # If the disk is full at HDF5's last bytes, HDF5 crashes the process.
        files.reserve(paths.weights(done), 2 * 4 * model.count_params())
        model.save_weights(paths.weights(done))
        history.to_csv(paths.history(done), index=False)
        files.write_arrays(paths.predictions(done), predictions)
        if saliency:
            files.write_arrays(paths.gradcam(done), saliency)
    files.remove(file)


def refuse_nan(predictions: dict[str, np.ndarray], mode: BatchNormMode) -> None:
    """Refuse predictions in the primary mode that are not numbers, such as after products of weights overflow.

    Raises:
        FloatingPointError: some predictions are not numbers; the message names the split.
    """
    for name, array in predictions.items():
        if name.endswith(f"/{mode}") and not np.isfinite(array).all():
            raise FloatingPointError(f"some predictions on {name.split('/')[0]} are not numbers")


def _saliency(
    params: Params, study: str, model: keras.Model, dataset: Dataset, predictions: dict[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Return the saliency maps of the study's primary split; {} for a net that predicts values alone."""
    split = params.studies[study].primary_split
    ids, labels, outputs = (predictions[f"{split}/{name}"] for name in ("id", "label", params.batchnorm))
    probabilities, has_class = outputs[:, : outputs.shape[1] - len(dataset.value_names)], labels != samples.NO_CLASS
    if not probabilities.shape[1]:
        return {}
    shown = ids[has_class], labels[has_class], probabilities[has_class]
    return gradcam.explain(assemble.class_part(model), dataset.images, shown)


def _key(params: Params, run: str, phase: Phase) -> str:
    settings = params.all_runs[run]
    study = params.studies[settings.study]
    used = {
        "run": settings.model_dump(),
        "options": params.options_of(run),
        "phase": asdict(phase),
        "seeds": params.seeds,
        "batch_size": params.run_sizes(run).batch_size,
        "class_weight": params.run_sizes(run).class_weight,
        "classes": list(study.classes),
        "training": params.run_recipe(run).model_dump(),
        "values": params.values_of(run),
        "batchnorm": params.batchnorm,
        "threads": params.compute.threads,
        "machine": _machine_facts(params, run),
    }
    data = [path(settings.study) for path in (paths.samples, paths.images, paths.splits)]
    data.append(paths.policy(settings.study, phase.policy))
    if run in params.pretrained and phase.name == "base":
        data.append(Path(params.pretrained[run].weights))
    if phase.name == "tuned":
        data += [paths.weights(paths.seed(run, "base", seed)) for seed in params.seeds]
    return checkpoint.key(used, data)
