"""Export of a run's net as LiteRT files, and comparison of their predictions with Keras's."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from cnnstudy import trained
from cnnstudy.config.schema import Params
from cnnstudy.data import samples
from cnnstudy.evaluation.predictions import Predictions, read_predictions
from cnnstudy.export.convert import convert
from cnnstudy.export.litert import open_net
from cnnstudy.workspace import files, paths

# The number of images on which the ranges of activations are measured.
CALIBRATION = 128


def export_run(params: Params, run: str) -> None:
    """Write a run's LiteRT files to exports/<run>, and their metrics to metrics/export/runs/<run>.json.

    The metrics are `side` of the input in pixels, `calibration` and `images` (the numbers of images from train for
    calibration and from the primary split for the metrics), `keras` with its `accuracy`, and those of `measure` by
    precision.
    """
    study, model = params.all_runs[run].study, trained.load(params, run)
    dataset = samples.load(study, params.studies[study].classes)
    chosen = calibration(dataset.ids("train"))
    predictions = read_predictions(paths.predictions(trained.folder(params, run)))[params.studies[study].primary_split]
    keras = predictions.probabilities[params.batchnorm]
    content: dict[str, Any] = {
        "side": params.studies[study].image_size,
        "calibration": len(chosen),
        "images": len(predictions.ids),
        "keras": {"accuracy": _accuracy(predictions.labels, keras)},
    }
    with files.replacing_folder(paths.exported(run)) as folder:
        labels = "".join(f"{name}\n" for name in dataset.classes)
        (folder / paths.lite_labels(run).name).write_text(labels, encoding="utf-8")
        temperature = trained.temperature(params, run, params.phases(run)[-1], params.seeds[0])
        calibration_text = json.dumps({"temperature": temperature}) + "\n"
        (folder / paths.lite_calibration(run).name).write_text(calibration_text, encoding="utf-8")
        for precision, data in convert(model, dataset.images[chosen]).items():
            file = folder / paths.lite(run, precision).name
            file.write_bytes(data)
            content[precision] = measure(file, dataset.images, predictions, keras)
    files.write_text(paths.export_metrics(run), json.dumps(content, indent=2) + "\n")


def calibration(ids: np.ndarray) -> np.ndarray:
    """Return `CALIBRATION` ids, or all if there are fewer; evenly spaced, since ids are in the order of classes."""
    return ids[np.linspace(0, len(ids) - 1, min(CALIBRATION, len(ids))).round().astype(int)]


def measure(file: Path, images: np.ndarray, predictions: Predictions, keras: np.ndarray) -> dict[str, float | int]:
    """Return the size of a LiteRT file and the quality of its predictions.

    The metrics are `bytes`; `accuracy`; `agreement`, the share of images for which it predicts the same class as Keras;
    and `largest_difference` between a probability and that of Keras.

    Args:
        file: the LiteRT file.
        images: the images of all samples, uint8 [N, side, side, 3].
        predictions: Keras's predictions of n samples.
        keras: Keras's probabilities in the primary mode, float32 [n, classes].
    """
    probabilities = open_net(file).probabilities(images[predictions.ids])
    return {
        "bytes": file.stat().st_size,
        "accuracy": _accuracy(predictions.labels, probabilities),
        "agreement": float((probabilities.argmax(axis=1) == keras.argmax(axis=1)).mean()),
        "largest_difference": float(np.abs(probabilities - keras).max()),
    }


def _accuracy(labels: np.ndarray, probabilities: np.ndarray) -> float:
    return float((probabilities.argmax(axis=1) == labels).mean())
