"""What the page is made from: metrics, tables and pictures, read by the names in params.yaml."""

import base64
import io
import json
from pathlib import Path
from typing import Any

import pandas as pd
from PIL import Image

from cnnstudy.config.schema import HEADLINE, Params
from cnnstudy.evaluation.intervals import Difference
from cnnstudy.workspace import paths

LARGE = 60_000
PHOTO_WIDTH = 1400
# Method 2 of 6 takes less than half the time of WebP's usual 4, and 5 % more bytes.
PHOTO_QUALITY, PHOTO_METHOD = 78, 2

RunMetrics = dict[str, dict[str, dict[str, Any]]]


def read_metrics(params: Params) -> dict[str, RunMetrics]:
    """{run: {phase: {split: {metric: value}}}} of the runs in params."""
    return {run: json.loads(paths.run_metrics(run).read_text(encoding="utf-8")) for run in params.runs}


def summary(params: Params, metrics: dict[str, RunMetrics]) -> dict[str, dict[str, float | str]]:
    """{run: {val_accuracy, tuned_val_accuracy}} for faces, {run: {test_accuracy}} for xray.

    A run that gave every image of that split the same answer also says in which phases, as `one_class_answers`.
    """
    result: dict[str, dict[str, float | str]] = {}
    for run, phases in metrics.items():
        split = HEADLINE[params.runs[run].study]
        result[run] = {
            f"{split}_accuracy" if phase == "base" else f"{phase}_{split}_accuracy": splits[split]["accuracy"]
            for phase, splits in phases.items()
        }
        if constant := [phase for phase, splits in phases.items() if splits[split]["constant"]]:
            result[run]["one_class_answers"] = ", ".join(constant)
    return result


def read_ablation(name: str) -> pd.DataFrame:
    """The rows of an ablation, see cnnstudy.evaluation.ablation."""
    return pd.read_csv(paths.ablation_plots(name) / "curve.csv")


def read_layers(run: str) -> pd.DataFrame:
    """A run's layer table: type, shape, parameters, trainable."""
    return pd.read_csv(_figures(run) / "layers.csv")


def read_curves(run: str) -> pd.DataFrame:
    """Columns epoch, series, accuracy, loss; see cnnstudy.evaluation.run."""
    return pd.read_csv(paths.run_plots(run) / "curves.csv")


def read_report(run: str, phase: str, split: str) -> pd.DataFrame:
    """A classification report: precision, recall, f1-score and support, the class as index."""
    return pd.read_csv(
        _figures(run) / f"{phase}-{split}-report.csv", dtype={"class": str}, keep_default_na=False, na_values=[""]
    ).set_index("class")


def read_confusion(run: str, phase: str, split: str) -> pd.DataFrame:
    """Counts, a row an actual and a column a predicted class."""
    return pd.read_csv(
        _figures(run) / f"{phase}-{split}-confusion.csv", dtype={"actual": str}, keep_default_na=False
    ).set_index("actual")


def read_roc(run: str, phase: str, split: str) -> pd.DataFrame:
    """Columns series, auc, fpr, tpr."""
    return pd.read_csv(_figures(run) / f"{phase}-{split}-roc.csv", dtype={"series": str}, keep_default_na=False)


def read_differences(params: Params) -> dict[tuple[str, str], Difference]:
    """The differences of every ablation, by the names of the two trainings.

    Of a pair in several ablations the first's: what is more than chance depends on how many pairs are compared.
    """
    found: dict[tuple[str, str], Difference] = {}
    for name in params.ablations:
        for pair in read_ablation_differences(name):
            found.setdefault((pair.first, pair.second), pair)
    return found


def read_ablation_differences(name: str) -> list[Difference]:
    """The differences of an ablation."""
    table = pd.read_csv(paths.ablation_plots(name) / "differences.csv")
    return [Difference(**{str(key): value for key, value in row.items()}) for row in table.to_dict("records")]


def confusions(params: Params, study: str) -> pd.DataFrame:
    """What the base phases of a study's runs took for what, in the headline split, pooled and without neutral.

    Columns actual, predicted, count and share (of the images of class `actual`), most frequent first.
    """
    runs = [run for run, its in params.runs.items() if its.study == study]
    if not runs:
        return pd.DataFrame(columns=["actual", "predicted", "count", "share"])
    split = HEADLINE[study]  # type: ignore[index]
    pooled = pd.concat([read_confusion(run, "base", split) for run in runs]).groupby(level=0).sum()
    pairs = pooled.rename_axis(columns="predicted").stack().rename("count").reset_index()
    pairs["share"] = pairs["count"] / pairs["actual"].map(pooled.sum(axis=1))
    wrong = pairs[(pairs["actual"] != pairs["predicted"]) & (pairs["count"] > 0)]
    emotional = wrong[(wrong["actual"] != "neutral") & (wrong["predicted"] != "neutral")]
    return emotional.sort_values("count", ascending=False, kind="stable").reset_index(drop=True)


def picture(path: Path) -> str:
    """A PNG as a data URI; a large one, such as a contact sheet, as WebP not wider than a screen."""
    content = path.read_bytes()
    if len(content) <= LARGE:
        return f"data:image/png;base64,{base64.b64encode(content).decode()}"
    with Image.open(path) as image:
        picture = image.convert("RGB")
    picture.thumbnail((PHOTO_WIDTH, PHOTO_WIDTH * 4))
    buffer = io.BytesIO()
    picture.save(buffer, "WEBP", quality=PHOTO_QUALITY, method=PHOTO_METHOD)
    return f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _figures(run: str) -> Path:
    return paths.run_plots(run) / "figures"
