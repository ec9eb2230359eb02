"""Comparison of recipes on the same images: the report's, the best one, and the best one in a third of the epochs."""

import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cnnstudy.commands.repro import rebuild
from cnnstudy.config.checks import require_classes_alone
from cnnstudy.config.compose import choices, composition
from cnnstudy.config.params import read_params
from cnnstudy.config.schema import Params
from cnnstudy.data.groups import independent_images
from cnnstudy.errors import UserError
from cnnstudy.evaluation import intervals
from cnnstudy.workspace import files, paths
from cnnstudy.workspace.terminal import say

# What is compared, by name: the recipe, and the divisor of its epochs.
KINDS = {"report": ("report", 1), "best": ("best", 1), "best, a third": ("best", 3)}
PAIRS = [("best", "report"), ("best, a third", "report")]


@dataclass(frozen=True)
class Trained:
    """A training: images seen and accuracy by epoch, and the correct predictions on the primary split.

    `curve` has the columns images and val; `correct` is bool [n], and `groups` is int [n], the same number for images
    of one patient.
    """

    curve: pd.DataFrame
    correct: np.ndarray
    groups: np.ndarray


Train = Callable[[Params, str, int], Trained]


def compare_recipes(runs: list[str], seeds: int) -> None:
    """Bring the runs' data up to date, train them with each recipe, and write the results.

    Raises:
        UserError: params.yaml or an argument holds a value that is not allowed.
        SystemExit: with code 1, where a stage failed.
    """
    params = read_params()
    study = study_of(params, runs)
    if seeds < 1:
        raise UserError(f"--seeds: {seeds} found; allowed: 1 or more")
    rebuild([f"augment@{study}"])
    from cnnstudy.training import environment

    environment.configure(params.compute.threads)
    compare(params, study, runs, list(range(seeds)), train_once)


def study_of(params: Params, runs: list[str]) -> str:
    """Return the study of some runs.

    Raises:
        UserError: there is no such run, or they are of several studies.
    """
    require_classes_alone(params, runs)
    studies = {params.all_runs[run].study for run in runs}
    if len(studies) > 1:
        raise UserError(f"RUN: {' '.join(runs)} found; allowed: runs of one study")
    return studies.pop()


def with_recipe(params: Params, recipe: str, divisor: int) -> Params:
    """Return `params` with the same data and sizes, a recipe of conf/, and the epochs divided by `divisor`."""
    chosen = [f"{key}={value}" for key, value in choices(params).items() if key in ("model", "profile")]
    other = composition([*chosen, f"recipe={recipe}"])
    studies = {
        name: study.model_copy(
            update={
                "training": other.studies[name].training,
                "class_weight": other.studies[name].class_weight,
                "epochs": max(1, study.epochs // divisor),
            }
        )
        for name, study in params.studies.items()
    }
    update: dict[str, Any] = {"recipe": recipe, "studies": studies, "runs": {}, "pretrained": {}}
    for name, run in params.all_runs.items():
        # One recipe's settings for a run don't apply under another recipe.
        training = dict(other.all_runs.get(name, run).training or {})
        if "epochs" in training:  # they override the study's
            training["epochs"] = max(1, int(training["epochs"]) // divisor)
        section = "pretrained" if name in params.pretrained else "runs"
        update[section][name] = run.model_copy(update={"training": training or None})
    return params.model_copy(update=update)


def compare(params: Params, study: str, runs: list[str], seeds: list[int], train: Train) -> None:
    """Train runs of one study each way with each seed; write metrics/recipes/<study>-<data>.json and its figure.

    Earlier runs stay in the file if their profile, split, epochs and recipes were the same.
    """
    for run in runs:
        done = {kind: [train(with_recipe(params, *how), run, seed) for seed in seeds] for kind, how in KINDS.items()}
        correct = {kind: np.stack([each.correct for each in its]) for kind, its in done.items()}
        found = {"seeds": seeds} | _compared(correct, done["report"][0].groups)
        for kind, its in done.items():
            images = its[0].curve["images"].tolist()
            val = [[round(value, 4) for value in each.curve["val"]] for each in its]
            found[kind] |= {"images_seen": images[-1], "curve": {"images": images, "val": val}}
        say(f"{run}: {_words(found)}")
        _add(params, study, run, found)


def _add(params: Params, study: str, run: str, found: dict[str, Any]) -> None:
    name = f"{study}-{params.studies[study].data or params.studies[study].source.format}"
    content = {
        "profile": params.profile,
        "split": params.studies[study].primary_split,
        "epochs": params.studies[study].epochs,
        "recipes": list(KINDS),
    }
    runs = _earlier(paths.recipes(name), content) | {run: found}
    runs = {run: runs[run] for run in params.all_runs if run in runs}
    files.write_text(paths.recipes(name), json.dumps({**content, "runs": runs}) + "\n")
    from cnnstudy.plots.ablation import draw_recipes

    curves = {run: {kind: its[kind]["curve"] for kind in KINDS} for run, its in runs.items()}
    draw_recipes(curves, f"{study}: the report's recipe and ours", paths.recipes_figure(name))


def _earlier(file: Path, wanted: dict[str, Any]) -> dict[str, Any]:
    """Return the runs in an earlier file, if it was written with the same settings."""
    content = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    runs: dict[str, Any] = content.pop("runs", {})
    return runs if content == wanted else {}


def _compared(correct: dict[str, np.ndarray], groups: np.ndarray) -> dict[str, Any]:
    """Return accuracies and differences from correct predictions, bool [seeds, n], by kind."""
    found: dict[str, Any] = {}
    for kind, its in correct.items():
        accuracies = its.mean(axis=1).tolist()
        low, high = intervals.accuracy_interval(accuracies, independent_images(its, groups))
        found[kind] = {
            "accuracies": [round(each, 4) for each in accuracies],
            "accuracy": round(float(np.mean(accuracies)), 4),
            "low": round(low, 4),
            "high": round(high, 4),
        }
    compared = intervals.differences(correct, groups, PAIRS)
    return found | {"differences": [_rounded(asdict(each)) for each in compared]}


def _rounded(values: dict[str, Any]) -> dict[str, Any]:
    return {key: round(value, 4) if isinstance(value, float) else value for key, value in values.items()}


def _words(its: dict[str, Any]) -> str:
    parts = [f"{kind} {its[kind]['accuracy']:.3f}" for kind in KINDS]
    gains = [
        f"{each['first']} minus {each['second']} {each['difference']:+.3f} ({each['low']:+.3f} to {each['high']:+.3f})"
        for each in its["differences"]
    ]
    return "; ".join([*parts, *gains])


def train_once(params: Params, run: str, seed: int) -> Trained:
    """Train a run's base phase and predict in the mode in use. Needs data, split and policy table.

    The accuracies on val after each epoch are with the statistics of its batches (see cnnstudy.training.selection).
    """
    from cnnstudy.training import fit

    return fit.train_deterministically(partial(_train_once, params, run, seed))


def _train_once(params: Params, run: str, seed: int) -> Trained:
    from cnnstudy.data import samples
    from cnnstudy.training import checkpoint, fit, inference

    unkept = checkpoint.Checkpoint(Path("none.npz"), math.inf)
    fitted = fit.fit_seed(params, run, fit.base(params, run), seed, unkept, compares=True)
    study, dataset, history = params.all_runs[run].study, fitted.dataset, fitted.history
    split = params.studies[study].primary_split
    predicted = inference.predict_one_split(fitted.model, dataset, fitted.data, split, fitted.schedule).argmax(axis=1)
    ids = dataset.ids(split)
    curve = {"images": history["epoch"] * len(fitted.data), "val": history["selection_accuracy"]}
    groups = samples.groups(samples.read_samples(study), ids)
    return Trained(pd.DataFrame(curve), predicted == dataset.labels[ids], groups)
