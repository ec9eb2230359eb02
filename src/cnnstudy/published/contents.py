"""Places of the course report's tables and figures on the page."""

from dataclasses import dataclass

import pandas as pd

from cnnstudy.config.schema import Params
from cnnstudy.published.paper import paper_of


@dataclass(frozen=True)
class Entry:
    """A table or figure of the course report, its subject, and the id of its counterpart on the page, or ''."""

    item: str
    shows: str
    target: str


def entries(params: Params, contents: pd.DataFrame) -> list[Entry]:
    """Return every table and figure of the studies that rebuild the course report, in its order."""
    rows = contents[contents["study"].isin([name for name, study in params.studies.items() if study.paper])]
    return [Entry(row["item"], row["shows"], _target(params, row)) for row in rows.to_dict("records")]


def figure_id(run: str, phase: str, kind: str) -> str:
    """Return the id of a run's curves, roc, confusion or report in a phase, or of its layers (phase '')."""
    return "-".join(filter(None, (run, phase, kind)))


def _target(params: Params, row: dict[str, str]) -> str:
    paper = paper_of(params.studies[row["study"]])
    if paper and row["kind"] in paper.contents:  # a part of the page that belongs to no run
        return f"{paper.contents[row['kind']]}-{row['study']}"
    if not row["run"]:
        return f"ablation-{row['kind']}" if row["kind"] in params.ablations else ""
    is_there = row["run"] in params.all_runs and (row["phase"] or "base") in params.phases(row["run"])
    return figure_id(row["run"], row["phase"], row["kind"]) if is_there else ""
