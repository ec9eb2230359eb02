"""Tables of the page: text in cells, with a mark where a reader must look twice."""

from dataclasses import dataclass
from typing import Any

import pandas as pd

from cnnstudy.params import Params
from cnnstudy.report.reference import find
from cnnstudy.report.results import HEADLINE, RunMetrics

NONE = "–"
# Where the report prints the accuracies of an ablation, by the value on its axis.
REPORT_TABLES = {
    "augmentation": {level: str(8 + level) for level in range(1, 5)},
    "depth": {layers: f"log under table {12 + layers}" for layers in range(1, 6)},
}
MODES = ("batch", "moving", "recalibrated")
METRICS = {
    "n": "images",
    "loss": "loss",
    "macro_precision": "macro precision",
    "macro_recall": "macro recall",
    "macro_f1": "macro F1",
    "weighted_f1": "weighted F1",
    "kappa": "kappa",
    "auc": "AUC",
    "average_precision": "average precision",
    "sensitivity": "sensitivity",
    "specificity": "specificity",
}


@dataclass(frozen=True)
class Cell:
    """`mark` is `constant` (one class for every image) or `inside` (the report's number lies in our interval)."""

    text: str
    mark: str = ""


@dataclass(frozen=True)
class Table:
    """A head and rows of as many cells; the first cell of a row names it."""

    head: list[str]
    rows: list[list[Cell]]


def faces_table(params: Params, metrics: dict[str, RunMetrics], numbers: pd.DataFrame) -> Table:
    """Validation accuracy of every phase of the faces runs beside the report's and Hewitt and Gunes'."""
    head = ["run", "phase", "val accuracy", "95 % interval", "report", "difference", "Hewitt & Gunes", "macro F1", "AUC"]
    rows = []
    for run, phases in metrics.items():
        if params.runs[run].study != "faces":
            continue
        for phase, splits in phases.items():
            ours = splits["val"]
            report = _published(numbers, "report", run=run, phase=phase, split="val")
            paper = _published(numbers, "hewitt_gunes_2018", run=run, split="val") if phase == "base" else None
            cells = [_accuracy(ours), _interval(ours), number(report), _difference(ours, report), number(paper)]
            rows.append([Cell(run), Cell(phase), *cells, number(ours["macro_f1"]), number(ours.get("auc"))])
    return Table(head, rows)


def ablation_table(name: str, axis: str, rows: pd.DataFrame, numbers: pd.DataFrame) -> Table:
    """The accuracies along an axis beside the report's, and Reshi et al.'s where the axis is depth."""
    split = "test" if "test_accuracy_low" in rows else "val"
    papers = ["Reshi et al."] if name == "depth" else []
    head = [axis, "run", f"{split} accuracy", "95 % interval", "report", "difference", *papers]
    head += ["train", "train, augmented", "report's train"]
    table = []
    for row in rows.to_dict("records"):
        printed = REPORT_TABLES.get(name, {}).get(row["x"], NONE)
        report = _published(numbers, "report", run=row["run"], split=split, table=printed)
        train = _published(numbers, "report", run=row["run"], split="train_augmented", table=printed)
        ours = {key: row[f"{split}_{key}"] for key in ("accuracy", "accuracy_low", "accuracy_high")}
        ours["constant"] = row["constant"]
        cells = [Cell(str(row["x"])), Cell(row["run"]), _accuracy(ours), _interval(ours), number(report)]
        cells.append(_difference(ours, report))
        if papers:
            cells.append(number(_published(numbers, "reshi_2021", run=row["run"], split=split, phase="base")))
        table.append([*cells, *(number(row.get(f"{each}_accuracy")) for each in ("train", "train_augmented")), number(train)])
    return Table(head, table)


def run_table(phases: RunMetrics) -> Table:
    """Every metric of a run, a row a phase and split."""
    names = {name: label for name, label in METRICS.items() if any(name in its for s in phases.values() for its in s.values())}
    head = ["phase", "split", "accuracy", "95 % interval", *names.values()]
    rows = [
        [Cell(phase), Cell(split), _accuracy(its), _interval(its), *(number(its.get(name)) for name in names)]
        for phase, splits in phases.items()
        for split, its in splits.items()
    ]
    return Table(head, rows)


def batchnorm_table(params: Params, metrics: dict[str, RunMetrics]) -> Table:
    """Accuracy under each way of taking BatchNorm's statistics, on train and on the split that counts."""
    head = ["run", "phase", *(f"train, {mode}" for mode in MODES), *(f"val or test, {mode}" for mode in MODES)]
    rows = []
    for run, phases in metrics.items():
        for phase, splits in phases.items():
            shown = (splits["train"], splits[HEADLINE[params.runs[run].study]])
            rows.append([Cell(run), Cell(phase), *(_mode(its, mode) for its in shown for mode in MODES)])
    return Table(head, rows)


def constant_answers(metrics: dict[str, RunMetrics]) -> list[str]:
    """`run, phase, split` wherever every image got the same answer."""
    return [
        f"{run}, {phase}, {split}"
        for run, phases in metrics.items()
        for phase, splits in phases.items()
        for split, its in splits.items()
        if its["constant"]
    ]


def layer_table(layers: pd.DataFrame) -> Table:
    """Layers as the report prints them, with the sums."""
    rows = [[Cell(f"{row.type}"), Cell(f"{row.shape}"), Cell(f"{row.parameters:,}")] for row in layers.itertuples()]
    total, trainable = layers["parameters"].sum(), layers["trainable"].sum()
    sums = [("all parameters", total), ("trainable", trainable), ("not trainable", total - trainable)]
    rows += [[Cell(name), Cell(""), Cell(f"{value:,}")] for name, value in sums]
    return Table(["layer", "output shape", "parameters"], rows)


def audit_tables(content: dict[str, Any], title: str = "") -> list[tuple[str, Table]]:
    """What an audit found, as tables with titles: nested mappings and lists, in their order."""
    plain = {key: value for key, value in content.items() if not isinstance(value, dict | list) or not value}
    nested = {key: value for key, value in content.items() if key not in plain}
    tables = [(title, Table(["", ""], [[Cell(_words(key)), Cell(_plain(value))] for key, value in plain.items()]))]
    tables = tables if plain else []
    for key, value in nested.items():
        name = f"{title}: {_words(key)}" if title else _words(key)
        if isinstance(value, list):
            tables.append((name, _records(value)))
        elif all(isinstance(each, dict) for each in value.values()):
            tables.append((name, _records([{"": row, **each} for row, each in value.items()])))
        else:
            tables += audit_tables(value, name)
    return tables


def number(value: float | None) -> Cell:
    """Three decimals for a share or a loss, digits alone for a count."""
    if value is None or pd.isna(value):
        return Cell(NONE)
    return Cell(f"{value:,}" if isinstance(value, int) else f"{value:.3f}")


def _published(numbers: pd.DataFrame, source: str, **cells: str) -> float | None:
    return find(numbers[numbers["source"] == source], metric="accuracy", **cells)


def _accuracy(its: dict[str, Any]) -> Cell:
    return Cell(f"{its['accuracy']:.3f}", "constant" if its["constant"] else "")


def _interval(its: dict[str, Any]) -> Cell:
    return Cell(f"{its['accuracy_low']:.3f} to {its['accuracy_high']:.3f}")


def _difference(its: dict[str, Any], published: float | None) -> Cell:
    if published is None:
        return Cell(NONE)
    inside = its["accuracy_low"] <= published <= its["accuracy_high"]
    return Cell(f"{its['accuracy'] - published:+.3f}".replace("-", "−"), "inside" if inside else "")


def _mode(its: dict[str, Any], mode: str) -> Cell:
    return Cell(f"{its[f'accuracy_{mode}']:.3f}", "constant" if its[f"constant_{mode}"] else "")


def _records(records: list[Any]) -> Table:
    rows = [record if isinstance(record, dict) else {"": record} for record in records]
    head = list(dict.fromkeys(key for row in rows for key in row))
    return Table([_words(key) for key in head], [[Cell(_plain(row.get(key, ""))) for key in head] for row in rows])


def _words(key: str) -> str:
    return key.replace("_", " ")


def _plain(value: Any) -> str:
    """A value in words; what is empty is `none`."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, dict):
        return ", ".join(f"{_words(key)} {_plain(each)}" for key, each in value.items()) or "none"
    if isinstance(value, list):
        return ", ".join(map(_plain, value)) or "none"
    return f"{value:,}" if isinstance(value, int) else str(value) if value is not None else "none"
