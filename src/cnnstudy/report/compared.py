"""Tables that set our numbers beside the published ones, number by number."""

from typing import Any

import pandas as pd

from cnnstudy.evaluation import results
from cnnstudy.evaluation.results import RunMetrics
from cnnstudy.published.paper import Paper
from cnnstudy.published.reference import find
from cnnstudy.report.tables import NONE, Cell, Table, number

# Columns of a classification report: our name, the published metric's name, and the heading.
COLUMNS = (("precision", "precision", "precision"), ("recall", "recall", "recall"), ("f1-score", "f1", "F1"))


# The metrics that the logs print.
LOGGED = ("accuracy", "loss")

RunSplits = dict[str, dict[str, Any]]


def paper_table(paper: Paper, runs: list[str], metrics: dict[str, RunMetrics], numbers: pd.DataFrame) -> Table | None:
    """Return our value and the paper's of each metric it prints per net, for the base phase; None if it prints none."""
    if not runs or not paper.metrics or numbers[numbers["source"] == paper.source].empty:
        return None
    rows = []
    for run in runs:
        for label, (ours, theirs) in paper.metrics.items():
            value = metrics[run]["base"][paper.split].get(ours)
            published = find(numbers, source=paper.source, run=run, split=paper.split, metric=theirs)
            rows.append([Cell(run), Cell(label, "text"), *_beside(value, published.value if published else None)])
    caption = f"Every metric of {paper.title}, on {paper.split}, base phase"
    return Table(["net", "metric", "ours", paper.title, "difference"], rows, caption)


def published_parts(run: str, phase: str, splits: RunSplits, numbers: pd.DataFrame) -> list[tuple[str, Table]]:
    """Return (place, table) for each report and log of a phase, with our numbers beside the course report's."""
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
    rows = []
    for split in dict.fromkeys(printed["split"]):
        values = printed[printed["split"] == split].set_index("metric")["value"]
        ours = splits.get(split, {})
        rows.append([Cell(split), *(_over(ours.get(metric), float(values[metric])) for metric in LOGGED)])
    return Table(["split", *LOGGED], rows)


def _report(ours: pd.DataFrame, theirs: pd.DataFrame) -> Table:
    coded = {name: str(i) for i, name in enumerate(ours.index[:2])} if len(ours) == 5 else {}
    printed = theirs.set_index(["class", "metric"])["value"]
    rows = []
    for name, values in ours.iterrows():
        key = "" if name == "accuracy" else coded.get(str(name), str(name))
        cells = [Cell(f"{name} (report: {key})" if name in coded else str(name))]
        for column, metric, _ in COLUMNS:
            if name == "accuracy":
                metric = "accuracy" if column == "f1-score" else ""
            cells.append(_over(values[column], printed.get((key, metric))))
        theirs_of = printed.get((key, "support"))
        images = Cell(number(int(values["support"])).text, note="" if theirs_of is None else f"report {theirs_of:.0f}")
        rows.append([*cells, images])
    if ("", "specificity") in printed.index:
        low = _over(ours["recall"].iloc[0], printed["", "specificity"])
        rows.append([Cell("specificity"), Cell(""), low, Cell(""), Cell("")])
    return Table(["class", *(label for _, _, label in COLUMNS), "images"], rows)


def _over(ours: float | None, theirs: float | None) -> Cell:
    """Return a cell with our number, and the report's and the difference below it."""
    first, published, difference = _beside(ours, theirs)
    if theirs is None:
        return Cell(first.text)
    gap = f", {difference.text}" if difference.text else ""
    return Cell(first.text, note=f"report {published.text}{gap}")


def _beside(ours: float | None, theirs: float | None) -> list[Cell]:
    """Return cells with our number, the published one and the difference."""
    if ours is None or pd.isna(ours):
        return [Cell(NONE if theirs is not None else ""), _two(theirs), Cell("")]
    if theirs is None:
        return [number(float(ours)), Cell(NONE), Cell(NONE)]
    return [number(float(ours)), _two(theirs), Cell(f"{ours - theirs:+.2f}".replace("-", "−"))]


def _two(value: float | None) -> Cell:
    return Cell("" if value is None else f"{value:.2f}")
