"""Comparison of runs that differ in one setting: accuracies, significant differences, and training curves."""

import json
from typing import Any

import numpy as np
import pandas as pd

from cnnstudy.config.schema import Ablation, Params
from cnnstudy.data import samples
from cnnstudy.evaluation import pairs
from cnnstudy.evaluation.intervals import Difference, differences
from cnnstudy.evaluation.pairs import in_order
from cnnstudy.evaluation.predictions import MODES
from cnnstudy.plots import ablation as figures
from cnnstudy.plots.style import PALETTE, step_colour
from cnnstudy.workspace import files, paths

# The horizontal offset of a phase from its run in figures; runs are at 0, 1, 2, ...
OFFSET = 0.13


def write_ablation(params: Params, name: str) -> None:
    """Write metrics/ablations/<name>.json and plots/ablations/<name>.

    The JSON holds the axis, the primary split, the primary BatchNorm mode, `chance` (the accuracy of always predicting
    the most frequent class), the rows (see `ablation_row`) along the axis, and the differences. The plots are curve.csv
    with the rows, differences.csv with the pairs (see cnnstudy.evaluation.intervals), and curve, differences and
    training as PNG.
    """
    ablation = params.ablations[name]
    split = params.studies[ablation.study].primary_split
    rows = [row for run in in_order(ablation) for row in _run_rows(params, ablation, run, split)]
    compared_pairs = compared(params, ablation, split)
    facts: dict[str, Any] = {"axis": ablation.axis, "split": split, "batchnorm": params.batchnorm}
    facts["chance"] = _chance(in_order(ablation)[0], split)

    content = facts | {"rows": rows, "differences": [vars(pair) for pair in compared_pairs]}
    files.write_text(paths.ablation_metrics(name), json.dumps(content, indent=2, allow_nan=False) + "\n")
    points = pd.DataFrame(rows)
    title = f"{ablation.study}: accuracy by {ablation.axis}"
    with files.replacing_folder(paths.ablation_plots(name)) as plots:
        points.to_csv(plots / "curve.csv", index=False, float_format="%.9g")
        differing = pd.DataFrame([vars(pair) for pair in compared_pairs], columns=list(Difference.__annotations__))
        differing.to_csv(plots / "differences.csv", index=False, float_format="%.9g")
        places = points["run"].map({run: place for place, run in enumerate(in_order(ablation))})
        at = places + OFFSET * points["phase"].map({"base": -1, "tuned": 1}) * (points["phase"].nunique() - 1)
        figures.draw_ablation(points.assign(at=at), facts | {"title": title}, plots / "curve.png")
        figures.draw_trainings(_trainings(params, ablation), f"{ablation.study}: training by {ablation.axis}",
                               plots / "training.png")  # fmt: skip
        if compared_pairs:
            figures.draw_differences(differing, f"{title}, {split}", plots / "differences.png")


def ablation_row(run: str, x: int | float | str, splits: dict[str, dict[str, Any]], split: str) -> dict[str, Any]:
    """Return a row of an ablation: run, x, the accuracy of every split as `<split>_accuracy`, and `constant`.

    For the primary split `split` the row also has the bounds `<split>_accuracy_low` and `_high`, and for every
    BatchNorm mode `<split>_accuracy_<mode>` and `constant_<mode>`.
    """
    primary = splits[split]
    row: dict[str, Any] = {"run": run, "x": x, "constant": primary["constant"]}
    row |= {f"{split}_{name}": primary[name] for name in ("accuracy", "accuracy_low", "accuracy_high")}
    row |= {f"{other}_accuracy": metrics["accuracy"] for other, metrics in splits.items() if other != split}
    row |= {f"{split}_accuracy_{mode}": primary[f"accuracy_{mode}"] for mode in MODES}
    return row | {f"constant_{mode}": primary[f"constant_{mode}"] for mode in MODES}


def compared(params: Params, ablation: Ablation, split: str) -> list[Difference]:
    """Return the differences between every two runs in the same phase, and between a run's phases, on `split`."""
    names, found = pairs.trainings(params, ablation), pairs.compared(params, ablation)
    if not found:
        return []
    predictions = {run: _read_predictions(run) for run, _ in names}
    correct, ids = {}, np.array([], int)
    for (run, phase), name in names.items():
        table = predictions[run][(predictions[run]["phase"] == phase) & (predictions[run]["split"] == split)]
        right = (table["actual"] == table["predicted"]).to_numpy()
        correct[name] = right.reshape(len(params.seeds), -1)
        ids = table["id"].to_numpy()[: correct[name].shape[1]]
    return differences(correct, samples.groups(samples.read_samples(ablation.study), ids), found)


def _read_predictions(run: str) -> pd.DataFrame:
    text = dict.fromkeys(("phase", "split", "path", "actual", "predicted"), str)
    return pd.read_csv(paths.run_predictions(run), dtype=text, keep_default_na=False)


def _chance(run: str, split: str) -> float:
    """Return the share of the most frequent class in a split."""
    predictions = _read_predictions(run)
    return float(predictions["actual"][predictions["split"] == split].value_counts(normalize=True).max())


def _run_rows(params: Params, ablation: Ablation, run: str, split: str) -> list[dict[str, Any]]:
    """Return one row per phase of a run, with the run's net and the phase."""
    metrics = json.loads(paths.run_metrics(run).read_text(encoding="utf-8"))
    start = {"net": params.all_runs[run].net}
    return [
        {**ablation_row(run, ablation.runs[run], metrics[phase], split), "phase": phase, **start}
        for phase in params.phases(run)
    ]


def _trainings(params: Params, ablation: Ablation) -> list[figures.TrainingCurve]:
    """Return the accuracies of the base phases against the images seen, as means over the seeds."""
    runs = in_order(ablation)
    if ablation.has_words:
        colours = [PALETTE[i % len(PALETTE)] for i in range(len(runs))]
    else:
        colours = [step_colour(i, len(runs)) for i in range(len(runs))]
    result = []
    for run, colour in zip(runs, colours, strict=True):
        curves = pd.read_csv(paths.run_plots(run) / "curves.csv").pivot(
            index="epoch", columns="series", values="accuracy"
        )
        table_path = paths.policy(ablation.study, params.all_runs[run].policy)
        per_epoch = (pd.read_csv(table_path, usecols=["split"])["split"] == "train").sum()
        table = pd.DataFrame({"images": curves.index * per_epoch, "train": curves["train"], "val": curves["val"]})
        result.append(figures.TrainingCurve(run, colour, table.dropna()))
    return result
