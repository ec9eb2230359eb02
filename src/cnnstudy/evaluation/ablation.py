"""Runs that differ in one setting, side by side: accuracies, which differences are real, how they were trained."""

import json
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from cnnstudy.config.schema import HEADLINE, Ablation, Params
from cnnstudy.data import samples
from cnnstudy.evaluation import figures
from cnnstudy.evaluation.intervals import Difference, differences
from cnnstudy.evaluation.predictions import MODES
from cnnstudy.workspace import files, paths

# How far a phase stands beside its run's place; runs stand at 0, 1, 2, ...
BESIDE = 0.13


def write_ablation(params: Params, name: str) -> None:
    """Write metrics/ablations/<name>.json and plots/ablations/<name>.

    The JSON holds the axis, the split that counts, the BatchNorm mode that counts, `chance` (the accuracy of always
    answering the most frequent class), the rows (see `ablation_row`) along the axis, and the differences. Plots:
    curve.csv with the rows, differences.csv with the pairs (see cnnstudy.evaluation.intervals), and curve, differences
    and training as PNG.
    """
    ablation = params.ablations[name]
    split = HEADLINE[ablation.study]
    rows = [row for run in in_order(ablation) for row in _run_rows(params, ablation, run, split)]
    pairs = compared(params, ablation, split)
    facts: dict[str, Any] = {"axis": ablation.axis, "split": split, "batchnorm": params.batchnorm}
    facts["chance"] = _chance(in_order(ablation)[0], split)

    content = facts | {"rows": rows, "differences": [vars(pair) for pair in pairs]}
    files.write_text(paths.ablation_metrics(name), json.dumps(content, indent=2, allow_nan=False) + "\n")
    points = pd.DataFrame(rows)
    title = f"{ablation.study}: accuracy by {ablation.axis}"
    with files.replacing_folder(paths.ablation_plots(name)) as plots:
        points.to_csv(plots / "curve.csv", index=False, float_format="%.9g")
        columns = list(Difference.__annotations__)
        pd.DataFrame([vars(pair) for pair in pairs], columns=columns).to_csv(
            plots / "differences.csv", index=False, float_format="%.9g"
        )
        places = points["run"].map({run: place for place, run in enumerate(in_order(ablation))})
        at = places + BESIDE * points["phase"].map({"base": -1, "tuned": 1}) * (points["phase"].nunique() - 1)
        figures.draw_ablation(points.assign(at=at), facts | {"title": title}, plots / "curve.png")
        figures.draw_trainings(_trainings(params, ablation), f"{ablation.study}: training by {ablation.axis}",
                               plots / "training.png")  # fmt: skip
        if pairs:
            figures.draw_differences(pairs, f"{title}, {split}", plots / "differences.png")


def in_order(ablation: Ablation) -> list[str]:
    """Return the runs of an ablation along its axis: by ascending numbers, or as they are listed where it has words."""
    if ablation.has_words:
        return list(ablation.runs)
    return sorted(ablation.runs, key=lambda run: float(ablation.runs[run]))


def ablation_row(run: str, x: int | float | str, splits: dict[str, dict[str, Any]], split: str) -> dict[str, Any]:
    """A row of an ablation: run, x, the accuracy of every split as `<split>_accuracy`, and `constant`.

    Of `split`, the one that counts, also the bounds `<split>_accuracy_low` and `_high`, and for every BatchNorm mode
    `<split>_accuracy_<mode>` and `constant_<mode>`.
    """
    counts = splits[split]
    row: dict[str, Any] = {"run": run, "x": x, "constant": counts["constant"]}
    row |= {f"{split}_{name}": counts[name] for name in ("accuracy", "accuracy_low", "accuracy_high")}
    row |= {f"{other}_accuracy": its["accuracy"] for other, its in splits.items() if other != split}
    row |= {f"{split}_accuracy_{mode}": counts[f"accuracy_{mode}"] for mode in MODES}
    return row | {f"constant_{mode}": counts[f"constant_{mode}"] for mode in MODES}


def compared(params: Params, ablation: Ablation, split: str) -> list[Difference]:
    """Every two runs of the same phase, and a run's phases, on the images of `split`."""
    phases = {run: params.phases(run) for run in in_order(ablation)}
    names = {(run, phase): _name(run, phase) for run, its in phases.items() for phase in its}
    pairs = [
        (names[later, phase], names[earlier, phase])
        for phase in ("base", "tuned")
        for earlier, later in combinations([run for run in phases if phase in phases[run]], 2)
    ]
    pairs += [(names[run, "tuned"], names[run, "base"]) for run, its in phases.items() if "tuned" in its]
    if not pairs:
        return []
    answers = {run: _read_answers(run) for run in phases}
    correct, ids = {}, np.array([], int)
    for (run, phase), name in names.items():
        its = answers[run][(answers[run]["phase"] == phase) & (answers[run]["split"] == split)]
        right = (its["actual"] == its["predicted"]).to_numpy()
        correct[name] = right.reshape(len(params.seeds), -1)
        ids = its["id"].to_numpy()[: correct[name].shape[1]]
    return differences(correct, samples.groups(samples.read_samples(ablation.study), ids), pairs)


def _read_answers(run: str) -> pd.DataFrame:
    text = dict.fromkeys(("phase", "split", "path", "actual", "predicted"), str)
    return pd.read_csv(paths.answers(run), dtype=text, keep_default_na=False)


def _chance(run: str, split: str) -> float:
    """The share of the largest class."""
    answers = _read_answers(run)
    return float(answers["actual"][answers["split"] == split].value_counts(normalize=True).max())


def _run_rows(params: Params, ablation: Ablation, run: str, split: str) -> list[dict[str, Any]]:
    """A row a phase, with the run's net and the phase."""
    metrics = json.loads(paths.run_metrics(run).read_text(encoding="utf-8"))
    start = {"net": params.runs[run].net}
    return [
        {**ablation_row(run, ablation.runs[run], metrics[phase], split), "phase": phase, **start}
        for phase in params.phases(run)
    ]


def _name(run: str, phase: str) -> str:
    return run if phase == "base" else f"{run}, {phase}"


def _trainings(params: Params, ablation: Ablation) -> list[figures.Training]:
    """The base phases' accuracies against the images seen, means over the seeds."""
    runs = in_order(ablation)
    nets = [params.runs[run].net for run in runs]
    shades = [figures.step_colour(i, len(runs)) for i in range(len(runs))]
    colours = [figures.NET_COLOURS[net] for net in nets] if len(set(nets)) == len(runs) > 1 else shades
    result = []
    for run, colour in zip(runs, colours, strict=True):
        curves = pd.read_csv(paths.run_plots(run) / "curves.csv").pivot(
            index="epoch", columns="series", values="accuracy"
        )
        plan = paths.plan(ablation.study, params.runs[run].plan)
        an_epoch = (pd.read_csv(plan, usecols=["split"])["split"] == "train").sum()
        table = pd.DataFrame({"images": curves.index * an_epoch, "train": curves["train"], "val": curves["val"]})
        result.append(figures.Training(run, colour, table.dropna()))
    return result
