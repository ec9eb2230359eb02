"""Tests of a study's nets on an external test set, and the loss of accuracy there."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import pandas as pd

from cnnstudy import trained
from cnnstudy.config.schema import Params
from cnnstudy.data import duplicates, samples, sheets
from cnnstudy.data.samples import Dataset
from cnnstudy.evaluation import pairs
from cnnstudy.evaluation.intervals import Difference, differences, gap_interval
from cnnstudy.evaluation.metrics import split_metrics
from cnnstudy.evaluation.predictions import Predictions
from cnnstudy.evaluation.results import read_run
from cnnstudy.tracking.keys import directory_md5
from cnnstudy.workspace import files, paths

# The number of images of each class on the sheet.
SHOWN = 8


@dataclass(frozen=True)
class _Used:
    """The images of a set that nets are tested on: ids, labels, int64 [n], and groups, int [n]."""

    ids: np.ndarray
    labels: np.ndarray
    groups: np.ndarray


def test_nets(params: Params, name: str) -> None:
    """Write the metrics of every net of a study on an external test set, its predictions, and a sheet of the images.

    Left out are images of classes that the nets do not know, and copies of the study's own images. The metrics are
    `study`; the numbers of images in the set (`images`), of those left out (`without_class`, `copies`) and of the
    others by class (`by_class`); and, in `runs`, {run: {phase: metrics}} from `split_metrics` with `model_md5` and the
    loss of accuracy against the study's primary split, `drop`, with its 95 % interval. `runs` is empty if images of
    fewer than two classes are left. differences.csv has the differences between the trainings of each ablation.
    """
    study = params.external[name].study
    own = samples.load(study, params.studies[study].classes)
    table, images = samples.read_samples(name), np.load(paths.images(name), mmap_mode="r", allow_pickle=False)
    is_known, is_copy = table["label"].isin(own.classes).to_numpy(), _copies(study, own, table, images)
    labels = table["label"].map({label: i for i, label in enumerate(own.classes)})
    ids = np.flatnonzero(is_known & ~is_copy)
    used = _Used(ids, labels.to_numpy()[ids].astype(np.int64), samples.groups(table, ids))
    counts = np.bincount(used.labels, minlength=len(own.classes))
    content: dict[str, Any] = {
        "study": study,
        "images": len(table),
        "without_class": int((~is_known).sum()),
        "copies": int((is_known & is_copy).sum()),
        "by_class": dict(zip(own.classes, counts.tolist(), strict=True)),
        "runs": {},
    }
    rows: list[pd.DataFrame] = []
    correct: dict[str, np.ndarray] = {}
    for run in params.class_runs_of(study) if (counts > 0).sum() > 1 else []:
        content["runs"][run] = {}
        for phase in params.phases(run):
            predictions = [_predictions(params, run, phase, seed, images, used) for seed in params.seeds]
            content["runs"][run][phase] = _metrics(params, run, phase, predictions, used)
            correct[pairs.named(run, phase)] = np.array(
                [each.probabilities[params.batchnorm].argmax(axis=1) == used.labels for each in predictions]
            )
            rows += [
                _rows(table, own.classes, predicted, params.batchnorm).assign(run=run, phase=phase, seed=seed)
                for seed, predicted in zip(params.seeds, predictions, strict=True)
            ]
    with files.replacing_folder(paths.external_plots(name)) as folder:
        listed = pd.concat(rows) if rows else pd.DataFrame()
        listed.to_csv(folder / "predictions.csv", index=False, float_format="%.6f")
        found = [vars(pair) for pair in _differences(params, study, correct, used.groups)]
        differing = pd.DataFrame(found, columns=list(Difference.__annotations__))
        differing.to_csv(folder / "differences.csv", index=False, float_format="%.9g")
        shown = {label: ids[used.labels == i] for i, label in enumerate(own.classes) if counts[i]}
        if shown:
            some = [each[np.unique(np.linspace(0, len(each) - 1, SHOWN).astype(int))] for each in shown.values()]
            sheets.save_sheet(folder / "samples.png", [[images[i] for i in row] for row in some], list(shown))
    files.write_text(paths.external_metrics(name), json.dumps(content, indent=2, allow_nan=False) + "\n")


def _differences(params: Params, study: str, correct: dict[str, np.ndarray], groups: np.ndarray) -> list[Difference]:
    """Return the differences between a study's trainings on a set, ablation by ablation.

    `correct` are the correct predictions by training, bool [seeds, n]; {} if the set tests nothing.
    """
    found = []
    for ablation in params.ablations.values() if correct else ():
        if ablation.study == study and (compared := pairs.compared(params, ablation)):
            names = [name for name in pairs.trainings(params, ablation).values() if name in correct]
            tested = [pair for pair in compared if set(pair) <= set(names)]
            found += differences({name: correct[name] for name in names}, groups, tested) if tested else []
    return found


def _copies(study: str, own: Dataset, table: pd.DataFrame, images: np.ndarray) -> np.ndarray:
    """Return whether each of a set's images is a copy of one of the study's images: bool [n]."""
    count = len(own.images)
    hashes = pd.concat([samples.read_samples(study)["sha256"], table["sha256"]], ignore_index=True)
    numbers = duplicates.copies(hashes, _Chained(own.images, images))
    return np.isin(numbers[count:], numbers[:count])


class _Chained:
    """The images of one array, then those of another, read one at a time."""

    def __init__(self, first: np.ndarray, second: np.ndarray) -> None:
        self.first, self.second = first, second

    def __len__(self) -> int:
        return len(self.first) + len(self.second)

    def __getitem__(self, number: int) -> np.ndarray:
        count = len(self.first)
        image: np.ndarray = self.first[number] if number < count else self.second[number - count]
        return image


def _predictions(params: Params, run: str, phase: str, seed: int, images: np.ndarray, used: _Used) -> Predictions:
    keras.backend.clear_session()
    infer = trained.Inference(trained.load(params, run, paths.seed(run, phase, seed)))
    batches = (
        images[used.ids[start : start + infer.batch_size]] for start in range(0, len(used.ids), infer.batch_size)
    )
    return Predictions(used.ids, used.labels, {params.batchnorm: infer(batches)})


def _metrics(params: Params, run: str, phase: str, predictions: Sequence[Predictions], used: _Used) -> dict[str, Any]:
    """Return the metrics on a set, and the loss of accuracy against the study's primary split."""
    found: dict[str, Any] = split_metrics(list(predictions), params.batchnorm, used.groups)
    inside = read_run(run)[phase][params.study_of(run).primary_split]
    low, high = gap_interval(inside, found)
    drop = {"drop": inside["accuracy"] - found["accuracy"], "drop_low": low, "drop_high": high}
    return found | drop | {"model_md5": directory_md5(paths.phase(run, phase))}


def _rows(table: pd.DataFrame, classes: tuple[str, ...], predictions: Predictions, mode: str) -> pd.DataFrame:
    """Return a row for each image of one training's predictions."""
    probabilities = predictions.probabilities[mode]
    named = np.array(classes)
    return pd.DataFrame(
        {
            "id": predictions.ids,
            "path": table["path"].to_numpy()[predictions.ids],
            "actual": named[predictions.labels],
            "predicted": named[probabilities.argmax(axis=1)],
            "probability": probabilities.max(axis=1),
        }
    )
