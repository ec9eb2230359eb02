"""`cnnstudy splits` and `cnnstudy labels`: nets trained on other splits of their study's images."""

import json
from collections.abc import Callable, Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cnnstudy.commands.recipes import study_of
from cnnstudy.commands.repro import rebuild
from cnnstudy.config.params import read_params
from cnnstudy.config.schema import Params
from cnnstudy.data import samples, sheets
from cnnstudy.errors import UserError
from cnnstudy.evaluation.intervals import LEVEL, resampled_interval
from cnnstudy.resampling import mislabelled, plans, retrained
from cnnstudy.resampling.results import settings_md5
from cnnstudy.resampling.retrained import Predicted
from cnnstudy.workspace import files, paths
from cnnstudy.workspace.terminal import say

# The most suspicious images of a class on a sheet.
SHOWN = 16

Train = Callable[[Params, str, int], Predicted]


def compare_splits(runs: list[str], repeats: int | None, folds: int | None) -> None:
    """Train runs of one study on other splits, and write the accuracies to metrics/splits/.

    Raises:
        UserError: params.yaml or an argument holds a value that is not allowed.
        SystemExit: with code 1, where a stage failed.
    """
    params = read_params()
    study = study_of(params, runs)
    option, count = ("--folds", folds) if folds is not None else ("--repeats", 10 if repeats is None else repeats)
    if count < 2:
        raise UserError(f"{option}: {count} found; allowed: 2 or more")
    _prepare(params, study)
    write_splits(params, study, runs, option == "--folds", count, retrained.train)


def write_splits(params: Params, study: str, runs: list[str], are_folds: bool, count: int, train: Train) -> None:
    """Train runs on `count` random splits, or on folds, and write metrics/splits/<study>-<data>.json.

    `samples` and `settings` are hashes that tell with what data and settings. For each run there are its `accuracies`
    on test with the first seed, their mean `accuracy`, and the corrected 95 % interval (see `resampled_interval`),
    `accuracy_low` to `accuracy_high`; `differences` are between every two runs, significant after correction for all
    pairs (Bonferroni).
    """
    table = samples.read_table(study)
    wanted = plans.shares(table)
    make = plans.folds if are_folds else plans.repeated
    accuracies: dict[str, list[float]] = {run: [] for run in runs}
    for number, splits in enumerate(make(study, table, wanted, count, params.split_seed)):
        with retrained.other_splits(params, study, splits):
            for run in runs:
                accuracies[run].append(train(params, run, params.seeds[0]).accuracy)
        shown = ", ".join(f"{run} {its[-1]:.3f}" for run, its in accuracies.items())
        say(f"split {number + 1} of {count}: {shown}")
    ratio = plans.Shares(1 / count, wanted.val).ratio if are_folds else wanted.ratio
    found = {run: _summary(np.array(its), ratio) for run, its in accuracies.items()}
    pairs = list(combinations(runs, 2))
    content = {
        "samples": files.md5(paths.samples(study)),
        "settings": settings_md5(params, study, runs),
        "kind": "folds" if are_folds else "random splits",
        "count": count,
        "runs": found,
        "differences": [_difference(accuracies, pair, ratio, len(pairs)) for pair in pairs],
    }
    name = f"{study}-{params.studies[study].data or params.studies[study].source.format}"
    files.write_text(paths.other_splits(name), json.dumps(content, indent=2) + "\n")
    for run, its in found.items():
        say(f"{run}: {its['accuracy']:.3f} ({its['accuracy_low']:.3f} to {its['accuracy_high']:.3f})")
    say(f"{paths.other_splits(name)} holds the accuracies; `cnnstudy repro` shows them on the page.")


def find_mislabelled(run: str, folds: int) -> None:
    """Write the images of a run's study that look mislabelled, as a table and as sheets.

    Raises:
        UserError: params.yaml or an argument holds a value that is not allowed.
        SystemExit: with code 1, where a stage failed.
    """
    params = read_params()
    study = study_of(params, [run])
    if folds < 2:
        raise UserError(f"--folds: {folds} found; allowed: 2 or more")
    _prepare(params, study)
    write_suspects(params, study, run, folds, retrained.train)


def write_suspects(params: Params, study: str, run: str, folds: int, train: Train) -> None:
    """Predict each image in a fold that the net was not trained on; write data/<study>/suspects.

    suspects.csv lists every image of train, val and test, the most suspicious first, with the columns id, path, given,
    likely, probability, margin and is_suspect (see `mislabelled.suspects`); <class>.png shows the most suspicious
    images with that label.
    """
    table = samples.read_table(study)
    predicted = list(_out_of_fold(params, study, run, table, folds, train))
    ids = np.concatenate([each.ids for each in predicted])
    given = np.concatenate([each.labels for each in predicted])
    found = mislabelled.suspects(given, np.concatenate([each.probabilities for each in predicted]))
    dataset = samples.load(study, params.studies[study].classes)
    names = np.array(dataset.classes)
    rows = ids[found.pop("row")]
    listed = found.assign(id=rows, path=table["path"].to_numpy()[rows], given=names[found["given"]],
                          likely=names[found["likely"]])  # fmt: skip
    columns = ["id", "path", "given", "likely", "probability", "margin", "is_suspect"]
    with files.replacing_folder(paths.suspects(study)) as folder:
        listed[columns].to_csv(folder / "suspects.csv", index=False, float_format="%.6f")
        for name, some in listed[listed["is_suspect"]].groupby("given"):
            _save_sheet(folder / f"{name}.png", dataset.images, some)
    count = int(listed["is_suspect"].sum())
    say(f"{count} of {len(listed)} images look mislabelled: {_by_class(listed, dataset.classes)}")
    say(f"{paths.suspects(study)} lists and shows them.")


def _out_of_fold(
    params: Params, study: str, run: str, table: pd.DataFrame, folds: int, train: Train
) -> Iterator[Predicted]:
    """Yield the predictions for each fold by a net that was trained on the others."""
    wanted = plans.shares(table)
    for number, splits in enumerate(plans.folds(study, table, wanted, folds, params.split_seed)):
        with retrained.other_splits(params, study, splits):
            found = train(params, run, params.seeds[0])
        say(f"fold {number + 1} of {folds}: accuracy {found.accuracy:.3f}")
        yield found


def _save_sheet(file: Path, images: np.ndarray, some: pd.DataFrame) -> None:
    """Save the first images of a table in two rows, with the likely class below."""
    half = SHOWN // 2
    shown = some.head(SHOWN)
    parts = [part for part in (shown.iloc[:half], shown.iloc[half:]) if len(part)]
    captions = [[f"{row.likely}?" for row in part.itertuples()] for part in parts]
    rows = [[images[i] for i in part["id"]] for part in parts]
    sheets.save_sheet(file, rows, [str(some["given"].iloc[0]), ""][: len(parts)], captions=captions)


def _by_class(listed: pd.DataFrame, classes: tuple[str, ...]) -> str:
    counts = listed.groupby("given")["is_suspect"].agg(["sum", "size"])
    return ", ".join(f"{name} {counts.loc[name, 'sum']} of {counts.loc[name, 'size']}" for name in classes)


def _prepare(params: Params, study: str) -> None:
    """Bring a study's data up to date, and set TensorFlow up."""
    rebuild([f"augment@{study}"])
    from cnnstudy.training import environment

    environment.configure(params.compute.threads)


def _summary(accuracies: np.ndarray, ratio: float) -> dict[str, Any]:
    low, high = resampled_interval(accuracies, ratio)
    return {
        "accuracies": [round(each, 4) for each in accuracies.tolist()],
        "accuracy": round(float(accuracies.mean()), 4),
        "accuracy_low": round(max(0.0, low), 4),
        "accuracy_high": round(min(1.0, high), 4),
    }


def _difference(accuracies: dict[str, list[float]], pair: tuple[str, str], ratio: float, pairs: int) -> dict[str, Any]:
    first, second = pair
    gains = np.array(accuracies[first]) - np.array(accuracies[second])
    low, high = resampled_interval(gains, ratio)
    strict = resampled_interval(gains, ratio, 1 - (1 - LEVEL) / pairs)
    return {
        "first": first,
        "second": second,
        "difference": round(float(gains.mean()), 4),
        "low": round(low, 4),
        "high": round(high, 4),
        "significant": strict[0] > 0 or strict[1] < 0,
    }
