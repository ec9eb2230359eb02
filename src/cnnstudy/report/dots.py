"""Dot plots of the page: accuracies from 0 to 1, one row per training, laid out by page.css to fit a phone."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from cnnstudy.evaluation.pairs import named
from cnnstudy.published.paper import Paper
from cnnstudy.published.reference import Published, find_all
from cnnstudy.published.verdicts import Findings, minus
from cnnstudy.report.tables import Cell, as_printed, gain_in_words, interval

OURS, REPORT, PAPER, MOVING, BATCH, TRAIN = "ours", "report", "paper", "moving", "batch", "train"
OWN = "own"
# The legend of the ring around a net that predicts one class for every image.
ONE_CLASS = "one class for every image"


@dataclass(frozen=True)
class Dot:
    """A value with its interval, if it has one; `is_constant` where one class was predicted for every image."""

    kind: str
    value: float
    low: float | None = None
    high: float | None = None
    is_constant: bool = False


@dataclass(frozen=True)
class DotRow:
    """A row: a name, its dots, the main number in words, and other numbers."""

    name: str
    dots: list[Dot]
    value: Cell
    others: list[Cell]


@dataclass(frozen=True)
class DotGroup:
    """Rows under a title, and the accuracy of a net without skill, or None."""

    title: str
    rows: list[DotRow]
    chance: float | None = None


@dataclass(frozen=True)
class Plot:
    """Groups of rows, and a legend of the kinds of dots."""

    groups: list[DotGroup]
    legend: dict[str, str]


def overview(its: Findings, papers: dict[str, Paper], chances: dict[str, float | None]) -> Plot:
    """Return the accuracy of every training on its primary split, beside the report's and the papers'."""
    groups = []
    for study, settings in its.params.studies.items():
        runs = [run for run in its.params.class_runs_of(study) if run in its.metrics]
        rows = [_compared(its, run, phase, papers.get(study)) for run in runs for phase in its.metrics[run]]
        if rows:
            groups.append(DotGroup(f"{settings.title}: {settings.primary_split}", rows, chances[study]))
    names = {OURS: "ours, with its 95 % interval", REPORT: "course report"}
    names |= {PAPER: ", ".join(paper.title for paper in papers.values())}
    return Plot(groups, _present(groups, names))


def statistics(its: Findings, trainings: list[tuple[str, str]]) -> Plot:
    """Return the accuracies of some trainings, (run, phase), under three ways of taking BatchNorm's statistics."""
    groups = []
    for study, settings in its.params.studies.items():
        rows = []
        for run, phase in trainings:
            if its.params.all_runs[run].study != study:
                continue
            split = its.split(run, phase, settings.primary_split)
            kinds = {BATCH: "batch", MOVING: "moving", OURS: "recalibrated"}
            dots = [Dot(kind, split[f"accuracy_{mode}"], is_constant=split[f"constant_{mode}"])
                    for kind, mode in kinds.items()]  # fmt: skip
            words = f"{split['accuracy_moving']:.3f} → {split['accuracy_recalibrated']:.3f}"
            rows.append(DotRow(named(run, phase), dots, Cell(words), []))
        if rows:
            groups.append(DotGroup(f"{settings.title}: {settings.primary_split}", rows))
    names = {MOVING: "moving averages", OURS: "re-estimated statistics", BATCH: "statistics of each batch"}
    return Plot(groups, _present(groups, names))


def ablation(its: Findings, name: str, table: pd.DataFrame, paper: Paper | None, chance: float | None) -> Plot:
    """Return the accuracies along an axis, with those on train and those with BatchNorm's moving averages."""
    settings = its.params.ablations[name]
    study = its.params.studies[settings.study]
    tables = paper.ablations.get(name) if paper else None
    rows = []
    for row in table.to_dict("records"):
        compared = _compared(its, row["run"], row["phase"], paper, tables, row["x"])
        split = its.split(row["run"], row["phase"], study.primary_split)
        train = its.split(row["run"], row["phase"], "train")["accuracy"]
        dots = [Dot(TRAIN, train), Dot(MOVING, split["accuracy_moving"], is_constant=split["constant_moving"])]
        others = [*compared.others, Cell(f"train {train:.3f}")]
        rows.append(DotRow(named(str(row["x"]), row["phase"]), [*dots, *compared.dots], compared.value, others))
    names = {OURS: f"{study.primary_split}, with its 95 % interval", MOVING: f"{study.primary_split}, moving averages",
             TRAIN: "train", REPORT: "course report", PAPER: paper.title if paper else ""}  # fmt: skip
    groups = [DotGroup(f"{study.title}: {study.primary_split}, by {settings.axis}", rows, chance)]
    return Plot(groups, _present(groups, names))


def external(its: Findings, tested: dict[str, dict[str, Any]]) -> Plot:
    """Return the accuracy of each net's last phase on external test sets and on the study's own primary split.

    `tested` maps a set to its results, see cnnstudy.external.results. `own` in these takes the primary split's place.
    """
    groups = []
    for name, found in tested.items():
        split = its.params.studies[found["study"]].primary_split
        rows = []
        for run, phases in found["runs"].items():
            phase, numbers = list(phases.items())[-1]
            own = numbers.get("own", its.split(run, phase, split)["accuracy"])
            accuracy, low, high = (numbers[key] for key in ("accuracy", "accuracy_low", "accuracy_high"))
            loss = f"loss {numbers['drop']:.3f} ({numbers['drop_low']:.3f} to {numbers['drop_high']:.3f})"
            words = Cell(f"{own:.3f} → {accuracy:.3f}")
            dots = [Dot(OWN, own), Dot(OURS, accuracy, low, high, numbers["constant"])]
            rows.append(DotRow(named(run, phase), dots, words, [Cell(minus(loss))]))
        groups.append(DotGroup(f"{its.params.studies[found['study']].title}: {name}", rows))
    return Plot(groups, _present(groups, {OWN: "own images", OURS: "images from elsewhere, with 95 % intervals"}))


def printed(its: Findings, papers: dict[str, Paper]) -> Plot:
    """Return the accuracies that the report prints, in training and held out, table by table."""
    groups = []
    for study, paper in papers.items():
        numbers = its.numbers[(its.numbers["source"] == "report") & (its.numbers["study"] == study)]
        mine = numbers[(numbers["metric"] == "accuracy") & (numbers["class"] == "")]
        rows = []
        for (table, run, phase), some in mine.groupby(["table", "run", "phase"], sort=False):
            values = dict(zip(some["split"], some["value"], strict=True))
            dots = [Dot(REPORT if split == paper.split else TRAIN, value) for split, value in values.items()]
            mark = "doubtful" if table in paper.doubtful else ""
            held_out = Cell(as_printed(values[paper.split]) if paper.split in values else "", mark)
            others = [Cell(f"{split.replace('_', ' ')} {as_printed(value)}")
                      for split, value in values.items() if split != paper.split]  # fmt: skip
            where = f"table {table}" if str(table).isdigit() else str(table)
            rows.append(DotRow(f"{where}: {named(run, phase)}", dots, held_out, others))
        if rows:
            groups.append(DotGroup(f"{its.params.studies[study].title}: {paper.split}", rows))
    names = {REPORT: "held out", TRAIN: "in training, or on the tune split"}
    return Plot(groups, _present(groups, names))


def recipes(found: list[dict[str, Any]]) -> Plot:
    """Return the final accuracies of recipes by net, from the results of `cnnstudy recipes`."""
    groups = []
    for each in found:
        rows = []
        for run, its in each["runs"].items():
            gains = {gain["first"]: gain for gain in its["differences"]}
            for kind in (name for name in its if name not in ("seeds", "differences")):
                end, gain = its[kind], gains.get(kind)
                value = Cell(f"{end['accuracy']:.3f} ({end['low']:.3f} to {end['high']:.3f})")
                words = f"{gain['difference']:+.3f} ({gain_in_words(gain)})".replace("-", "−") if gain else ""
                others = [Cell(words)] if words else [Cell(f"{len(its['seeds'])} seeds")]
                dot = Dot(OURS if gain else TRAIN, end["accuracy"], end["low"], end["high"])
                rows.append(DotRow(f"{run}, {kind}", [dot], value, others))
        groups.append(DotGroup(f"{each['title']}: {each['split']}, {each['epochs']} epochs", rows))
    base = found[0]["recipes"][0]
    return Plot(groups, _present(groups, {TRAIN: f"recipe {base}", OURS: "our recipe"}))


def _compared(
    its: Findings, run: str, phase: str, paper: Paper | None, tables: Mapping[int, str] | None = None, x: Any = None
) -> DotRow:
    """Return a training beside the published numbers; with `tables`, only the report's number in table `tables[x]`."""
    split = its.split(run, phase, its.params.study_of(run).primary_split)
    dots = [Dot(OURS, split["accuracy"], split["accuracy_low"], split["accuracy_high"], bool(split["constant"]))]
    others = []
    if paper:
        cells = {"run": run, "split": paper.split}
        report = find_all(its.numbers, source="report", phase=phase, **cells)
        if tables is not None:
            report = [each for each in report if each.table == tables.get(x)]
        theirs = find_all(its.numbers, source=paper.source, **cells) if phase == "base" else []
        dots = [*_dots(PAPER, theirs), *_dots(REPORT, report), *dots]
        others = [*_words("course report", report, paper), *_words(paper.title, theirs, paper)]
    return DotRow(named(run, phase), dots, Cell(f"{split['accuracy']:.3f} ({interval(split)})"), others)


def _dots(kind: str, found: list[Published]) -> list[Dot]:
    return [Dot(kind, each.value) for each in found]


def _words(name: str, found: list[Published], paper: Paper) -> list[Cell]:
    mark = "doubtful" if any(each.table in paper.doubtful for each in found) else ""
    return [Cell(f"{name} {' and '.join(as_printed(each.value) for each in found)}", mark)] if found else []


def _present(groups: list[DotGroup], names: dict[str, str]) -> dict[str, str]:
    """Return the legend entries for what a plot contains."""
    dots = [dot for group in groups for row in group.rows for dot in row.dots]
    found = {kind: text for kind, text in names.items() if kind in {dot.kind for dot in dots}}
    found |= {"one-class": ONE_CLASS} if any(dot.is_constant for dot in dots) else {}
    return found | ({"chance": "always the largest class"} if any(group.chance is not None for group in groups) else {})
