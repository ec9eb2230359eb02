"""What in the data would make an answer worthless: a first look at class balance and identical files."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from cnnstudy.data.samples import SPLITS

# A class with less than this share of the largest one's images is called rare.
RARE = 0.5


@dataclass(frozen=True)
class Finding:
    """What was found, how bad it is, how many images it concerns, and what to do."""

    kind: str
    severity: Literal["info", "warning", "severe"]
    count: int
    advice: str


def balance(samples: pd.DataFrame, splits: pd.DataFrame, classes: tuple[str, ...]) -> pd.DataFrame:
    """Images per class (rows, in the order of `classes`) and split (columns)."""
    counts = pd.crosstab(samples["label"], splits["split"])
    present = [split for split in SPLITS if split in counts.columns]
    return counts.reindex(index=list(classes), columns=present, fill_value=0).rename_axis("class")


def audit(
    samples: pd.DataFrame, splits: pd.DataFrame, rejects: pd.DataFrame, classes: tuple[str, ...]
) -> dict[str, Any]:
    """Counts and findings of a data set, on its final splits, as metrics/audit/<study>.json holds them."""
    table = balance(samples, splits, classes)
    found = [*_imbalance(table), *_identical(samples, splits["split"]), *_rejected(rejects)]
    return {
        "images": len(samples),
        "rejected": len(rejects),
        "balance": {split: {str(k): int(v) for k, v in table[split].items()} for split in table.columns},
        "findings": [asdict(finding) for finding in found],
    }


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


def _imbalance(table: pd.DataFrame) -> list[Finding]:
    totals = table.sum(axis=1)
    rare = totals[totals < RARE * totals.max()]
    if rare.empty:
        return [Finding("class balance", "info", 0, "Classes are balanced; nothing to do.")]
    names = ", ".join(f"{name} ({count})" for name, count in rare.items())
    advice = f"Rare classes: {names}. Read macro F1 and kappa beside accuracy, or bring more images of them."
    return [Finding("class balance", "warning", int(rare.sum()), advice)]


def _identical(samples: pd.DataFrame, split: pd.Series) -> list[Finding]:
    """Byte-identical files: across classes, across splits, and within a split."""
    files = samples[["sha256", "label"]].assign(split=split.to_numpy())
    files = files[files.duplicated("sha256", keep=False)]
    if files.empty:
        return [Finding("identical files", "info", 0, "No two files are byte-identical; nothing to do.")]
    spread = files.groupby("sha256")[["label", "split"]].transform("nunique")
    kinds = (
        (
            "identical files under two classes",
            spread["label"] > 1,
            "severe",
            "One of the labels is wrong: take all copies out.",
        ),
        (
            "identical files in two splits",
            spread["split"] > 1,
            "severe",
            "A test on trained images proves nothing: take the training copies out.",
        ),
        (
            "identical files within a split",
            (spread == 1).all(axis=1),
            "warning",
            "Copies weigh more than others: keep one of each.",
        ),
    )
    return [Finding(kind, level, int(mask.sum()), advice) for kind, mask, level, advice in kinds if mask.any()]  # type: ignore[arg-type]


def _rejected(rejects: pd.DataFrame) -> list[Finding]:
    if rejects.empty:
        return []
    return [Finding("rejected files", "warning", len(rejects), "Not used: rejects.csv lists each with its reason.")]
