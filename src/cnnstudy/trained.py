"""A run's trained net: that of its last phase and first seed, unless another folder is given."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cnnstudy.config.schema import Params
from cnnstudy.data import samples
from cnnstudy.data.familiarity import Familiarity, read
from cnnstudy.data.specifications import generator_of
from cnnstudy.errors import UserError
from cnnstudy.evaluation.predictions import read_predictions, require_classes
from cnnstudy.evaluation.results import read_run
from cnnstudy.tracking import keys as tracking
from cnnstudy.workspace import paths

if TYPE_CHECKING:
    import keras


def folder(params: Params, run: str) -> Path:
    """Return the folder of a run's weights and predictions."""
    return paths.seed(run, params.phases(run)[-1], params.seeds[0])


def classes(params: Params, run: str) -> tuple[str, ...]:
    """Return the classes of a run's study, in the order of its outputs.

    Raises:
        UserError: the samples are missing, or the parameters have the classes in another order than the run was trained
            with.
    """
    study = params.all_runs[run].study
    if not paths.samples(study).is_file():
        raise UserError(f"{paths.samples(study)}: no such file; {_fetched(paths.samples(study))}")
    table = samples.read_samples(study)
    present = samples.present_classes(params.studies[study].classes, table)
    if (predictions := paths.predictions(folder(params, run))).is_file():
        require_classes(read_predictions(predictions), present, table["label"].to_numpy(), study)
    return present


def notices(params: Params, run: str) -> tuple[str, ...]:
    """Return warnings about a run's predictions: synthetic training images, missing files, and what it is not for."""
    study = params.study_of(run)
    synthetic = f"{run} was trained on synthetic images; its predictions for other images mean little."
    missing = {
        paths.familiarity(params.all_runs[run].study): "images unlike the training images are not marked",
        paths.run_metrics(run): "the probabilities are not calibrated",
    }
    lines = [f"{path}: no such file, so {effect}; {_fetched(path)}" for path, effect in missing.items()
             if not path.is_file()]  # fmt: skip
    return tuple(filter(None, (synthetic if is_synthetic(params, run) else "", *lines, study.not_for)))


def _fetched(path: Path) -> str:
    return f"`dvc pull {path}` fetches it, `cnnstudy repro` makes it"


def familiarity(params: Params, run: str) -> Familiarity | None:
    """Return the model that finds images unlike a run's training images; None where its file is missing."""
    path = paths.familiarity(params.all_runs[run].study)
    return read(path) if path.is_file() else None


def temperature(params: Params, run: str, phase: str, seed: int) -> float:
    """Return the temperature of a training's predictions (see cnnstudy.evaluation.calibration); 1 if it is unknown."""
    if not paths.run_metrics(run).is_file():
        return 1.0
    numbers = read_run(run).get(phase, {}).get(params.study_of(run).primary_split, {})
    found: list[float] = numbers.get("temperature_seeds", [])
    return found[params.seeds.index(seed)] if len(found) == len(params.seeds) else 1.0


def is_synthetic(params: Params, run: str) -> bool:
    """Return whether a run's training images are synthetic."""
    return generator_of(params.study_of(run)) is not None


def changed(params: Params, run: str, keys: tuple[str, ...] = ()) -> str:
    """Return a line on the first parameter (of `keys`, if given) changed since the run's stages were run; '' if none.

    dvc.lock holds the parameters with which the stages were run.
    """
    lock = tracking.read_lock()
    return tracking.changed(lock, params, tracking.stages_of(params, run), keys)


def load(params: Params, run: str, where: Path | None = None) -> "keras.Model":
    """Load a run's net in float32, for input [B, side, side, 3] in [0, 1], with the BatchNorm statistics in use.

    Raises:
        UserError: the run is not trained, its parameters have changed since, or the weights file is broken.
    """
    weights = paths.weights(where or folder(params, run))
    if not weights.is_file():
        raise UserError(f"{weights}: no such file; `cnnstudy repro` trains {run}, `dvc pull` fetches it")
    settings = params.all_runs[run]
    section = f"studies.{settings.study}"
    keys = ("image_size", "options", "training.dropout", "training.head_dropout", "training.value_activation", "values")
    shaping = (f"runs.{run}", f"pretrained.{run}", *(f"{section}.{key}" for key in keys))
    if problem := changed(params, run, shaping):
        raise UserError(f"{problem}; `cnnstudy repro` trains {run} anew")
    if (facts := paths.facts(run, params.phases(run)[-1])).is_file():
        then, now = json.loads(facts.read_text(encoding="utf-8")).get("values", ""), ", ".join(params.values_of(run))
        if then != now:
            key = f"{paths.PARAMS}: {section}.values"
            raise UserError(f"{key}: {now} found; allowed: the order that the net was trained with, {then}")
    from cnnstudy.models import assemble

    # Dropout does nothing in prediction, but the file holds the state of its random generator.
    model = assemble.build_plain(assemble.design_of(params, run, len(classes(params, run))))
    try:
        model.load_weights(weights)
    except (OSError, ValueError, KeyError) as error:
        cause = " ".join(str(error).split())[:200]
        raise UserError(f"{weights}: {cause}; `dvc checkout` or `cnnstudy repro` writes it anew") from None
    return model


class Inference:
    """The predictions of a net for batches of images."""

    def __init__(self, model: "keras.Model") -> None:
        """Compile the part of the net that predicts classes into a graph."""
        import tensorflow as tf

        from cnnstudy.models.assemble import class_part
        from cnnstudy.training import batchnorm, pipeline

        model = class_part(model)
        self.batch_size = pipeline.inference_batch_size(model)
        self._infer = batchnorm.in_graph(
            lambda batch: model(batch, training=False), tf.TensorSpec(model.inputs[0].shape)
        )

    def __call__(self, batches: Iterable[np.ndarray]) -> np.ndarray:
        """Return the class probabilities of batches of uint8 images [b, side, side, 3], float32 [n, classes]."""
        import tensorflow as tf

        from cnnstudy.models.assemble import class_probabilities
        from cnnstudy.training.pipeline import scaled

        outputs = [self._infer(tf.convert_to_tensor(scaled(batch))).numpy() for batch in batches]
        return class_probabilities(np.concatenate(outputs))
