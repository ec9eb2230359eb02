"""Runs that differ in one setting, side by side. It reads metrics/runs only and needs no scikit-learn."""

import json
from typing import Any

import pandas as pd

from cnnstudy import files, paths
from cnnstudy.evaluation import figures
from cnnstudy.evaluation.predictions import MODES
from cnnstudy.params import Params


def write_ablation(params: Params, name: str) -> None:
    """Write metrics/ablations/<name>.json and, in plots/ablations/<name>, curve.csv and curve.png.

    The JSON holds the axis, the split that counts, the BatchNorm mode that counts, the chance level and the rows
    (see `ablation_row`) by ascending x; curve.csv holds the rows.
    """
    ablation = params.ablations[name]
    runs = sorted(ablation.runs.items(), key=lambda item: item[1])
    splits = [json.loads(paths.run_metrics(run).read_text(encoding="utf-8"))["base"] for run, _ in runs]
    split = "test" if all("test" in each for each in splits) else "val"
    rows = [ablation_row(run, x, its, split) for (run, x), its in zip(runs, splits, strict=True)]
    chance = 1 / len(params.study(ablation.study).classes)
    facts: dict[str, Any] = {"axis": ablation.axis, "split": split, "batchnorm": params.batchnorm, "chance": chance}

    content = json.dumps(facts | {"rows": rows}, indent=2, allow_nan=False)
    files.write_text(paths.ablation_metrics(name), content + "\n")
    table = pd.DataFrame(rows)
    title = f"{ablation.study}: accuracy by {ablation.axis}"
    with files.replacing_folder(paths.ablation_plots(name)) as plots:
        table.to_csv(plots / "curve.csv", index=False, float_format="%.9g")
        figures.draw_ablation(table, facts | {"title": title}, plots / "curve.png")


def ablation_row(run: str, x: int, splits: dict[str, dict[str, Any]], split: str) -> dict[str, Any]:
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
