"""Comparison of runs that differ in one setting: accuracies, significant differences, and training curves."""

import json
from typing import Any

import numpy as np
import pandas as pd

from cnnstudy.config.schema import OF_VALUES, TASKS, Ablation, Params
from cnnstudy.data import samples
from cnnstudy.evaluation import pairs
from cnnstudy.evaluation.intervals import Difference, differences
from cnnstudy.evaluation.pairs import in_order
from cnnstudy.evaluation.predictions import MODES, ValuePredictions
from cnnstudy.evaluation.values import ccc_differences
from cnnstudy.plots import ablation as figures
from cnnstudy.plots import values as value_figures
from cnnstudy.plots.style import PALETTE, step_colour
from cnnstudy.workspace import files, paths

# The horizontal offset of a phase from its run in figures; runs are at 0, 1, 2, ...
OFFSET = 0.13
# The metrics of an ablation of runs that learn values; those of each value come besides.
VALUE_COLUMNS = ("ccc", "ccc_low", "ccc_high", "accuracy", "accuracy_low", "accuracy_high", "ccc_gain")


def write_ablation(params: Params, name: str) -> None:
    """Write metrics/ablations/<name>.json and plots/ablations/<name>.

    For runs that learn values see `_write_values`. Otherwise the JSON holds the axis, the primary split, the primary
    BatchNorm mode, `chance` (the accuracy of always predicting the most frequent class), the rows (see `ablation_row`)
    along the axis, and the differences. The plots are curve.csv with the rows, differences.csv with the pairs (see
    cnnstudy.evaluation.intervals), and curve, differences and training as PNG.
    """
    ablation = params.ablations[name]
    split = params.studies[ablation.study].primary_split
    if params.task_of(in_order(ablation)[0]).has_values:
        _write_values(params, name, split)
        return
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


def _write_values(params: Params, name: str, split: str) -> None:
    """Write an ablation of runs that learn values: rows with their CCC and, of joint runs, accuracies.

    Of each row, `<split>_<metric>` are the metrics in `VALUE_COLUMNS` of every phase on the primary split, and of each
    value. `differences` are in mean CCC; `class_differences` are in accuracy, see `_class_differences`.
    """
    ablation, mode = params.ablations[name], params.batchnorm
    names = pairs.trainings(params, ablation)
    rows, trainings = [], {}
    ids = np.array([], int)
    for (run, phase), training in names.items():
        metrics = json.loads(paths.run_metrics(run).read_text(encoding="utf-8"))[phase][split]
        row: dict[str, Any] = {"run": run, "x": ablation.runs[run], "phase": phase, "net": params.all_runs[run].net}
        wanted = [*VALUE_COLUMNS, *(f"{value}_{score}" for value in params.values_of(run) for score in ("ccc", "rmse"))]
        rows.append(row | {f"{split}_{column}": metrics[column] for column in wanted if column in metrics})
        trainings[training] = _predicted_values(params, run, phase, split)
        ids = trainings[training][0].ids
    groups = samples.groups(samples.read_samples(ablation.study), ids)
    found = ccc_differences(trainings, mode, groups, pairs.compared(params, ablation))
    facts: dict[str, Any] = {"axis": ablation.axis, "split": split, "batchnorm": mode, "metric": "ccc"}
    of_classes = _class_differences(params, ablation, split)
    content = facts | {"rows": rows, "differences": [vars(pair) for pair in found]}
    content["class_differences"] = [vars(pair) for pair in of_classes]
    files.write_text(paths.ablation_metrics(name), json.dumps(content, indent=2, allow_nan=False) + "\n")
    title = f"{ablation.study}: mean CCC by {ablation.axis}"
    with files.replacing_folder(paths.ablation_plots(name)) as plots:
        table = pd.DataFrame(rows)
        table.to_csv(plots / "curve.csv", index=False, float_format="%.9g")
        differing = pd.DataFrame([vars(pair) for pair in found], columns=list(Difference.__annotations__))
        differing.to_csv(plots / "differences.csv", index=False, float_format="%.9g")
        classes = pd.DataFrame([vars(pair) for pair in of_classes], columns=list(Difference.__annotations__))
        classes.to_csv(plots / "class_differences.csv", index=False, float_format="%.9g")
        value_figures.draw_scores(list(names.values()), table, f"{split}_ccc", f"{title}, {split}", plots / "curve.png")
        figures.draw_trainings(
            _trainings(params, ablation, "ccc"), f"{ablation.study}: training by {ablation.axis}",
            plots / "training.png", "CCC",
        )  # fmt: skip
        if found:
            figures.draw_differences(differing, f"{title}, {split}", plots / "differences.png", "mean CCC")


def _predicted_values(params: Params, run: str, phase: str, split: str) -> list[ValuePredictions]:
    """Return the predicted values of each seed, for the images that have any value."""
    names = list(params.values_of(run))
    table = pd.read_csv(paths.run_predictions(run), dtype={"phase": str, "split": str})
    table = table[(table["phase"] == phase) & (table["split"] == split) & table[names].notna().any(axis=1)]
    found = []
    for seed in params.seeds:
        rows = table[table["seed"] == seed].sort_values("id")
        predicted: dict[str, np.ndarray] = {
            params.batchnorm: rows[[f"{name}_predicted" for name in names]].to_numpy(float)
        }
        empty: dict[str, np.ndarray] = {params.batchnorm: np.empty((len(rows), 0))}
        labels = np.full(len(rows), samples.NO_CLASS)  # not needed here
        truth = rows[names].to_numpy(float)
        found.append(ValuePredictions(rows["id"].to_numpy(int), labels, truth, predicted, empty))
    return found


def _class_differences(params: Params, ablation: Ablation, split: str) -> list[Difference]:
    """Return the differences in accuracy of joint runs and runs that learn the classes alone.

    Compared are base phases of the same net, with the same settings but those of values, on the same images.
    """
    joint = [run for run in in_order(ablation) if params.task_of(run).has_classes]
    alone = [run for run in params.runs_of(ablation.study) if params.task_of(run) == TASKS["classification"]]
    compared_pairs = [
        (run, other) for run in joint for other in alone if _settings(params, run) == _settings(params, other)
    ]
    found = []
    for run, other in compared_pairs:
        tables = [_predicted_classes(each, split) for each in (run, other)]
        correct = {
            name: table["correct"].to_numpy().reshape(len(params.seeds), -1)
            for name, table in zip((run, other), tables, strict=True)
        }
        ids = tables[0]["id"].to_numpy()[: correct[run].shape[1]]
        groups = samples.groups(samples.read_samples(ablation.study), ids)
        found += differences(correct, groups, [(run, other)], len(compared_pairs))
    return found


def _settings(params: Params, run: str) -> tuple[object, ...]:
    """Return what a run's classes are learnt with."""
    its, sizes = params.all_runs[run], params.run_sizes(run)
    recipe = params.run_recipe(run).model_dump(exclude=OF_VALUES)
    return its.net, its.policy, params.options_of(run), recipe, sizes.batch_size, sizes.epochs, sizes.class_weight


def _predicted_classes(run: str, split: str) -> pd.DataFrame:
    """Return the base phase's predictions of a split with the column `correct`, seed by seed."""
    table = _read_predictions(run)
    table = table[(table["phase"] == "base") & (table["split"] == split) & (table["predicted"] != "")]
    table = table.assign(correct=table["actual"] == table["predicted"])
    return table.sort_values(["seed", "id"])


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


def _trainings(params: Params, ablation: Ablation, metric: str = "accuracy") -> list[figures.TrainingCurve]:
    """Return the accuracies, or CCC, of the base phases against the images seen, as means over the seeds."""
    runs = in_order(ablation)
    if ablation.has_words:
        colours = [PALETTE[i % len(PALETTE)] for i in range(len(runs))]
    else:
        colours = [step_colour(i, len(runs)) for i in range(len(runs))]
    result = []
    for run, colour in zip(runs, colours, strict=True):
        curves = pd.read_csv(paths.run_plots(run) / "curves.csv").pivot(index="epoch", columns="series", values=metric)
        table_path = paths.policy(ablation.study, params.all_runs[run].policy)
        per_epoch = (pd.read_csv(table_path, usecols=["split"])["split"] == "train").sum()
        table = pd.DataFrame({"images": curves.index * per_epoch, "train": curves["train"], "val": curves["val"]})
        result.append(figures.TrainingCurve(run, colour, table.dropna()))
    return result
