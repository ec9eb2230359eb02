"""Tables of the page: text in cells, some of them marked."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pandas as pd

from cnnstudy.config.schema import Params
from cnnstudy.data.samples import HOLDOUT
from cnnstudy.evaluation import results
from cnnstudy.evaluation.intervals import Difference, gap_interval
from cnnstudy.evaluation.pairs import named
from cnnstudy.evaluation.results import RunMetrics
from cnnstudy.published.paper import Paper, paper_of
from cnnstudy.published.reference import Published, find
from cnnstudy.published.verdicts import Claim, Findings, significance

NONE = "–"
VERDICTS = {"holds": "holds", "does not hold": "fails", "cannot tell": "open"}
MODES = ("batch", "moving", "recalibrated")
# Headings that differ from the metrics' names; and metrics that are shown elsewhere, or not at all.
HEADINGS = {
    "n": "images",
    "auc": "AUC",
    "average_precision": "AUCPR",
    "attention_ratio": "map on the evidence, times chance",
}
APART = {"accuracy", "attention_share", "attention_area", "constant", "constant_seeds"}
# The beginning of metrics that have several forms, of which a table by split shows none.
DETAILS = (
    *("accuracy_", "constant_", "temperature", "confidence_", "brier_", "calibration_error_", "loss_scaled"),
    *("operating_", "subgroup_", "tuning_", "is_tuning_"),
)
# The most columns that fit the width of the page's text.
MOST = 5


@dataclass(frozen=True)
class Cell:
    """`mark` is the cell's CSS class, `note` a text below its own.

    Marks: `text`, or `long` where it may wrap; `warning`, `severe`; `holds`, `fails`, `open`: a claim's verdict;
    `better`, `worse`: a significant gain or loss, or accuracy from a shortcut; `constant`: one class for every image;
    `beside`: the net looks away from the evidence; `inside`: the report's number lies in our interval; `doubtful`: the
    report contradicts this number.
    """

    text: str
    mark: str = ""
    note: str = ""


@dataclass(frozen=True)
class Table:
    """A table of at most `MOST` columns; the first cell of each row is its name."""

    head: list[str]
    rows: list[list[Cell]]
    caption: str = ""

    def __post_init__(self) -> None:
        """Check the number of columns."""
        assert len(self.head) <= MOST, self.head


def study_table(params: Params, study: str, metrics: dict[str, RunMetrics]) -> Table:
    """Return the results of every phase of a study's runs on the primary split."""
    split = params.studies[study].primary_split
    rows = [
        [
            Cell(named(run, phase)), _accuracy(splits[split]), Cell(interval(splits[split])),
            *(number(splits[split].get(name)) for name in ("macro_f1", "auc")),
        ]
        for run in params.class_runs_of(study)
        for phase, splits in metrics[run].items()
    ]  # fmt: skip
    title = params.studies[study].title
    return Table(["net", "accuracy", "95 % interval", "macro F1", "AUC"], rows, f"{title}: every net on {split}")


def report_table(its: Findings, paper: Paper, runs: list[str]) -> Table | None:
    """Return the accuracy of every phase beside the report's and the paper's; None if the report's are by ablation."""
    if paper.ablations:  # the report then has several accuracies per run
        return None
    in_report, rows = its.has_report, []
    for run in runs:
        for phase, splits in its.metrics[run].items():
            cells = {"run": run, "phase": phase, "split": paper.split}
            ours, report = splits[paper.split], find(its.numbers, source="report", **cells)
            theirs = find(its.numbers, source=paper.source, run=run, split=paper.split) if phase == "base" else None
            compared = [_printed(report, paper), _difference(ours, report)] if in_report else []
            rows.append([Cell(named(run, phase)), _accuracy(ours, interval(ours)), *compared, _printed(theirs, paper)])
    caption = f"Accuracy on {paper.split}, beside {'the course report and ' if in_report else ''}{paper.title}"
    head = ["net", "accuracy", *(["report", "difference"] if in_report else []), paper.title]
    return Table(head, rows, caption) if rows else None


def ablation_table(params: Params, name: str, rows: pd.DataFrame, numbers: pd.DataFrame) -> Table:
    """Return the accuracies along an axis, beside those that the report and the paper print, if any."""
    ablation = params.ablations[name]
    study = params.studies[ablation.study]
    split, paper = study.primary_split, paper_of(study)
    tables = paper.ablations.get(name, {}) if paper else {}
    sources = {paper.title: paper.source} if paper and name in paper.beside_ablations else {}
    head = [ablation.axis, "accuracy", *(["report"] if tables else []), *sources, "train"]
    table = []
    for row in rows.to_dict("records"):
        printed = tables.get(row["x"], NONE)
        report = find(numbers, source="report", run=row["run"], split=split, table=printed)
        others = [
            _printed(find(numbers, source=source, run=row["run"], split=split), paper) for source in sources.values()
        ]
        train = find(numbers, source="report", run=row["run"], split="train_augmented", table=printed)
        ours = {key: row[f"{split}_{key}"] for key in ("accuracy", "accuracy_low", "accuracy_high")}
        ours["constant"] = row["constant"]
        gap = _difference(ours, report)
        beside = _printed(report, paper)
        compared = [Cell(beside.text, beside.mark, f"{gap.text} ours" if report else "")] if tables else []
        augmented = number(row.get("train_augmented_accuracy")).text
        notes = [f"augmented {augmented}"] if augmented != NONE else []
        notes += [f"report {_printed(train, paper).text}"] if train else []
        trained = Cell(number(row.get("train_accuracy")).text, note=", ".join(notes))
        first = Cell(str(row["x"]), note=named(row["run"], row["phase"]))
        table.append([first, _accuracy(ours, interval(ours)), *compared, *others, trained])
    return Table(head, table, f"Accuracy on {split} by {ablation.axis}")


def phase_tables(phase: str, splits: dict[str, dict[str, Any]]) -> list[Table]:
    """Return every metric of a phase, with one column per split."""
    found = dict.fromkeys(name for its in splits.values() for name in its)
    shown = [name for name in found if name not in APART and not name.startswith(DETAILS)]
    tables = []
    for start in range(0, len(splits), MOST - 1):
        some = list(splits)[start : start + MOST - 1]
        rows = [[Cell("accuracy"), *(_accuracy(splits[split], interval(splits[split])) for split in some)]]
        for name in shown:
            heading = HEADINGS.get(name, name.replace("_", " ").replace("f1", "F1"))
            rows.append([Cell(heading), *(number(splits[split].get(name)) for split in some)])
        tables.append(Table([phase, *some], rows))
    return tables


def calibration_table(its: Findings, runs: list[str]) -> Table:
    """Return the calibration of the last phase of some runs on the primary split."""
    rows = []
    for run in runs:
        phase = list(its.metrics[run])[-1]
        numbers = its.split(run, phase, its.params.study_of(run).primary_split)
        is_fitted, after = "temperature" in numbers, Cell(NONE)
        if is_fitted:
            after = Cell(f"{numbers['calibration_error_scaled']:.3f}", note=f"Brier {numbers['brier_scaled']:.3f}")
        brier = f"Brier {numbers['brier']:.3f} ({numbers['brier_low']:.3f} to {numbers['brier_high']:.3f})"
        rows.append([
            Cell(named(run, phase)),
            Cell(f"{numbers['temperature']:.2f}" if is_fitted else NONE),
            Cell(f"{numbers['calibration_error']:.3f}", note=brier),
            after,
            Cell(f"{numbers['calibration_error_chance']:.3f}"),
        ])  # fmt: skip
    head = ["net", "temperature", "calibration error", "after scaling", "by chance"]
    return Table(head, rows, "Calibration on the primary split, before and after temperature scaling")


def operating_table(its: Findings, study: str) -> Table:
    """Return the operating points of a study's nets in their last phase, on the primary split."""
    split, settings = its.params.studies[study].primary_split, its.params.studies[study].operating_point
    assert settings is not None
    rows = []
    for run in its.params.class_runs_of(study):
        phases = its.metrics.get(run, {})
        numbers = its.split(run, list(phases)[-1], split) if phases else {}
        if "operating_ppv" in numbers:
            names = ("sensitivity", "specificity", "ppv", "npv")
            cells = [
                Cell(f"{numbers[key]:.3f}", note=f"{numbers[f'{key}_low']:.3f} to {numbers[f'{key}_high']:.3f}")
                for key in (f"operating_{name}" for name in names)
            ]
            rows.append([Cell(run, note=f"from {numbers['operating_threshold']:.3f}"), *cells])
    head = ["net", "sensitivity", "specificity", f"PPV at {settings.prevalence:g}", f"NPV at {settings.prevalence:g}"]
    return Table(head, rows, f"Operating points on {split}, with 95 % intervals")


def tested_tables(its: Findings, study: str, tested: dict[str, dict[str, Any]]) -> list[Table]:
    """Return tables of the accuracy of each net of a study on its own images and on each external test set.

    `tested` maps the sets to their results, see cnnstudy.external.results. A table has at most `MOST` - 2 sets.
    """
    split, sets, tables = its.params.studies[study].primary_split, list(tested), []
    for start in range(0, len(sets), MOST - 2):
        some = sets[start : start + MOST - 2]
        rows = []
        for run in its.params.class_runs_of(study):
            if run not in its.metrics:
                continue
            phase = list(its.metrics[run])[-1]
            found = [tested[name]["runs"].get(run, {}).get(phase) for name in some]
            own = its.split(run, phase, split)
            rows.append([Cell(named(run, phase)), *(_accuracy(each, interval(each)) if each else Cell(NONE)
                                                    for each in (own, *found))])  # fmt: skip
        caption = f"{its.params.studies[study].title}: accuracy by where the images come from"
        tables.append(Table(["trained here, tested on", f"own {split}", *some], rows, caption))
    return tables


def subgroup_table(its: Findings) -> Table:
    """Return the worst subgroup of each net in its last phase, on the primary split, significant and large gaps first.

    There are no rows if no subgroup was compared.
    """
    rows: list[tuple[tuple[bool, float], list[Cell]]] = []
    for run, phases in its.metrics.items():
        phase = list(phases)[-1]
        found = results.read_subgroups(run, phase, its.params.study_of(run).primary_split)
        found = found[found["gap"].notna()]
        if found.empty:
            continue
        # A larger gap of few images may not be significant; a significant one comes first.
        is_worse = found["is_significant"].isin([True, "True"]) & (found["gap"] > 0)
        worst = found.loc[(found[is_worse] if is_worse.any() else found)["gap"].idxmax()]
        within = f"{float(worst['accuracy_low']):.3f} to {float(worst['accuracy_high']):.3f}"
        gap, low, high = (f"{float(worst[key]):+.3f}".replace("-", "−") for key in ("gap", "gap_low", "gap_high"))
        is_significant = bool(is_worse.any())
        cells = [
            Cell(named(run, phase)),
            Cell(f"{worst['column']}: {worst['value']}", note=f"{worst['images']} images"),
            Cell(f"{float(worst['accuracy']):.3f}", note=within),
            Cell(gap, note=f"{low} to {high}"),
            Cell("yes" if is_significant else "no", mark="warning" if is_significant else ""),
        ]
        rows.append(((not is_significant, -float(worst["gap"])), cells))
    rows.sort(key=lambda row: row[0])
    head = ["net", "worst subgroup", "accuracy there", "others minus it", "significant"]
    caption = "The subgroup in which a net loses most accuracy, with 95 % intervals"
    return Table(head, [cells for _, cells in rows], caption)


def batchnorm_table(params: Params, metrics: dict[str, RunMetrics]) -> Table:
    """Return the accuracy on the primary split under each way of taking BatchNorm's statistics, and on train."""
    rows = []
    for run, phases in metrics.items():
        for phase, splits in phases.items():
            held_out = splits[params.study_of(run).primary_split]
            modes = [_mode(held_out, mode) for mode in MODES]
            rows.append([Cell(named(run, phase)), *modes, _accuracy(splits["train"])])
    head = ["net", *MODES, f"train, {params.batchnorm}"]
    return Table(head, rows, "Accuracy on the primary split under three ways of taking BatchNorm's statistics")


def constant_answers(metrics: dict[str, RunMetrics]) -> list[str]:
    """Return `run, phase: splits` for splits with one prediction for every image, with the number of such seeds."""
    found = {
        f"{run}, {phase}": [f"{split}{_share_of_seeds(its)}" for split, its in splits.items() if its["constant"]]
        for run, phases in metrics.items()
        for phase, splits in phases.items()
    }
    return [f"{name}: {', '.join(splits)}" for name, splits in found.items() if splits]


def _share_of_seeds(its: dict[str, Any]) -> str:
    seeds = len(its["accuracy_seeds"])
    return f" ({its['constant_seeds']} of {seeds} seeds)" if seeds > 1 else ""


def export_table(
    papers: Iterable[Paper], numbers: dict[str, dict[str, dict[str, float]]], published: pd.DataFrame
) -> Table:
    """Return size, accuracy and time of each run's LiteRT files, one column per precision, beside the papers'."""
    rows, precisions = [], list(next(iter(numbers.values()), {}))
    for run, its in numbers.items():
        theirs = [words for paper in papers if (words := _on_a_phone(paper, run, published))]
        row = [Cell(run), *(_file(its[precision]) for precision in precisions)]
        rows.append([*row, Cell("; ".join(theirs) or NONE, "long")])
    has_published = any(row[-1].text != NONE for row in rows)
    end = None if has_published else -1
    return Table(["net", *precisions, "published"][:end], [row[:end] for row in rows], "Nets as LiteRT files")


def _file(its: dict[str, float]) -> Cell:
    """Return the size of a LiteRT file, with its accuracy and time below."""
    time = f", {its['latency_ms']:.2f}\u00a0ms" if "latency_ms" in its else f", {NONE}\u00a0ms"
    return Cell(f"{its['size_mb']:.2f} MB", note=f"accuracy {its['accuracy']:.3f}{time}")


def _on_a_phone(paper: Paper, run: str, published: pd.DataFrame) -> str:
    """Return the size and time on a phone that a paper states for a net; '' if it states none."""
    cells = {"source": paper.source, "split": ""}
    size = find(published, run=run, metric="storage_mb_at_most", **cells)
    time = find(published, run="", metric="milliseconds_an_image", **cells)
    parts = [f"at most {as_printed(size.value, 0)} MB"] if size else []
    parts += [f"{as_printed(time.value, 1)} ms on a phone"] if time else []
    return f"{paper.title}: {', '.join(parts)}" if parts else ""


def agreement_table(numbers: dict[str, dict[str, dict[str, float]]]) -> Table:
    """Return how the LiteRT files' predictions differ from Keras's, and the 95th percentile of the time per image."""
    rows = [
        [
            Cell(f"{run}, {precision}"), Cell(f"{its['accuracy_change']:+.3f}".replace("-", "−")),
            number(its["agreement"]), number(its["largest_difference"]),
            Cell(f"{its['latency_p95_ms']:.2f}" if "latency_p95_ms" in its else NONE),
        ]
        for run, precisions in numbers.items()
        for precision, its in precisions.items()
    ]  # fmt: skip
    head = ["net", "accuracy minus Keras’s", "same class", "largest difference in probability", "ms, 95 % within"]
    return Table(head, rows)


def recipes_table(runs: dict[str, dict[str, Any]], caption: str = "") -> Table:
    """Return the final accuracies of the recipes by run, from the file of cnnstudy.commands.recipes."""
    head = ["net", "recipe", "images seen", "accuracy", "gain"]
    rows = []
    for run, its in runs.items():
        gains = {each["first"]: each for each in its["differences"]}
        for kind in (name for name in its if name not in ("seeds", "differences")):
            bounds = f"{its[kind]['low']:.3f} to {its[kind]['high']:.3f}"
            accuracy = Cell(number(its[kind]["accuracy"]).text, note=bounds)
            seen = number(int(its[kind]["images_seen"]))
            row = [Cell(run, note=f"{len(its['seeds'])} seeds"), Cell(kind, "text"), seen, accuracy]
            gain = gains.get(kind)
            text = "" if gain is None else f"{gain['difference']:+.3f}".replace("-", "−")
            rows.append([*row, Cell(text, note="" if gain is None else gain_in_words(gain))])
    return Table(head, rows, caption)


def splits_table(runs: dict[str, dict[str, Any]], caption: str) -> Table:
    """Return the accuracy of nets over other splits, from the file of `cnnstudy splits`."""
    rows = [
        [
            Cell(run), Cell(number(its["accuracy"]).text), Cell(interval(its)),
            Cell(f"{min(its['accuracies']):.3f} to {max(its['accuracies']):.3f}"),
        ]
        for run, its in runs.items()
    ]  # fmt: skip
    return Table(["net", "mean accuracy", "95 % interval, corrected", "lowest and highest"], rows, caption)


def gain_in_words(gain: dict[str, Any]) -> str:
    """Return the interval of a gain, and whether it is significant."""
    bounds = f"{gain['low']:+.3f} to {gain['high']:+.3f}".replace("-", "−")
    return f"{bounds}, {significance(gain['significant'], gain['low'], gain['high'])}"


def attention_table(runs: dict[str, float]) -> Table:
    """Return the share of each net's maps on the evidence, relative to chance."""
    rows = [[Cell(run), Cell(f"{ratio:.2f}")] for run, ratio in runs.items()]
    return Table(["net", "map on the evidence, times chance"], rows)


def classes_table(attention: pd.DataFrame) -> Table:
    """Return the share of a net's maps on the evidence relative to chance, by class, with intervals."""
    rows = [
        [Cell(str(row.label)), number(int(row.images)), Cell(f"{row.ratio:.2f}", "" if row.high >= 1 else "beside"),
         Cell(f"{row.low:.2f} to {row.high:.2f}")]
        for row in attention.rename(columns={"class": "label"}).itertuples(index=False)
    ]  # fmt: skip
    return Table(["class", "images", "times chance", "95 % interval"], rows)


def layer_table(layers: pd.DataFrame) -> Table:
    """Return a run's layers in the course report's form, with sums."""
    rows = [
        [Cell(f"{row.type}"), Cell(f"{row.shape}", "text"), Cell(f"{row.parameters:,}")] for row in layers.itertuples()
    ]
    total, trainable = layers["parameters"].sum(), layers["trainable"].sum()
    sums = [("all parameters", total), ("trainable", trainable), ("not trainable", total - trainable)]
    rows += [[Cell(name), Cell("", "text"), Cell(f"{value:,}")] for name, value in sums]
    return Table(["layer", "output shape", "parameters"], rows)


def layers_as_printed(run: str, layers: pd.DataFrame, printed: pd.DataFrame) -> str:
    """Return which of the course report's layer tables equals a run's, or else which one should."""
    columns = ["type", "shape", "parameters"]
    ours = layers[columns].astype(str).to_numpy().tolist()
    tables = {str(name): table for name, table in printed.groupby("table", sort=False)}
    same = [name for name, table in tables.items() if table[columns].astype(str).to_numpy().tolist() == ours]
    if same:
        return f"row for row as in table {' and '.join(same)} of the course report"
    its = [name for name, table in tables.items() if (table["run"] == run).any()]
    no_such = "the course report prints no such table"
    return f"not as in table {' and '.join(its)} of the course report" if its else no_such


def claims_table(claims: list[Claim]) -> Table:
    """Return the table of claims: the claim, the verdict, our numbers and the published ones."""
    rows = [
        [
            Cell(claim.says, "long", claim.where),
            Cell(claim.verdict, VERDICTS[claim.verdict]),
            Cell(claim.ours, "long"),
            Cell(claim.published, "long"),
        ]
        for claim in claims
    ]
    return Table(["claim", "verdict", "our numbers", "published numbers"], rows)


def tuning_table(its: Findings, runs: list[str], splits: list[str]) -> Table:
    """Return the accuracy of runs before and after tuning on some splits, with the gain and its interval."""
    rows = []
    for run in runs:
        base, tuned = its.metrics[run]["base"], its.metrics[run]["tuned"]
        cells = [
            Cell(
                f"{base[split]['accuracy']:.3f} → {tuned[split]['accuracy']:.3f}",
                "better" if _is_gain(tuned[split], 1) else "worse" if _is_gain(tuned[split], -1) else "",
                f"{_signed(tuned[split]['tuning_gain'])} ({_span(tuned[split], 'tuning_gain')})",
            )
            for split in splits
        ]
        rows.append([Cell(run), *cells])
    return Table(["net", *splits], rows, "Accuracy before and after tuning; below, the gain with its 95 % interval")


def loss_on_tune_table(its: Findings, study: str, runs: list[str]) -> Table:
    """Return the accuracy before tuning on the split tune, and its loss against val and the primary split."""
    against = list(dict.fromkeys(["val", its.params.studies[study].primary_split]))
    rows = []
    for run in runs:
        splits = its.metrics[run]["base"]
        losses = []
        for split in against:
            low, high = gap_interval(splits[split], splits["tune"])
            loss = splits[split]["accuracy"] - splits["tune"]["accuracy"]
            losses.append(Cell(f"{loss:.3f}".replace("-", "−"), note=f"{low:.3f} to {high:.3f}".replace("-", "−")))
        rows.append([Cell(run), number(splits["tune"]["accuracy"]), *losses])
    title = f"{its.params.studies[study].title}: accuracy on tune before tuning"
    return Table(["net", "on tune", *(f"loss against {split}" for split in against)], rows, title)


def _is_gain(metrics: dict[str, Any], sign: int) -> bool:
    """Return whether tuning changed the accuracy significantly, upwards (`sign` 1) or downwards (-1)."""
    return bool(metrics["is_tuning_gain_significant"]) and metrics["tuning_gain"] * sign > 0


def _signed(value: float) -> str:
    return f"{value:+.3f}".replace("-", "−")


def _span(metrics: dict[str, Any], name: str) -> str:
    return f"{_signed(metrics[f'{name}_low'])} to {_signed(metrics[f'{name}_high'])}"


def occlusion_tables(found: dict[str, Any], whole: dict[str, float], title: str) -> list[Table]:
    """Return the accuracy of each net by test, see cnnstudy.occlusion; `whole` is that on whole images, by net."""
    names = list(next(iter(found["runs"].values()))["tests"])
    result = []
    for start in range(0, len(names), MOST - 1):
        some = names[start : start + MOST - 1]
        rows = [
            [
                Cell(named(run, its["phase"]), note=f"whole images {whole[run]:.3f}"),
                *(_occluded(its["tests"][name], found["split"]) for name in some),
            ]
            for run, its in found["runs"].items()
        ]
        head = ["net", *(name.replace("_", " ") for name in some)]
        chance = f"by chance {found['chance'][found['split']]:.3f}"
        result.append(Table(head, rows, f"{title}: accuracy on {found['split']}; {chance}"))
    return result


def _occluded(test: dict[str, Any], split: str) -> Cell:
    """Return a cell with the accuracy on a split, marked if it is above chance on any; below, where else it is."""
    above, its = test.get("above_chance", []), test["splits"]
    elsewhere = [f"on {name} {its[name]['accuracy']:.3f} ({interval(its[name])})" for name in above if name != split]
    return Cell(
        f"{its[split]['accuracy']:.3f}", "worse" if above else "", "; ".join([interval(its[split]), *elsewhere])
    )


def differences_table(pairs: list[Difference], metric: str = "accuracy") -> Table:
    """Return differences in a metric with their intervals, and whether they are significant."""
    rows = []
    for pair in pairs:
        bounds = f"{pair.low:+.3f} to {pair.high:+.3f}".replace("-", "−")
        excludes = pair.low > 0 or pair.high < 0
        why = f"not after correction for {len(pairs)} pairs" if excludes else ""
        verdict = Cell("yes", "holds") if pair.significant else Cell("no", "open", why)
        value = Cell(f"{pair.difference:+.3f}".replace("-", "−"))
        rows.append([Cell(f"{pair.first} − {pair.second}"), value, Cell(bounds), verdict])
    return Table(["pair", f"difference in {metric}", "95 % interval", "significant"], rows)


def baselines_table(baselines: dict[str, dict[str, float]]) -> Table:
    """Return the accuracy of the baselines by split (see cnnstudy.data.audit.baselines)."""
    splits = [split for split in next(iter(baselines.values())) if split != HOLDOUT]
    rows = [[Cell(name), *(number(its[split]) for split in splits)] for name, its in baselines.items()]
    return Table(["", *splits], rows)


def confusions_table(pairs: pd.DataFrame) -> Table:
    """Return the most frequent confusions (see cnnstudy.evaluation.results.confusions)."""
    rows = [
        [Cell(row.actual), Cell(row.predicted, "text"), number(int(row.count)), number(row.share)]
        for row in pairs.itertuples(index=False)
    ]
    return Table(["class", "predicted as", "predictions", "share of the class"], rows)


def findings_table(found: list[dict[str, Any]]) -> Table | None:
    """Return an audit's findings, with advice on each; None if there are none."""
    rows = [
        [Cell(each["kind"]), Cell(each["severity"], each["severity"]), number(int(each["count"])),
         Cell(each["advice"], "long")]
        for each in found
    ]  # fmt: skip
    return Table(["finding", "severity", "images", "what to do"], rows) if rows else None


def audit_tables(content: dict[str, Any], title: str = "") -> list[tuple[str, Table]]:
    """Return an audit's findings as tables with titles, from nested mappings and lists in their order."""
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
    """Return a cell with three decimals for a share or a loss, and an integer for a count."""
    if value is None or pd.isna(value):
        return Cell(NONE)
    return Cell(f"{value:,}" if isinstance(value, int) else f"{value:.3f}")


def interval(its: dict[str, Any]) -> str:
    """Return the interval of an accuracy in words."""
    return f"{its['accuracy_low']:.3f} to {its['accuracy_high']:.3f}"


def _printed(published: Published | None, paper: Paper | None, least: int = 2) -> Cell:
    """Return a cell with a published number, to its own decimals but at least `least`."""
    if published is None:
        return Cell(NONE)
    text = as_printed(published.value, least)
    return Cell(text, "doubtful" if paper and published.table in paper.doubtful else "")


def as_printed(value: float, least: int = 2) -> str:
    """Return a published number to its own decimals, but at least `least`."""
    whole, decimals = f"{value:.4f}".split(".")
    return f"{whole}.{decimals.rstrip('0'):0<{least}}".rstrip(".")


def _accuracy(its: dict[str, Any], note: str = "") -> Cell:
    return Cell(f"{its['accuracy']:.3f}", "constant" if its["constant"] else "", note)


def _difference(its: dict[str, Any], published: Published | None) -> Cell:
    if published is None:
        return Cell(NONE)
    inside = its["accuracy_low"] <= published.value <= its["accuracy_high"]
    return Cell(f"{its['accuracy'] - published.value:+.3f}".replace("-", "−"), "inside" if inside else "")


def _mode(its: dict[str, Any], mode: str) -> Cell:
    return Cell(f"{its[f'accuracy_{mode}']:.3f}", "constant" if its[f"constant_{mode}"] else "")


def _records(records: list[Any]) -> Table:
    rows = [record if isinstance(record, dict) else {"": record} for record in records]
    keys = list(dict.fromkeys(key for row in rows for key in row))
    if len(keys) <= MOST:
        return Table([_words(key) for key in keys], [[_free(row.get(key, "")) for key in keys] for row in rows])
    kept, others = keys[: MOST - 1], keys[MOST - 1 :]
    more = [{key: row[key] for key in others if key in row} for row in rows]
    cells = [
        [*(_free(row.get(key, "")) for key in kept), Cell(_plain(its), "long")]
        for row, its in zip(rows, more, strict=True)
    ]
    return Table([*(_words(key) for key in kept), "more"], cells)


def _free(value: Any) -> Cell:
    """Return a cell for a value of an audit, with severities marked."""
    text = _plain(value)
    if text in ("warning", "severe"):
        return Cell(text, text)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return Cell(text, "" if is_number else "long" if len(text) > 30 else "text")


def _words(key: str) -> str:
    return key.replace("_", " ")


def _plain(value: Any) -> str:
    """Return a value in words; `none` for an empty one."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, dict):
        return ", ".join(f"{_words(key)} {_plain(each)}" for key, each in value.items()) or "none"
    if isinstance(value, list):
        return ", ".join(map(_plain, value)) or "none"
    return f"{value:,}" if isinstance(value, int) else str(value) if value is not None else "none"
