"""Tables that set our numbers beside the published ones, number by number."""

from typing import Any

import pandas as pd

from cnnstudy.config.schema import Params
from cnnstudy.report import results
from cnnstudy.report.reference import find
from cnnstudy.report.results import RunMetrics
from cnnstudy.report.tables import NONE, Cell, Table, number

# Of a classification report: our column, the published metric, its heading.
COLUMNS = (("precision", "precision", "precision"), ("recall", "recall", "recall"), ("f1-score", "f1", "F1"))
# What Hewitt and Gunes print of each net (their table of categorical results), by our names.
PAPER_METRICS = {
    "accuracy": ("accuracy", "accuracy"),
    "macro F1": ("macro_f1", "f1"),
    "Cohen's kappa": ("kappa", "kappa"),
    "Krippendorff's alpha": ("alpha", "krippendorff_alpha"),
    "AUCPR": ("average_precision", "average_precision"),
    "AUC": ("auc", "auc"),
}


# What the logs print.
LOGGED = ("accuracy", "loss")

RunSplits = dict[str, dict[str, Any]]


def paper_table(params: Params, metrics: dict[str, RunMetrics], numbers: pd.DataFrame) -> Table | None:
    """Every metric that Hewitt and Gunes print, on validation after the base phase; None where no net is there."""
    runs = [run for run in metrics if params.runs[run].study == "faces"]
    if not runs or numbers[numbers["source"] == "hewitt_gunes_2018"].empty:
        return None
    head = ["metric", *(name for run in runs for name in (run, "paper", "difference"))]
    rows = []
    for label, (ours, theirs) in PAPER_METRICS.items():
        cells = [Cell(label)]
        for run in runs:
            value = metrics[run]["base"]["val"].get(ours)
            published = find(numbers, source="hewitt_gunes_2018", run=run, split="val", metric=theirs)
            cells += _beside(value, published.value if published else None)
        rows.append(cells)
    return Table(head, rows)


def published_parts(run: str, phase: str, splits: RunSplits, numbers: pd.DataFrame) -> list[tuple[str, Table]]:
    """Our numbers beside those that the report prints of a phase: (where, table) of each report and of the logs."""
    mine = numbers[(numbers["source"] == "report") & (numbers["run"] == run) & (numbers["phase"] == phase)]
    found = []
    for split in splits:
        printed = mine[(mine["split"] == split) & (mine["metric"] == "precision")]
        if len(printed):
            table = str(printed["table"].iloc[0])
            rows = mine[(mine["split"] == split) & (mine["table"] == table)]
            found.append((f"{split}, table {table}", _report(results.read_report(run, phase, split), rows)))
    logged = mine[mine["table"].str.startswith("log") & mine["metric"].isin(LOGGED)]
    for name, rows in logged.groupby("table", sort=False):
        found.append((str(name), _log(splits, rows)))
    return found


def _log(splits: RunSplits, printed: pd.DataFrame) -> Table:
    head = ["split", *(name for metric in LOGGED for name in (metric, "report", "difference"))]
    rows = []
    for split in dict.fromkeys(printed["split"]):
        values = printed[printed["split"] == split].set_index("metric")["value"]
        ours = splits.get(split, {})
        beside = [cell for metric in LOGGED for cell in _beside(ours.get(metric), float(values[metric]))]
        rows.append([Cell(split), *beside])
    return Table(head, rows)


def _report(ours: pd.DataFrame, theirs: pd.DataFrame) -> Table:
    head = ["class", *(name for _, _, label in COLUMNS for name in (label, "report", "difference")), "images", "report"]
    coded = {name: str(i) for i, name in enumerate(ours.index[:2])} if len(ours) == 5 else {}
    printed = theirs.set_index(["class", "metric"])["value"]
    rows = []
    for name, values in ours.iterrows():
        key = "" if name == "accuracy" else coded.get(str(name), str(name))
        cells = [Cell(f"{name} (report: {key})" if name in coded else str(name))]
        for column, metric, _ in COLUMNS:
            if name == "accuracy":
                metric = "accuracy" if column == "f1-score" else ""
            cells += _beside(values[column], printed.get((key, metric)))
        rows.append([*cells, number(int(values["support"])), number(_whole(printed.get((key, "support"))))])
    if ("", "specificity") in printed.index:
        low = ours["recall"].iloc[0]
        blank = [Cell("")] * 3
        cells = [Cell("specificity"), *blank, *_beside(low, printed["", "specificity"]), *blank, Cell(""), Cell("")]
        rows.append(cells)
    return Table(head, rows)


def _beside(ours: float | None, theirs: float | None) -> list[Cell]:
    """Ours, the published, and the difference."""
    if ours is None or pd.isna(ours):
        return [Cell(NONE if theirs is not None else ""), _two(theirs), Cell("")]
    if theirs is None:
        return [number(float(ours)), Cell(NONE), Cell(NONE)]
    return [number(float(ours)), _two(theirs), Cell(f"{ours - theirs:+.2f}".replace("-", "−"))]


def _two(value: float | None) -> Cell:
    return Cell("" if value is None else f"{value:.2f}")


def _whole(value: float | None) -> int | None:
    return None if value is None else int(value)
