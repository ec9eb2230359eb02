"""The results that the page shows: metrics, tables and images, read by the names in params.yaml."""

import base64
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from PIL import Image

from cnnstudy.config.schema import Params
from cnnstudy.data.samples import HOLDOUT
from cnnstudy.evaluation.intervals import Difference
from cnnstudy.workspace import paths

LARGE = 60_000
PHOTO_WIDTH = 1400
# WebP's method 2 (of 0 to 6) takes less than half the time of the default 4, for 5 % more bytes.
PHOTO_QUALITY, PHOTO_METHOD = 78, 2

# The splits on which tuning is judged: images like those of tune, and images like those of train.
JUDGED = (HOLDOUT, "val", "test")

RunMetrics = dict[str, dict[str, dict[str, Any]]]
# Words for the BatchNorm statistics that predictions use.
WORDS = {"recalibrated": "re-estimated", "moving": "moving"}


@dataclass(frozen=True)
class Headline:
    """A run's headline metric with its 95 % interval, and its accuracies with other BatchNorm statistics, by name.

    The metric is `accuracy`, or `ccc` of a run that learns values (see cnnstudy.evaluation.values).
    """

    phase: str
    split: str
    value: float
    low: float
    high: float
    others: dict[str, float]
    metric: str = "accuracy"

    @property
    def text(self) -> str:
        """The value in words: 0.745 for an accuracy, `CCC 0.745` otherwise."""
        name = "" if self.metric == "accuracy" else f"{self.metric.upper()} "
        return f"{name}{self.value:.3f}"


def read_metrics(params: Params) -> dict[str, RunMetrics]:
    """Return the metrics of the runs in params, {run: {phase: {split: {metric: value}}}}."""
    return {run: read_run(run) for run in params.all_runs}


def read_run(run: str) -> RunMetrics:
    """Return the metrics of a run, {phase: {split: {metric: value}}}."""
    metrics: RunMetrics = json.loads(paths.run_metrics(run).read_text(encoding="utf-8"))
    return metrics


def headline(phases: RunMetrics, split: str) -> Headline:
    """Return the headline of a run: the accuracy, or the CCC, of its last phase on a split."""
    phase, splits = list(phases.items())[-1]
    metrics = splits[split]
    if "ccc" in metrics:
        return Headline(phase, split, metrics["ccc"], metrics["ccc_low"], metrics["ccc_high"], {}, "ccc")
    modes = {WORDS[mode]: metrics[f"accuracy_{mode}"] for mode in WORDS if f"accuracy_{mode}" in metrics}
    # The accuracy itself uses one of the two kinds of BatchNorm statistics; a net without BatchNorm has only one.
    others = {name: value for name, value in modes.items() if value != metrics["accuracy"]}
    return Headline(phase, split, metrics["accuracy"], metrics["accuracy_low"], metrics["accuracy_high"], others)


def summary(params: Params, metrics: dict[str, RunMetrics]) -> dict[str, dict[str, float | str]]:
    """Return {run: {<split>_accuracy, tuned_<split>_accuracy}} for the primary split of each run's study.

    A run that learns values has `<split>_ccc` too, and no accuracy if it learns nothing else. For a run that predicts
    one class for every image of that split, `one_class_answers` lists the phases that do.
    """
    result: dict[str, dict[str, float | str]] = {}
    for run, phases in metrics.items():
        split = params.study_of(run).primary_split
        result[run] = {
            f"{split}_{name}" if phase == "base" else f"{phase}_{split}_{name}": splits[split][name]
            for phase, splits in phases.items()
            for name in ("accuracy", "ccc")
            if name in splits[split]
        }
        if constant := [phase for phase, splits in phases.items() if splits[split].get("constant")]:
            result[run]["one_class_answers"] = ", ".join(constant)
    return result


def read_class_differences(name: str) -> list[Difference]:
    """Return the differences in accuracy of an ablation of runs that learn values, see cnnstudy.evaluation.ablation."""
    return read_pairs(paths.ablation_plots(name) / "class_differences.csv")


def read_ablation(name: str) -> pd.DataFrame:
    """Return the rows of an ablation, see cnnstudy.evaluation.ablation."""
    table = pd.read_csv(paths.ablation_plots(name) / "curve.csv")
    # pandas takes a column of 0 and 1 for whole numbers.
    return table.astype({column: float for column in table if "_accuracy" in column})


def read_layers(run: str) -> pd.DataFrame:
    """Return a run's layer table, with the columns type, shape, parameters and trainable."""
    return pd.read_csv(_figures(run) / "layers.csv")


def read_gpus(run: str, phase: str) -> str:
    """Return the GPUs that a phase was trained on, or `none`."""
    facts = json.loads((_figures(run) / f"{phase}-{paths.FACTS}").read_text(encoding="utf-8"))
    return str(facts.get("gpus", "none"))


def read_curves(run: str) -> pd.DataFrame:
    """Return a run's training curves, with the columns epoch, series, accuracy, loss; see cnnstudy.evaluation.run."""
    return pd.read_csv(paths.run_plots(run) / "curves.csv")


def read_report(run: str, phase: str, split: str) -> pd.DataFrame:
    """Return a classification report, with precision, recall, f1-score and support, and the class as index."""
    return pd.read_csv(
        _figures(run) / f"{phase}-{split}-report.csv", dtype={"class": str}, keep_default_na=False, na_values=[""]
    ).set_index("class")


def read_confusion(run: str, phase: str, split: str) -> pd.DataFrame:
    """Return a confusion matrix, with actual classes as rows and predicted classes as columns."""
    return pd.read_csv(
        _figures(run) / f"{phase}-{split}-confusion.csv", dtype={"actual": str}, keep_default_na=False
    ).set_index("actual")


def read_subgroups(run: str, phase: str, split: str) -> pd.DataFrame:
    """Return the accuracy by subgroup, see `cnnstudy.evaluation.subgroups.measure`; no rows if it was not compared."""
    path = _figures(run) / f"{phase}-{split}-subgroups.csv"
    if not path.is_file():
        return pd.DataFrame(columns=["column", "value", "gap"])
    return pd.read_csv(path, dtype={"column": str, "value": str}, keep_default_na=False, na_values={"gap": ""})


def read_roc(run: str, phase: str, split: str) -> pd.DataFrame:
    """Return ROC curves, with the columns series, auc, fpr and tpr."""
    return pd.read_csv(_figures(run) / f"{phase}-{split}-roc.csv", dtype={"series": str}, keep_default_na=False)


def read_differences(params: Params) -> dict[tuple[str, str], Difference]:
    """Return the differences in accuracy of all ablations, by the names of the two trainings.

    For a pair in several ablations the first is returned: significance depends on the number of compared pairs.
    """
    differences: dict[tuple[str, str], Difference] = {}
    for name, ablation in params.ablations.items():
        is_of_values = params.task_of(next(iter(ablation.runs))).has_values
        for pair in [] if is_of_values else read_ablation_differences(name):
            differences.setdefault((pair.first, pair.second), pair)
    return differences


def read_ablation_differences(name: str) -> list[Difference]:
    """Return the differences of an ablation."""
    return read_pairs(paths.ablation_plots(name) / "differences.csv")


def read_pairs(file: Path) -> list[Difference]:
    """Return the differences in a table."""
    rows = pd.read_csv(file).to_dict("records")
    return [Difference(**{str(key): value for key, value in row.items()}) for row in rows]


def confusions(params: Params, study: str) -> pd.DataFrame:
    """Return the confusions of a study's runs in the base phase on the primary split, summed over the runs.

    The columns are actual, predicted, count and share (of the images of class `actual`), the most frequent first.
    """
    runs, split = params.class_runs_of(study), params.studies[study].primary_split
    if not runs:
        return pd.DataFrame(columns=["actual", "predicted", "count", "share"])
    pooled = pd.concat([read_confusion(run, "base", split) for run in runs]).groupby(level=0).sum()
    pairs = pooled.rename_axis(columns="predicted").stack().rename("count").reset_index()
    pairs["share"] = pairs["count"] / pairs["actual"].map(pooled.sum(axis=1))
    wrong = pairs[(pairs["actual"] != pairs["predicted"]) & (pairs["count"] > 0)]
    return wrong.sort_values("count", ascending=False, kind="stable").reset_index(drop=True)


def data_uri(path: Path) -> str:
    """Return a PNG file as a data URI; a large one, such as a contact sheet, as WebP not wider than a screen."""
    content = path.read_bytes()
    if len(content) <= LARGE:
        return f"data:image/png;base64,{base64.b64encode(content).decode()}"
    with Image.open(path) as image:
        thumbnail = image.convert("RGB")
    thumbnail.thumbnail((PHOTO_WIDTH, PHOTO_WIDTH * 4))
    buffer = io.BytesIO()
    thumbnail.save(buffer, "WEBP", quality=PHOTO_QUALITY, method=PHOTO_METHOD)
    return f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _figures(run: str) -> Path:
    return paths.run_plots(run) / "figures"
