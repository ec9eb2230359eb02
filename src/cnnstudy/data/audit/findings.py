"""Findings on data that would make results worthless: imbalance, copies, leaks, shortcuts, drift."""

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from cnnstudy.config.labels import loosened
from cnnstudy.data.audit import shortcuts, values
from cnnstudy.data.audit.finding import Check, Finding
from cnnstudy.data.samples import SPLITS
from cnnstudy.data.sources import ALIASES

# The splits that a net is trained on; an image without a split in the source may get one of them.
TRAINING = ("train", "tune", "")
# A class with less than this share of the largest one's images is called rare.
RARE = 0.5
# A folder's files are suspected masks if over this share and at least this many have namesakes in a sister folder.
ALIKE, FEWEST = 0.5, 3
# An image is black and white if this share of its pixels is within this many grey levels of black or white.
BLACK_AND_WHITE, LEVELS = 0.97, 6
# Words in a class's name that mean the absence of a finding.
NEGATIVE = re.compile(r"(^|[^a-z])(normal|healthy|negative|control|none|no|non|benign|without)([^a-z]|$)")
# A shortcut that closes at least this share of the gap between chance and certainty is severe.
SEVERE = 0.1


@dataclass(frozen=True)
class AuditView:
    """A data set with one assignment of splits.

    `table` has a row for each image, with the columns of samples.csv, split, copy and family. `features` are those of
    cnnstudy.data.audit.shortcuts, row for row.
    """

    table: pd.DataFrame
    features: shortcuts.Features

    def where(self, chosen: pd.Series) -> "AuditView":
        """Return the view of the chosen images."""
        rows = chosen.to_numpy()
        return AuditView(self.table[chosen], {name: columns[rows] for name, columns in self.features.items()})


def balance(samples: pd.DataFrame, splits: pd.DataFrame, classes: tuple[str, ...]) -> pd.DataFrame:
    """Return the number of images per class (rows, in the order of `classes`) and split (columns)."""
    counts = pd.crosstab(samples["label"], splits["split"])
    present = [split for split in SPLITS if split in counts.columns]
    return counts.reindex(index=list(classes), columns=present, fill_value=0).rename_axis("class")


def audit(
    table: pd.DataFrame,
    images: np.ndarray,
    rejects: pd.DataFrame,
    classes: dict[str, list[str]],
    are_independent: bool = False,
    ranges: values.Ranges | None = None,
) -> dict[str, Any]:
    """Return counts, scores and findings, as in metrics/audit/<study>.json.

    `table` has the columns of samples.csv, splits.csv and families.csv; `classes` is the study's parameter. There are
    findings for the raw data set, with the splits of its source, and for the data set as used. `are_independent` says
    that each image without a group is known to show a different person. `ranges` are those of the study's values.
    """
    spoken = {loosened(name) for own, aliases in classes.items() for name in (own, *aliases)}
    spoken |= {name for aliases in ALIASES.values() for name in aliases}
    features = shortcuts.features(table, images, spoken)
    kept = table["reason"] == ""
    used = AuditView(table, features).where(kept)
    views = {"raw": AuditView(table.assign(split=table["source_split"]), features), "used": used}
    scores = _scores(views)
    dropped = table["reason"][~kept].value_counts().sort_index()
    counts = balance(table, table, tuple(classes))
    persons = [] if are_independent else _unknown_persons(used.table)
    general = [*persons, *_masks(table, images), *_positive(tuple(classes))]
    return {
        "images": len(table),
        "persons": {
            "known": int(table["group"].replace("", pd.NA).nunique()),
            "images_without": 0 if are_independent else int((table["group"] == "").sum()),
        },
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
                    *_shown([scores[name]["class"], scores[name]["class_in_training"]], "shortcut", len(view.table)),
                    *_shown([scores[name]["split"]], "drift", len(view.table)),
                    *values.findings(view.table, ranges or {}),
                    *(general if view is used else ()),
                )
            ]
            for name, view in views.items()
        },
        **({"values": values.facts(used.table, ranges)} if ranges else {}),
        "not_used": [asdict(finding) for finding in (*_rejected(rejects), *_dropped(dropped))],
        "metadata_probe": [
            {"data": name, "target": target, **_row(score)}
            for name, by_target in scores.items()
            for target, score in by_target.items()
            if score
        ],
    }


def failures(content: dict[str, Any], fail_on: Sequence[str]) -> list[str]:
    """Return a line for each severe finding of the checks `fail_on` in an audit's findings on the data as used."""
    return [
        f"{finding['check']}: {finding['kind']}, {finding['count']} images"
        for finding in content["findings"]["used"]
        if finding["severity"] == "severe" and finding["check"] in fail_on
    ]


def copies_shown(table: pd.DataFrame, most: int) -> list[list[int]]:
    """Return ids of the copies of at most `most` images: first images under two classes, then images in two splits."""
    several = table[table.duplicated("copy", keep=False)]
    several = several.assign(label=several["label"].where(several["label"] != ""))  # images may have no class
    by_copy = several.groupby("copy").agg({"label": "nunique", "split": "nunique", "id": list})
    order = by_copy.sort_values(["label", "split"], ascending=False, kind="stable")
    return [list(ids) for ids in order["id"].head(most)]


def save_balance(table: pd.DataFrame, path: Path) -> None:
    """Save a bar chart of images per class, with a colour for each split."""
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
    advice = f"Rare: {names}. Read macro F1 and kappa beside accuracy, set class_weight, or add images of them."
    return [Finding("balance", "rare classes", "warning", int(rare.sum()), advice)]


def _copies(table: pd.DataFrame) -> list[Finding]:
    """Return findings on copies, byte-identical or re-saved: across classes, across splits, and within a split."""
    copies = table[table.duplicated("copy", keep=False)]
    if copies.empty:
        return [Finding("copies", "no image occurs twice", "info", 0, "Nothing to do.")]
    # Images may have no split, or no class.
    assigned = copies.assign(**{name: copies[name].where(copies[name] != "") for name in ("label", "split")})
    spread = assigned.groupby("copy")[["label", "split"]].transform("nunique")
    across, between = spread["label"] > 1, spread["split"] > 1
    kinds: tuple[tuple[Check, str, pd.Series, Literal["warning", "severe"], str], ...] = (
        ("conflict", "the same image under two classes", across, "severe",
         "One of the labels is wrong: split.conflicts: drop removes all copies."),
        ("leak", "the same image in two splits", between, "severe",
         "A test on training images proves nothing: split.leaks: drop removes the training copies."),
        ("copies", "the same image twice within a split", ~across & ~between, "warning",
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
    advice = "The net may recognise the group instead of the class: split.leaks: drop removes the training images."
    return [Finding("leak", "a group (person, patient or thing) in two splits", "severe", int(split.sum()), advice)]


def _unknown_persons(table: pd.DataFrame) -> list[Finding]:
    unknown = int((table["group"] == "").sum())
    if not unknown:
        return []
    of_which = "" if unknown == len(table) else " for some images"
    advice = (
        "Images of one person or thing may be in two splits, and intervals take these images as independent. Tell "
        "groups by the source's parameter group (a pattern over the path, the folder below the class, or a column)."
    )
    kind = f"no groups (persons, patients or things) are known{of_which}"
    return [Finding("groups", kind, "warning", unknown, advice)]


def _masks(table: pd.DataFrame, images: np.ndarray) -> list[Finding]:
    """Return findings on files whose names suggest masks or copies, and on images that are only black and white."""
    found = []
    twins = _twins(table)
    if twins:
        count, pairs = sum(twins.values()), ", ".join(sorted(twins)[:3])
        advice = (
            f"Most files in {pairs} have the names of files in a sister folder: masks, or the same images again? "
            "Remove one of the folders, or tell groups apart by the source's parameter group."
        )
        found.append(Finding("masks", "files with equal names in sister folders", "warning", count, advice))
    flat = [i for i in table["id"] if _is_black_and_white(images[i])]
    if flat:
        examples = ", ".join(table.set_index("id")["path"][flat[:3]])
        advice = f"Such as {examples}: masks, drawings or blank images? Remove them."
        found.append(Finding("masks", "images of only black and white", "warning", len(flat), advice))
    return found


def _twins(table: pd.DataFrame) -> dict[str, int]:
    """Return folders most of whose files have a namesake in a sister folder, with the number of such files.

    A sister folder differs in one part of the path. The two files have the same class and split, and are not known to
    be of different persons.
    """
    sizes: Counter[str] = Counter()
    places: dict[tuple[object, ...], list[tuple[str, str]]] = defaultdict(list)
    for label, split, group, path in zip(
        table["label"], table["source_split"], table["group"], table["path"], strict=True
    ):
        *folders, name = path.split("/")
        stem = name.rpartition(".")[0] or name
        sizes["/".join(folders)] += 1
        for i in range(len(folders)):
            places[label, split, i, *folders[:i], "", *folders[i + 1 :], stem].append(("/".join(folders), group))
    alike: Counter[str] = Counter()
    for namesakes in places.values():
        if len({folder for folder, _ in namesakes}) > 1 and len({group for _, group in namesakes if group}) < 2:
            alike.update({folder for folder, _ in namesakes})
    return {folder: n for folder, n in alike.items() if n >= FEWEST and n > ALIKE * sizes[folder]}


def _is_black_and_white(image: np.ndarray) -> bool:
    """Return whether an image, uint8 [h, w, 3], has black and white pixels and hardly any others."""
    dark, bright = (image <= LEVELS).mean(), (image >= 255 - LEVELS).mean()
    return bool(dark + bright >= BLACK_AND_WHITE and min(dark, bright) > 1 - BLACK_AND_WHITE)


def _positive(classes: tuple[str, ...]) -> list[Finding]:
    """Return a finding where the positive of two classes is named after the absence of a finding."""
    if len(classes) != 2 or not NEGATIVE.search(classes[1]) or NEGATIVE.search(classes[0]):
        return []
    advice = f"Sensitivity, specificity and ROC are about {classes[1]}: list {classes[0]} second in the classes."
    return [Finding("positive", f"the positive class is {classes[1]}", "warning", 0, advice)]


def _scores(views: dict[str, AuditView]) -> dict[str, dict[str, shortcuts.ShortcutScore | None]]:
    """Return how well the features predict the class, the class in the training splits, and the split, for each view.

    The class may be tied to the features in the training splits alone. A score that two views share is computed once.
    """
    known: dict[tuple[str, ...], shortcuts.ShortcutScore | None] = {}
    scores: dict[str, dict[str, shortcuts.ShortcutScore | None]] = {}
    for name, view in views.items():
        split, classed = view.where(view.table["split"] != ""), view.where(view.table["label"] != "")
        training = classed.where(classed.table["split"].isin(TRAINING))
        asked = {"class": ("label", classed), "class_in_training": ("label", training), "split": ("split", split)}
        scores[name] = {}
        for target, (column, part) in asked.items():
            key = (*part.table["id"].astype(str), *part.table[column])
            if key not in known:
                targets, families = part.table[column].to_numpy(), part.table["family"].to_numpy()
                known[key] = shortcuts.score(part.features, targets, families)
            scores[name][target] = known[key]
    return scores


def _shown(
    scores: Sequence[shortcuts.ShortcutScore | None], check: Literal["shortcut", "drift"], count: int
) -> list[Finding]:
    """Return findings where features predict the class (shortcut) or the split (drift) better than chance."""
    if check == "shortcut" and not any(scores):
        advice = "Fewer than two classes have two images that are not copies: add more."
        return [Finding("shortcut", "too few images for a test", "warning", count, advice)]
    above = [score for score in scores if score is not None and score.low > score.chance]
    if not above:
        return []
    score = max(above, key=_gap)
    figures = f"{score.accuracy:.3f} ({score.low:.3f} to {score.high:.3f}), by chance {score.chance:.3f}"
    if check == "drift":
        advice = "The splits are not samples of one source: read the result as one on other data."
        return [Finding("drift", f"{score.carrier} predicts the split: {figures}", "warning", count, advice)]
    advice = f"A net can predict by {score.carrier} alone: make it the same for every class, or use another source."
    severity: Literal["warning", "severe"] = "severe" if _gap(score) > SEVERE else "warning"
    return [Finding("shortcut", f"{score.carrier} predicts the class: {figures}", severity, count, advice)]


def _gap(score: shortcuts.ShortcutScore) -> float:
    """Return the share of the gap between chance and certainty that the lower confidence limit closes, 1 at most."""
    return (score.low - score.chance) / (1 - score.chance)


def _row(score: shortcuts.ShortcutScore) -> dict[str, float]:
    named = {"accuracy": score.accuracy, "accuracy_low": score.low, "accuracy_high": score.high, "chance": score.chance}
    return named | {f"{name.replace(' ', '_')}_alone": value for name, value in score.alone.items()}


def _rejected(rejects: pd.DataFrame) -> list[Finding]:
    if rejects.empty:
        return []
    return [Finding("files", "rejected files", "warning", len(rejects), "rejects.csv lists the files with reasons.")]


def _dropped(dropped: pd.Series) -> list[Finding]:
    advice = "families.csv names the images; split.leaks and split.conflicts control what is dropped."
    return [Finding("files", f"dropped: {reason}", "warning", int(count), advice) for reason, count in dropped.items()]
