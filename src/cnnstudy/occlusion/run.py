"""Tests of a study's nets on images of which a part is hidden, or of which only a part is left."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.optimize import linear_sum_assignment

from cnnstudy import trained
from cnnstudy.config.schema import Params
from cnnstudy.data import samples, sheets
from cnnstudy.data.groups import independent_images
from cnnstudy.data.samples import Dataset
from cnnstudy.evaluation.intervals import LEVEL, accuracy_interval
from cnnstudy.occlusion import regions
from cnnstudy.occlusion.regions import Test
from cnnstudy.tracking.keys import directory_md5
from cnnstudy.workspace import files, paths

# The most images that nets are tested on: enough for an interval of at most 0.03 to either side.
LARGEST_SAMPLE = 2_000
# The number of images on the sheet, and of training images whose mean colour hides a part.
SHOWN, AVERAGED = 6, 1_000
# Smaller probabilities count as this one.
SMALLEST = 1e-30


def test_nets(params: Params, study: str) -> None:
    """Write the accuracy of every net's last phase with each region of the images hidden or alone, as JSON and table.

    The images are those of the primary split, and of val, which has the shortcuts of the training images. A hidden part
    has the mean colour of the training images. Predictions are `balanced`. The results are `split`, the primary split;
    `images` and `chance` (the accuracy of random predictions) by split; `ellipses`, the regions that are ellipses at
    the same place in every image; and in `runs` for each run `phase`, `model_md5` and `tests`: by the test's name
    `is_blind` (see `Test`), `splits` with `accuracy`, `accuracy_low` and `accuracy_high` by split, and for blind tests
    `above_chance`, the splits on which the accuracy is above chance at a level corrected for the net's blind tests
    (Bonferroni). Without regions in the parameters, `runs` is empty. A sheet shows some of the images.
    """
    settings = params.studies[study]
    tested = regions.tests(settings.regions)
    content: dict[str, Any] = {"split": settings.primary_split, "runs": {}}
    with files.replacing_folder(paths.occlusion_plots(study)) as folder:
        if tested:
            table, dataset = samples.read_samples(study), samples.load(study, settings.classes)
            splits: list[str] = list(dict.fromkeys([settings.primary_split, "val"]))
            hidden = {split: _hide(params, study, table, dataset, split) for split in splits}
            content["images"] = {split: len(its.ids) for split, its in hidden.items()}
            content["chance"] = {split: its.chance for split, its in hidden.items()}
            content["ellipses"] = sorted({name for its in hidden.values() for name in its.ellipses})
            count = len(splits) * sum(each.is_blind for each in tested)
            for run in params.class_runs_of(study):
                correct = _correct(params, run, hidden, tested)
                content["runs"][run] = _of_run(params, run, tested, hidden, correct, 1 - (1 - LEVEL) / max(1, count))
            _save_sheet(folder / "examples.png", hidden[settings.primary_split], tested)
        _rows(content["runs"]).to_csv(folder / "tests.csv", index=False, float_format="%.9g")
    files.write_text(paths.occlusion_metrics(study), json.dumps(content, indent=2, allow_nan=False) + "\n")


@dataclass(frozen=True)
class Hidden:
    """Images of a split, with the masks of their regions, bool [n, side, side], and the colour of what is hidden.

    `ids`, `labels` and `groups` are int [n]; `ellipses` are the regions that are the same in every image.
    """

    dataset: Dataset
    ids: np.ndarray
    groups: np.ndarray
    masks: dict[str, np.ndarray]
    ellipses: list[str]
    colour: np.ndarray

    @property
    def labels(self) -> np.ndarray:
        """The classes of the images, int [n]."""
        return self.dataset.labels[self.ids]

    @property
    def chance(self) -> float:
        """The expected accuracy of random predictions with the classes' shares."""
        return float(((np.bincount(self.labels) / len(self.ids)) ** 2).sum())

    def images(self, test: Test, rows: slice) -> np.ndarray:
        """Return some of the images with a part hidden, uint8 [k, side, side, 3]."""
        images = self.dataset.images[self.ids[rows]]  # a copy
        mask = self.masks[test.region][rows]
        images[~mask if test.keeps else mask] = self.colour
        return images

    def batches(self, test: Test, size: int) -> Iterator[np.ndarray]:
        """Yield the images with a part hidden, in batches of a size."""
        yield from (self.images(test, slice(start, start + size)) for start in range(0, len(self.ids), size))


def _hide(params: Params, study: str, table: pd.DataFrame, dataset: Dataset, split: str) -> Hidden:
    """Return the images of a split, `LARGEST_SAMPLE` at most, spread evenly."""
    ids = _spread(dataset.ids(split), LARGEST_SAMPLE)
    named = table["path"].iloc[ids].tolist()
    masks, ellipses = regions.masks(params.studies[study], ids, named, paths.specifications(study))
    train = [dataset.images[i].mean(axis=(0, 1)) for i in _spread(dataset.ids("train"), AVERAGED)]
    colour = np.rint(np.mean(train, axis=0)).astype(np.uint8)
    return Hidden(dataset, ids, samples.groups(table, ids), masks, ellipses, colour)


def _spread(ids: np.ndarray, most: int) -> np.ndarray:
    return ids if len(ids) <= most else ids[np.linspace(0, len(ids) - 1, most).astype(int)]


def _correct(params: Params, run: str, hidden: dict[str, Hidden], tested: list[Test]) -> dict[str, np.ndarray]:
    """Return the correct balanced predictions by split, bool [tests, seeds, n]."""
    import keras  # takes seconds, which a study without regions does not need

    phase = params.phases(run)[-1]
    found: dict[str, list[list[np.ndarray]]] = {split: [] for split in hidden}
    for seed in params.seeds:
        keras.backend.clear_session()
        infer = trained.Inference(trained.load(params, run, paths.seed(run, phase, seed)))
        for split, its in hidden.items():
            answers = [balanced(infer(its.batches(test, infer.batch_size)), its.labels) for test in tested]
            found[split].append([answer == its.labels for answer in answers])
    return {split: np.array(seeds).swapaxes(0, 1) for split, seeds in found.items()}


def _rows(runs: dict[str, dict[str, Any]]) -> pd.DataFrame:
    """Return a row for each run, test and split."""
    rows = [
        {"run": run, "test": name, "split": split, **its, "is_above_chance": split in test.get("above_chance", [])}
        for run, found in runs.items()
        for name, test in found["tests"].items()
        for split, its in test["splits"].items()
    ]
    names = ["run", "test", "split", "accuracy", "accuracy_low", "accuracy_high", "is_above_chance"]
    return pd.DataFrame(rows, columns=names)


def balanced(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the likeliest predictions, int [n], among those in which each class is as frequent as in the labels.

    Hidden parts push many nets to one class for all images, behind which what they tell apart would not show. Of the
    labels, int [n], only the counts matter. Images are assigned to as many places of each class as it has images, so
    that the sum of the log-probabilities [n, classes] is highest; in random order, since equal images would otherwise
    be assigned in the order of the classes.
    """
    places = np.repeat(np.arange(probabilities.shape[1]), np.bincount(labels, minlength=probabilities.shape[1]))
    order = np.random.default_rng(0).permutation(len(labels))
    scores = np.log(np.maximum(probabilities[order].astype(np.float64), SMALLEST))
    rows, columns = linear_sum_assignment(scores[:, places], maximize=True)
    found = np.empty(len(labels), np.int64)
    found[order[rows]] = places[columns]
    return found


def _of_run(
    params: Params,
    run: str,
    tested: list[Test],
    hidden: dict[str, Hidden],
    correct: dict[str, np.ndarray],
    strict: float,
) -> dict[str, Any]:
    """Return the results of a run; `strict` is the corrected level."""
    found: dict[str, Any] = {}
    for number, test in enumerate(tested):
        result: dict[str, Any] = {"is_blind": test.is_blind, "splits": {}}
        above = []
        for split, its in hidden.items():
            right = correct[split][number]
            shares, n = right.mean(axis=1).tolist(), independent_images(right, its.groups)
            low, high = accuracy_interval(shares, n)
            result["splits"][split] = {
                "accuracy": float(np.mean(shares)), "accuracy_low": low, "accuracy_high": high
            }  # fmt: skip
            above += [split] * (accuracy_interval(shares, n, strict)[0] > its.chance)
        found[test.name] = result | ({"above_chance": above} if test.is_blind else {})
    phase = params.phases(run)[-1]
    return {"phase": phase, "model_md5": directory_md5(paths.phase(run, phase)), "tests": found}


def _save_sheet(file: Path, hidden: Hidden, tested: list[Test]) -> None:
    """Save some images, whole and as each test shows them."""
    by_class = pd.Series(hidden.labels).groupby(hidden.labels).cumcount()
    rows = np.sort(np.argsort(by_class.to_numpy(), kind="stable")[:SHOWN])
    shown = [[hidden.dataset.images[hidden.ids[row]] for row in rows]]
    shown += [[hidden.images(test, slice(row, row + 1))[0] for row in rows] for test in tested]
    sheets.save_sheet(file, shown, ["whole", *(test.name.replace("_", " ", 1) for test in tested)])
