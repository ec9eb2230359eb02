"""Tables of the page: text in cells, with a mark where a reader must look twice."""

from dataclasses import dataclass
from typing import Any

import pandas as pd

from cnnstudy.config.schema import HEADLINE, Params
from cnnstudy.evaluation.intervals import Difference
from cnnstudy.report.claims import Claim
from cnnstudy.report.reference import Published, find
from cnnstudy.report.results import RunMetrics

NONE = "–"
# Where the report prints the accuracies of an ablation, by the value on its axis.
REPORT_TABLES = {
    "augmentation": {level: str(8 + level) for level in range(1, 5)},
    "depth": {layers: f"log under table {12 + layers}" for layers in range(1, 6)},
}
# Tables whose numbers the report itself contradicts (see contradictions.html).
DOUBTFUL = ("9", "10", "11", "12", "log under table 17", "log under figure 15")
MODES = ("batch", "moving", "recalibrated")
COMPARED = ("accuracy", "95 % interval", "report", "difference")
METRICS = {
    "n": "images",
    "loss": "loss",
    "macro_precision": "macro precision",
    "macro_recall": "macro recall",
    "macro_f1": "macro F1",
    "weighted_f1": "weighted F1",
    "kappa": "kappa",
    "alpha": "alpha",
    "auc": "AUC",
    "average_precision": "AUCPR",
    "sensitivity": "sensitivity",
    "specificity": "specificity",
    "attention_ratio": "map on what was drawn, times chance",
}


@dataclass(frozen=True)
class Cell:
    """`mark` is the cell's class.

    Marks: `text`, or `long` where it may wrap; `warning`, `severe`; `holds`, `fails`, `open`: what a claim came to;
    `constant`: one class for every image; `inside`: the report's number lies in our interval; `doubtful`: the report
    contradicts this number.
    """

    text: str
    mark: str = ""


@dataclass(frozen=True)
class Table:
    """A head and rows of as many cells; the first cell of a row names it."""

    head: list[str]
    rows: list[list[Cell]]


def faces_table(params: Params, metrics: dict[str, RunMetrics], numbers: pd.DataFrame) -> Table:
    """Validation accuracy of every phase of the faces runs beside the report's and Hewitt and Gunes'."""
    head = ["run", "phase", *COMPARED, "Hewitt & Gunes", "macro F1", "AUC"]
    rows = []
    for run, phases in metrics.items():
        if params.runs[run].study != "faces":
            continue
        for phase, splits in phases.items():
            ours = splits["val"]
            report = find(numbers, source="report", run=run, phase=phase, split="val")
            paper = find(numbers, source="hewitt_gunes_2018", run=run, split="val") if phase == "base" else None
            others = [_printed(paper), number(ours["macro_f1"]), number(ours.get("auc"))]
            rows.append([Cell(run), Cell(phase, "text"), *_compared(ours, report), *others])
    return Table(head, rows)


def ablation_table(name: str, axis: str, rows: pd.DataFrame, numbers: pd.DataFrame) -> Table:
    """The accuracies along an axis beside the report's, and Reshi et al.'s where the axis is depth."""
    split = "test" if "test_accuracy_low" in rows else "val"
    papers = {"Reshi et al.": "reshi_2021"} if name == "depth" else {}
    head = [axis, "run", *COMPARED, *papers, "train", "train, augmented", "report's train"]
    table = []
    for row in rows.to_dict("records"):
        printed = REPORT_TABLES.get(name, {}).get(row["x"], NONE)
        report = find(numbers, source="report", run=row["run"], split=split, table=printed)
        others = [_printed(find(numbers, source=source, run=row["run"], split=split)) for source in papers.values()]
        train = find(numbers, source="report", run=row["run"], split="train_augmented", table=printed)
        ours = {key: row[f"{split}_{key}"] for key in ("accuracy", "accuracy_low", "accuracy_high")}
        trained = [number(row.get(f"{each}_accuracy")) for each in ("train", "train_augmented")]
        cells = [*_compared(ours | {"constant": row["constant"]}, report), *others, *trained, _printed(train)]
        table.append([Cell(str(row["x"])), Cell(row["run"], "text"), *cells])
    return Table(head, table)


def run_table(phases: RunMetrics) -> Table:
    """Every metric of a run, a row a phase and split."""
    found = {name for splits in phases.values() for its in splits.values() for name in its}
    names = {name: label for name, label in METRICS.items() if name in found}
    head = ["phase", "split", "accuracy", "95 % interval", *names.values()]
    rows = [
        [Cell(phase), Cell(split, "text"), _accuracy(its), _interval(its), *(number(its.get(name)) for name in names)]
        for phase, splits in phases.items()
        for split, its in splits.items()
    ]
    return Table(head, rows)


def batchnorm_table(params: Params, metrics: dict[str, RunMetrics]) -> Table:
    """Accuracy under each way of taking BatchNorm's statistics, held out (val of faces, test of xray); on train one."""
    head = ["run", "phase", f"train, {params.batchnorm}", *(f"held out, {mode}" for mode in MODES)]
    rows = []
    for run, phases in metrics.items():
        for phase, splits in phases.items():
            held_out = splits[HEADLINE[params.runs[run].study]]
            cells = _accuracy(splits["train"]), *(_mode(held_out, mode) for mode in MODES)
            rows.append([Cell(run), Cell(phase, "text"), *cells])
    return Table(head, rows)


def constant_answers(metrics: dict[str, RunMetrics]) -> list[str]:
    """`run, phase: splits` wherever every image of a split got the same answer, and from how many of several seeds."""
    found = {
        f"{run}, {phase}": [f"{split}{_share_of_seeds(its)}" for split, its in splits.items() if its["constant"]]
        for run, phases in metrics.items()
        for phase, splits in phases.items()
    }
    return [f"{name}: {', '.join(splits)}" for name, splits in found.items() if splits]


def _share_of_seeds(its: dict[str, Any]) -> str:
    seeds = len(its["accuracy_seeds"])
    return f" ({its['constant_seeds']} of {seeds} seeds)" if seeds > 1 else ""


def phone_table(numbers: dict[str, dict[str, dict[str, float]]], published: pd.DataFrame) -> Table:
    """What each run's nets for phones take and answer, by run and precision, beside Hewitt and Gunes'."""
    head = ["run", "precision", "MB", "Hewitt & Gunes, at most", "accuracy on val", "difference to Keras",
            "share of Keras's answers", "largest difference of a probability", "ms, median", "ms, 95 % within",
            "Hewitt & Gunes, on an iPhone 6S"]  # fmt: skip
    paper = {"source": "hewitt_gunes_2018", "split": ""}
    time = _printed(find(published, run="", metric="milliseconds_an_image", **paper), least=1)
    rows = []
    for run, precisions in numbers.items():
        storage = _printed(find(published, run=run, metric="storage_mb_at_most", **paper), least=0)
        for precision, its in precisions.items():
            taken = [Cell(f"{its['size_mb']:.2f}"), storage]
            answers = [number(its["accuracy"]), Cell(f"{its['accuracy_change']:+.3f}".replace("-", "−")),
                       number(its["agreement"]), number(its["largest_difference"])]  # fmt: skip
            times = [Cell(f"{its[name]:.2f}" if name in its else NONE) for name in ("latency_ms", "latency_p95_ms")]
            rows.append([Cell(run), Cell(precision, "text"), *taken, *answers, *times, time])
    return Table(head, rows)


def recipes_table(runs: dict[str, dict[str, Any]]) -> Table:
    """Where two recipes end, by run, as cnnstudy.commands.recipes writes it."""
    head = [
        "run",
        "recipe",
        "images seen",
        "seeds",
        "accuracy, their mean",
        "95 % interval",
        "minus the report's recipe",
        "",
    ]
    rows = []
    for run, its in runs.items():
        gains = {each["first"]: each for each in its["differences"]}
        for kind in (name for name in its if name not in ("seeds", "differences")):
            row = [Cell(run), Cell(kind, "text"), Cell(f"{its[kind]['images_seen']:,}"), Cell(f"{len(its['seeds'])}")]
            row += [number(its[kind]["accuracy"]), Cell(f"{its[kind]['low']:.3f}–{its[kind]['high']:.3f}")]
            gain = gains.get(kind)
            text = "" if gain is None else f"{gain['difference']:+.3f} ({gain['low']:+.3f} to {gain['high']:+.3f})"
            verdict = "" if gain is None else "more than chance" if gain["real"] else "could be chance"
            rows.append([*row, Cell(text.replace("-", "−")), Cell(verdict, "text")])
    return Table(head, rows)


def layer_table(layers: pd.DataFrame) -> Table:
    """Layers as the report prints them, with the sums."""
    rows = [
        [Cell(f"{row.type}"), Cell(f"{row.shape}", "text"), Cell(f"{row.parameters:,}")] for row in layers.itertuples()
    ]
    total, trainable = layers["parameters"].sum(), layers["trainable"].sum()
    sums = [("all parameters", total), ("trainable", trainable), ("not trainable", total - trainable)]
    rows += [[Cell(name), Cell("", "text"), Cell(f"{value:,}")] for name, value in sums]
    return Table(["layer", "output shape", "parameters"], rows)


def layers_as_printed(run: str, layers: pd.DataFrame, printed: pd.DataFrame) -> str:
    """Which of the report's layer tables a run's is the same as, or else which of them it ought to be."""
    columns = ["type", "shape", "parameters"]
    ours = layers[columns].astype(str).to_numpy().tolist()
    tables = {str(name): table for name, table in printed.groupby("table", sort=False)}
    same = [name for name, table in tables.items() if table[columns].astype(str).to_numpy().tolist() == ours]
    if same:
        return f"row for row as in table {' and '.join(same)} of the report"
    its = [name for name, table in tables.items() if (table["run"] == run).any()]
    return f"not as in table {' and '.join(its)} of the report" if its else "the report prints no such table"


def claims_table(claims: list[Claim]) -> Table:
    """What the report says, its figures, ours, and what ours say about it."""
    marks = {"holds": "holds", "does not hold": "fails", "cannot tell": "open"}
    rows = [
        [
            Cell(claim.where),
            Cell(claim.says, "long"),
            Cell(claim.verdict, marks[claim.verdict]),
            Cell(claim.ours, "long"),
            Cell(claim.published, "long"),
        ]
        for claim in claims
    ]
    return Table(["in the report", "it says", "here it", "our figures", "the published figures"], rows)


def real_differences(pairs: list[Difference]) -> Table:
    """Differences in accuracy with their intervals, and whether they are more than chance."""
    rows = []
    for pair in pairs:
        interval = f"{pair.low:+.3f} to {pair.high:+.3f}".replace("-", "−")
        real = Cell("yes", "holds") if pair.real else Cell("could be chance", "open")
        value = Cell(f"{pair.difference:+.3f}".replace("-", "−"))
        rows.append([Cell(f"{pair.first} − {pair.second}"), value, Cell(interval), real])
    return Table(["difference in accuracy", "", "95 % interval", "more than chance"], rows)


def baselines_table(baselines: dict[str, dict[str, float]]) -> Table:
    """Accuracy per split of what needs no net, see cnnstudy.data.baselines."""
    splits = list(next(iter(baselines.values())))
    rows = [[Cell(name), *(number(its[split]) for split in splits)] for name, its in baselines.items()]
    return Table(["", *splits], rows)


def confusions_table(pairs: pd.DataFrame) -> Table:
    """The most frequent confusions, see cnnstudy.report.results.confusions."""
    rows = [
        [Cell(row.actual), Cell(row.predicted, "text"), number(int(row.count)), number(row.share)]
        for row in pairs.itertuples(index=False)
    ]
    return Table(["class", "taken for", "answers", "share of the class"], rows)


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


def _compared(its: dict[str, Any], report: Published | None) -> list[Cell]:
    """The cells under `COMPARED`."""
    return [_accuracy(its), _interval(its), _printed(report), _difference(its, report)]


def _printed(published: Published | None, least: int = 2) -> Cell:
    """A published number with the decimals it has, but at least some."""
    if published is None:
        return Cell(NONE)
    whole, decimals = f"{published.value:.4f}".split(".")
    text = f"{whole}.{decimals.rstrip('0'):0<{least}}".rstrip(".")
    return Cell(text, "doubtful" if published.table in DOUBTFUL else "")


def _accuracy(its: dict[str, Any]) -> Cell:
    return Cell(f"{its['accuracy']:.3f}", "constant" if its["constant"] else "")


def _interval(its: dict[str, Any]) -> Cell:
    return Cell(f"{its['accuracy_low']:.3f} to {its['accuracy_high']:.3f}")


def _difference(its: dict[str, Any], published: Published | None) -> Cell:
    if published is None:
        return Cell(NONE)
    inside = its["accuracy_low"] <= published.value <= its["accuracy_high"]
    return Cell(f"{its['accuracy'] - published.value:+.3f}".replace("-", "−"), "inside" if inside else "")


def _mode(its: dict[str, Any], mode: str) -> Cell:
    return Cell(f"{its[f'accuracy_{mode}']:.3f}", "constant" if its[f"constant_{mode}"] else "")


def _records(records: list[Any]) -> Table:
    rows = [record if isinstance(record, dict) else {"": record} for record in records]
    head = list(dict.fromkeys(key for row in rows for key in row))
    return Table([_words(key) for key in head], [[_free(row.get(key, "")) for key in head] for row in rows])


def _free(value: Any) -> Cell:
    """A value of an audit; its severities stand out."""
    text = _plain(value)
    if text in ("warning", "severe"):
        return Cell(text, text)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return Cell(text, "" if is_number else "long" if len(text) > 30 else "text")


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
