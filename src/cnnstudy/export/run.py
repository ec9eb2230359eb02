"""Export of a run's net as LiteRT files, and comparison of their predictions with Keras's."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from cnnstudy import trained
from cnnstudy.config.schema import Params
from cnnstudy.data import samples
from cnnstudy.evaluation.predictions import read_predictions, read_values
from cnnstudy.evaluation.values import rmse, sums_of
from cnnstudy.export.convert import convert
from cnnstudy.export.litert import open_net
from cnnstudy.workspace import files, paths

# The number of images on which the ranges of activations are measured.
CALIBRATION = 128


def export_run(params: Params, run: str) -> None:
    """Write a run's LiteRT files to exports/<run>, and their metrics to metrics/export/runs/<run>.json.

    The metrics are `side` of the input in pixels, `calibration` and `images` (the numbers of images from train for
    calibration and from the primary split for the metrics), `keras` with its scores (see `scores`), and those of
    `measure` by precision.
    """
    study, model = params.all_runs[run].study, trained.load(params, run)
    classes, values = params.studies[study].classes, params.values_of(run)
    dataset = samples.load(study, classes, params.task_of(run), values)
    chosen = calibration(dataset.ids("train"))
    ids, keras = _predicted(params, run)
    targets = dataset.targets(ids)
    content: dict[str, Any] = {
        "side": params.studies[study].image_size,
        "calibration": len(chosen),
        "images": len(ids),
        "keras": scores(targets, keras, values),
    }
    with files.replacing_folder(paths.exported(run)) as folder:
        labels = "".join(f"{name}\n" for name in dataset.classes)
        (folder / paths.lite_labels(run).name).write_text(labels, encoding="utf-8")
        temperature = trained.temperature(params, run, params.phases(run)[-1], params.seeds[0])
        facts = {"temperature": temperature} | ({"values": list(values)} if values else {})
        (folder / paths.lite_calibration(run).name).write_text(json.dumps(facts) + "\n", encoding="utf-8")
        for precision, data in convert(model, dataset.images[chosen]).items():
            file = folder / paths.lite(run, precision).name
            file.write_bytes(data)
            content[precision] = measure(file, dataset.images[ids], targets, keras, values)
    files.write_text(paths.export_metrics(run), json.dumps(content, indent=2) + "\n")


def _predicted(params: Params, run: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the ids of the primary split's images, int64 [n], and Keras's predictions, [n, classes + values]."""
    file, split = paths.predictions(trained.folder(params, run)), params.study_of(run).primary_split
    if params.task_of(run).has_values:
        of_values = read_values(file)[split]
        outputs = of_values.probabilities[params.batchnorm], of_values.predicted[params.batchnorm]
        return of_values.ids, np.hstack(outputs)
    of_classes = read_predictions(file)[split]
    return of_classes.ids, of_classes.probabilities[params.batchnorm]


def calibration(ids: np.ndarray) -> np.ndarray:
    """Return `CALIBRATION` ids, or all if there are fewer; evenly spaced, since ids are in the order of classes."""
    return ids[np.linspace(0, len(ids) - 1, min(CALIBRATION, len(ids))).round().astype(int)]


def measure(
    file: Path, images: np.ndarray, targets: np.ndarray, keras: np.ndarray, values: tuple[str, ...] = ()
) -> dict[str, float | int]:
    """Return the size of a LiteRT file and the quality of its predictions.

    The metrics are `bytes`; those of `scores`; of a net with classes `agreement`, the share of images for which it
    predicts the same class as Keras; and `largest_difference` between a probability and that of Keras, or of a net with
    values alone between a value and that of Keras.

    Args:
        file: the LiteRT file.
        images: n images, uint8 [n, side, side, 3].
        targets: the labels and values of the images, float32 [n, 1 + k] (see `samples.Dataset.targets`).
        keras: Keras's predictions, float32 [n, classes + k].
        values: the names of the k values.
    """
    outputs = open_net(file, values=len(values)).outputs(images)
    count = outputs.shape[1] - len(values)
    found: dict[str, float | int] = {"bytes": file.stat().st_size} | scores(targets, outputs, values)
    if count:
        same = outputs[:, :count].argmax(axis=1) == keras[:, :count].argmax(axis=1)
        found["agreement"] = float(same.mean())
    shown = slice(count) if count else slice(None)
    return found | {"largest_difference": float(np.abs(outputs[:, shown] - keras[:, shown]).max())}


def scores(targets: np.ndarray, outputs: np.ndarray, values: tuple[str, ...]) -> dict[str, float | int]:
    """Return the accuracy, of a net with classes, and the RMSE of each value as `<value>_rmse`."""
    found: dict[str, float | int] = {}
    labels, count = targets[:, 0], outputs.shape[1] - len(values)
    if count:
        has_class = labels != samples.NO_CLASS
        found["accuracy"] = float((outputs[has_class, :count].argmax(axis=1) == labels[has_class]).mean())
    for place, name in enumerate(values):
        terms = sums_of(targets[:, 1 + place], outputs[:, count + place])
        found[f"{name}_rmse"] = float(rmse(terms.sum(axis=1)))
    return found
