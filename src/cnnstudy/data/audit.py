"""What in the data would make an answer worthless: imbalance, copies, leaks, shortcuts, drift."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from cnnstudy.data import shortcuts
from cnnstudy.data.samples import SPLITS
from cnnstudy.data.sources.folders import HINTS

Check = Literal["balance", "conflict", "leak", "copies", "shortcut", "drift", "files"]

# The splits that a net is trained on; an image without a hint may come to be one of them.
TRAINING = ("train", "tune", "")
# A class with less than this share of the largest one's images is called rare.
RARE = 0.5
# A shortcut that closes at least this share of the gap between chance and certainty is severe.
SEVERE = 0.1


@dataclass(frozen=True)
class Finding:
    """What was found, how bad it is, how many images it concerns, and what to do."""

    check: Check
    kind: str
    severity: Literal["info", "warning", "severe"]
    count: int
    advice: str


@dataclass(frozen=True)
class View:
    """A data set with one way of splitting it: a row of `table` an image.

    Columns of `table`: those of samples.csv, with split, copy and family. `features` are those of
    cnnstudy.data.shortcuts, row for row.
    """

    table: pd.DataFrame
    features: shortcuts.Features

    def where(self, chosen: pd.Series) -> "View":
        """Of some images alone."""
        return View(self.table[chosen], {name: its[chosen.to_numpy()] for name, its in self.features.items()})


def balance(samples: pd.DataFrame, splits: pd.DataFrame, classes: tuple[str, ...]) -> pd.DataFrame:
    """Images per class (rows, in the order of `classes`) and split (columns)."""
    counts = pd.crosstab(samples["label"], splits["split"])
    present = [split for split in SPLITS if split in counts.columns]
    return counts.reindex(index=list(classes), columns=present, fill_value=0).rename_axis("class")


def audit(
    table: pd.DataFrame, images: np.ndarray, rejects: pd.DataFrame, classes: dict[str, list[str]]
) -> dict[str, Any]:
    """Counts, scores and findings, as metrics/audit/<study>.json holds them.

    `table` has the columns of samples.csv, splits.csv and families.csv; `classes` is the study's parameter. What is
    found is told twice: of the data set as it came, with the splits that it hints at, and as it is used.
    """
    spoken = {name.casefold() for own, aliases in classes.items() for name in (own, *aliases)} | set(HINTS)
    features = shortcuts.features(table, images, spoken)
    kept = table["reason"] == ""
    used = View(table, features).where(kept)
    views = {"as it came": View(table.assign(split=table["hint"]), features), "as it is used": used}
    scores = _scores(views)
    dropped = table["reason"][~kept].value_counts().sort_index()
    counts = balance(table, table, tuple(classes))
    return {
        "images": len(table),
        "rejected": len(rejects),
        "dropped": int((~kept).sum()),
        "balance": {split: {str(k): int(v) for k, v in counts[split].items()} for split in counts.columns},
        "findings": {
            name: [
                asdict(finding)
                for finding in (
                    *_imbalance(view.table, tuple(classes)),
                    *_copies(view.table),
                    *_groups(view.table),
                    *_told([scores[name]["class"], scores[name]["class in training"]], "shortcut", len(view.table)),
                    *_told([scores[name]["split"]], "drift", len(view.table)),
                )
            ]
            for name, view in views.items()
        },
        "not used": [asdict(finding) for finding in (*_rejected(rejects), *_dropped(dropped))],
        "what a model tells without the picture": {
            f"the {answer}, {name}": _row(its) for name, both in scores.items() for answer, its in both.items() if its
        },
    }


def failures(content: dict[str, Any], fail_on: Sequence[str]) -> list[str]:
    """What of an audit's severe findings, as the data is used, is among the checks `fail_on`."""
    return [
        f"{finding['check']}: {finding['kind']}, {finding['count']} images"
        for finding in content["findings"]["as it is used"]
        if finding["severity"] == "severe" and finding["check"] in fail_on
    ]


def copies_shown(table: pd.DataFrame, most: int) -> list[list[int]]:
    """Ids of the copies of some pictures, those under two classes first, then those in two splits."""
    several = table[table.duplicated("copy", keep=False)]
    by_copy = several.groupby("copy").agg({"label": "nunique", "split": "nunique", "id": list})
    order = by_copy.sort_values(["label", "split"], ascending=False, kind="stable")
    return [list(ids) for ids in order["id"].head(most)]


def save_balance(table: pd.DataFrame, path: Path) -> None:
    """Bars of images per class, a colour a split."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(2.5 + 0.8 * len(table), 3.2), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    axis = figure.subplots()
    width = 0.8 / len(table.columns)
    for i, split in enumerate(table.columns):
        places = np.arange(len(table)) + (i - (len(table.columns) - 1) / 2) * width
        axis.bar_label(axis.bar(places, table[split], width, label=split), fontsize=7)
    axis.set_xticks(np.arange(len(table)), table.index)
    axis.set_ylabel("images")
    axis.margins(y=0.12)
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(frameon=False, ncols=len(table.columns), loc="lower center", bbox_to_anchor=(0.5, 1.0))
    figure.savefig(path, metadata={"Software": None})


def _imbalance(table: pd.DataFrame, classes: tuple[str, ...]) -> list[Finding]:
    totals = table["label"].value_counts().reindex(list(classes), fill_value=0)
    rare = totals[totals < RARE * totals.max()]
    if rare.empty:
        return [Finding("balance", "classes are balanced", "info", 0, "Nothing to do.")]
    names = ", ".join(f"{name} ({count})" for name, count in rare.items())
    advice = f"Rare: {names}. Read macro F1 and kappa beside accuracy, set class_weight, or bring more images of them."
    return [Finding("balance", "rare classes", "warning", int(rare.sum()), advice)]


def _copies(table: pd.DataFrame) -> list[Finding]:
    """Copies of a picture, identical or re-saved: across classes, across splits, and within a split."""
    copies = table[table.duplicated("copy", keep=False)]
    if copies.empty:
        return [Finding("copies", "no picture is there twice", "info", 0, "Nothing to do.")]
    hinted = copies.assign(split=copies["split"].where(copies["split"] != ""))  # a source may put some into no split
    spread = hinted.groupby("copy")[["label", "split"]].transform("nunique")
    across, between = spread["label"] > 1, spread["split"] > 1
    kinds: tuple[tuple[Check, str, pd.Series, Literal["warning", "severe"], str], ...] = (
        ("conflict", "the same picture under two classes", across, "severe",
         "One of the labels is wrong: split.conflicts: drop takes all copies out."),
        ("leak", "the same picture in two splits", between, "severe",
         "A test on trained images proves nothing: split.leaks: drop takes the training copies out."),
        ("copies", "the same picture twice within a split", ~across & ~between, "warning",
         "Copies weigh more than others: keep one of each."),
    )  # fmt: skip
    return [
        Finding(check, f"{kind} ({_identical(copies[mask])} of them byte-identical)", severity, int(mask.sum()), advice)
        for check, kind, mask, severity, advice in kinds
        if mask.any()
    ]


def _identical(copies: pd.DataFrame) -> int:
    return int(copies.duplicated("sha256", keep=False).sum())


def _groups(table: pd.DataFrame) -> list[Finding]:
    grouped = table[(table["group"] != "") & (table["split"] != "")]
    split = grouped.groupby("group")["split"].transform("nunique") > 1
    if not split.any():
        return []
    advice = "The net may know the person instead of the finding: split.leaks: drop takes their training images out."
    return [Finding("leak", "a person or patient in two splits", "severe", int(split.sum()), advice)]


def _scores(views: dict[str, View]) -> dict[str, dict[str, shortcuts.Score | None]]:
    """How well the class and the split are told, and the class by what a net is trained on, which may be tied alone.

    A question that two views ask of the same images is answered once.
    """
    known: dict[tuple[str, ...], shortcuts.Score | None] = {}
    scores: dict[str, dict[str, shortcuts.Score | None]] = {}
    for name, view in views.items():
        training, split = view.where(view.table["split"].isin(TRAINING)), view.where(view.table["split"] != "")
        asked = {"class": ("label", view), "class in training": ("label", training), "split": ("split", split)}
        scores[name] = {}
        for answer, (column, its) in asked.items():
            key = (*its.table["id"].astype(str), *its.table[column])
            if key not in known:
                answers, families = its.table[column].to_numpy(), its.table["family"].to_numpy()
                known[key] = shortcuts.score(its.features, answers, families)
            scores[name][answer] = known[key]
    return scores


def _told(scores: Sequence[shortcuts.Score | None], check: Literal["shortcut", "drift"], count: int) -> list[Finding]:
    """What a model without the picture tells better than chance: the class (a shortcut) or the split (drift)."""
    if check == "shortcut" and not any(scores):
        advice = "Fewer than two classes have two images that are no copies: bring more."
        return [Finding("shortcut", "too few images to ask", "warning", count, advice)]
    told = [score for score in scores if score is not None and score.low > score.chance]
    if not told:
        return []
    score = max(told, key=_gap)
    figures = f"{score.accuracy:.3f} ({score.low:.3f} to {score.high:.3f}), by chance {score.chance:.3f}"
    if check == "drift":
        advice = "The splits were not drawn from one source: read the result as one on other data."
        return [Finding("drift", f"{score.carrier} tells the split: {figures}", "warning", count, advice)]
    advice = f"A net can answer by {score.carrier} alone: make it the same for every class, or bring another source."
    severity: Literal["warning", "severe"] = "severe" if _gap(score) > SEVERE else "warning"
    return [Finding("shortcut", f"{score.carrier} tells the class: {figures}", severity, count, advice)]


def _gap(score: shortcuts.Score) -> float:
    """The share of the way from chance to certainty that is surely gone, 1 at most."""
    return (score.low - score.chance) / (1 - score.chance)


def _row(score: shortcuts.Score) -> dict[str, float]:
    named = {"accuracy": score.accuracy, "from": score.low, "to": score.high, "by chance": score.chance}
    return named | {f"{name} alone": value for name, value in score.alone.items()}


def _rejected(rejects: pd.DataFrame) -> list[Finding]:
    if rejects.empty:
        return []
    return [Finding("files", "rejected files", "warning", len(rejects), "rejects.csv lists each with its reason.")]


def _dropped(dropped: pd.Series) -> list[Finding]:
    advice = "families.csv names each; split.leaks and split.conflicts decide."
    return [Finding("files", f"dropped: {reason}", "warning", int(count), advice) for reason, count in dropped.items()]
