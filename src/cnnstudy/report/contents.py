"""Where each table and figure of the report is on the page."""

from dataclasses import dataclass

import pandas as pd

from cnnstudy.config.schema import Params

# Parts of the page that belong to no run, by their kind in report_contents.csv.
SHARED = {"samples": "data-faces", "policy": "augmentation-faces", "augmented": "augmentation-faces"}


@dataclass(frozen=True)
class Entry:
    """An item of the report, what it shows, and the id of what stands for it; '' where this experiment lacks it."""

    item: str
    shows: str
    target: str


def entries(params: Params, contents: pd.DataFrame) -> list[Entry]:
    """Every table and figure of the report's studies that are part of the experiment, in the report's order."""
    rows = contents[contents["study"].isin(list(params.studies))]
    return [Entry(row["item"], row["shows"], _target(params, row)) for row in rows.to_dict("records")]


def figure_id(run: str, phase: str, kind: str) -> str:
    """The id of a run's curves, roc, confusion or report of a phase, or of its layers (no phase)."""
    return "-".join(filter(None, (run, phase, kind)))


def _target(params: Params, row: dict[str, str]) -> str:
    if row["kind"] in SHARED:
        return SHARED[row["kind"]]
    if not row["run"]:
        return f"ablation-{row['kind']}" if row["kind"] in params.ablations else ""
    is_there = row["run"] in params.runs and (row["phase"] or "base") in params.phases(row["run"])
    return figure_id(row["run"], row["phase"], row["kind"]) if is_there else ""
