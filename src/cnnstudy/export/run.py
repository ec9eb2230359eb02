"""A run's net as LiteRT files, and how far their answers are those of Keras."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from cnnstudy import trained
from cnnstudy.config.schema import HEADLINE, Params
from cnnstudy.data import samples
from cnnstudy.evaluation.predictions import Answers, read_predictions
from cnnstudy.export.convert import convert
from cnnstudy.export.litert import open_net
from cnnstudy.workspace import files, paths

# Images that the ranges of activations are measured on.
CALIBRATION = 128


def export_run(params: Params, run: str) -> None:
    """Write exports/<run> and, in metrics/export/runs/<run>.json, what the files are worth.

    The metrics are `side` of the input, in pixels, `calibration` and `images`, how many there are on the splits train
    and val, `keras` with its `accuracy` on val, and those of `measure` by precision.
    """
    study, model = params.runs[run].study, trained.load(params, run)
    dataset = samples.load(study, params.study(study).classes)
    chosen = calibration(dataset.ids("train"))
    answers = read_predictions(paths.predictions(trained.folder(params, run)))[HEADLINE[study]]
    keras = answers.probabilities[params.batchnorm]
    content: dict[str, Any] = {
        "side": params.study(study).image_size,
        "calibration": len(chosen),
        "images": len(answers.ids),
        "keras": {"accuracy": _accuracy(answers.labels, keras)},
    }
    with files.replacing_folder(paths.exported(run)) as folder:
        labels = "".join(f"{name}\n" for name in dataset.classes)
        (folder / paths.lite_labels(run).name).write_text(labels, encoding="utf-8")
        for precision, data in convert(model, dataset.images[chosen]).items():
            file = folder / paths.lite(run, precision).name
            file.write_bytes(data)
            content[precision] = measure(file, dataset.images, answers, keras)
    files.write_text(paths.export_metrics(run), json.dumps(content, indent=2) + "\n")


def calibration(ids: np.ndarray) -> np.ndarray:
    """`CALIBRATION` of some ids, or all if there are fewer, evenly spaced: they are in order of their classes."""
    return ids[np.linspace(0, len(ids) - 1, min(CALIBRATION, len(ids))).round().astype(int)]


def measure(file: Path, images: np.ndarray, answers: Answers, keras: np.ndarray) -> dict[str, float | int]:
    """What a LiteRT file takes and how it answers.

    `bytes`, `accuracy`; `agreement`, the share of images to which it gives the same class as Keras; and
    `largest_difference` of a probability to Keras's.

    Args:
        file: of LiteRT.
        images: of all samples, uint8 [N, side, side, 3].
        answers: Keras's, of n samples.
        keras: those that count, float32 [n, classes].
    """
    found = open_net(file).probabilities(images[answers.ids])
    return {
        "bytes": file.stat().st_size,
        "accuracy": _accuracy(answers.labels, found),
        "agreement": float((found.argmax(axis=1) == keras.argmax(axis=1)).mean()),
        "largest_difference": float(np.abs(found - keras).max()),
    }


def _accuracy(labels: np.ndarray, probabilities: np.ndarray) -> float:
    return float((probabilities.argmax(axis=1) == labels).mean())
