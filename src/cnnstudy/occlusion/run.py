"""Tests of a study's nets on images of which a part is hidden, or of which only a part is left."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd

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
# The rounds of iterative proportional fitting, and the smallest probability in it.
ROUNDS, SMALLEST = 200, 1e-30


def test_nets(params: Params, study: str) -> None:
    """Write the accuracy of every net's last phase with each region of the images hidden or alone, and a sheet.

    The images are those of the primary split, and of val, which has the shortcuts of the training images. A hidden part
    has the mean colour of the training images. Predictions are `balanced`. The results are `split`, the primary split;
    `images` and `chance` (the share of the largest class) by split; `are_exact`, whether the regions are those of the
    single images; and in `runs` for each run `phase`, `model_md5` and `tests`: by the test's name `is_blind` (see
    `Test`), `splits` with `accuracy`, `accuracy_low` and `accuracy_high` by split, and for blind tests `above_chance`,
    the splits on which the accuracy is above chance at a level corrected for the net's blind tests (Bonferroni).
    Without regions in the parameters, `runs` is empty.
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
            content["are_exact"] = all(its.are_exact for its in hidden.values())
            count = len(splits) * sum(each.is_blind for each in tested)
            for run in params.runs_of(study):
                correct = _correct(params, run, hidden, tested)
                content["runs"][run] = _of_run(params, run, tested, hidden, correct, 1 - (1 - LEVEL) / max(1, count))
            _save_sheet(folder / "examples.png", hidden[settings.primary_split], tested)
    files.write_text(paths.occlusion_metrics(study), json.dumps(content, indent=2, allow_nan=False) + "\n")


@dataclass(frozen=True)
class Hidden:
    """Images of a split, with the masks of their regions, bool [n, side, side], and the colour of what is hidden.

    `ids`, `labels` and `groups` are int [n]; `are_exact` says whether the masks are those of the single images.
    """

    dataset: Dataset
    ids: np.ndarray
    groups: np.ndarray
    masks: dict[str, np.ndarray]
    are_exact: bool
    colour: np.ndarray

    @property
    def labels(self) -> np.ndarray:
        """The classes of the images, int [n]."""
        return self.dataset.labels[self.ids]

    @property
    def chance(self) -> float:
        """The share of the largest class."""
        return float(np.bincount(self.labels).max() / len(self.ids))

    def images(self, test: Test, rows: slice) -> np.ndarray:
        """Return some of the images with a part hidden, uint8 [k, side, side, 3]."""
        images = np.array(self.dataset.images[self.ids[rows]])
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
    masks, are_exact = regions.masks(params.studies[study], ids, named, paths.specifications(study))
    train = [dataset.images[i].mean(axis=(0, 1)) for i in _spread(dataset.ids("train"), AVERAGED)]
    colour = np.rint(np.mean(train, axis=0)).astype(np.uint8)
    return Hidden(dataset, ids, samples.groups(table, ids), masks, are_exact, colour)


def _spread(ids: np.ndarray, most: int) -> np.ndarray:
    return ids if len(ids) <= most else ids[np.linspace(0, len(ids) - 1, most).astype(int)]


def _correct(params: Params, run: str, hidden: dict[str, Hidden], tested: list[Test]) -> dict[str, np.ndarray]:
    """Return the correct balanced predictions by split, bool [tests, seeds, n]."""
    phase = params.phases(run)[-1]
    found: dict[str, list[list[np.ndarray]]] = {split: [] for split in hidden}
    for seed in params.seeds:
        keras.backend.clear_session()
        infer = trained.Inference(trained.load(params, run, paths.seed(run, phase, seed)))
        for split, its in hidden.items():
            answers = [balanced(infer(its.batches(test, infer.batch_size)), its.labels) for test in tested]
            found[split].append([answer == its.labels for answer in answers])
    return {split: np.array(seeds).swapaxes(0, 1) for split, seeds in found.items()}


def balanced(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the predicted classes, int [n], if each class is as frequent in the predictions as in the labels.

    Hidden parts push many nets to one class for all images, behind which what they tell apart would not show. Each
    class's probabilities [n, classes] are multiplied by a factor such that their means are the classes' shares
    (iterative proportional fitting, Deming and Stephan 1940). Of the labels, int [n], only the shares count.
    """
    shares = np.bincount(labels, minlength=probabilities.shape[1]) / len(labels)
    fitted = np.maximum(probabilities.astype(np.float64), SMALLEST)
    for _ in range(ROUNDS):
        fitted *= shares / fitted.mean(axis=0)
        fitted /= fitted.sum(axis=1, keepdims=True)
    return fitted.argmax(axis=1)


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
