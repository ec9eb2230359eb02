"""The interface of a paper's module: published numbers, claims and contradictions."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING

from cnnstudy.config.schema import Study

if TYPE_CHECKING:
    from cnnstudy.published.verdicts import Claim, Findings


@dataclass(frozen=True)
class Paper:
    """A paper, and the part of the course report that rebuilds it, if any.

    `source` is the paper's name in the tables `files` of data/reference, `classes` are the classes of its data, and
    `split` is our split that its numbers are compared with. `doubtful` lists tables of the report that the report
    itself contradicts. `metrics` maps a label for each metric that the paper prints per net to our name and the
    paper's. `ablations` gives the report's table for each position on an ablation's axis; `beside_ablations` lists the
    ablations for which the paper prints accuracies too. `contents` maps kinds of data/reference/report_contents.csv to
    parts of the page.
    """

    title: str
    source: str
    files: tuple[str, ...]
    classes: tuple[str, ...]
    split: str
    note: str
    claims: "Callable[[Findings], list[Claim]]"
    doubtful: tuple[str, ...] = ()
    metrics: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    ablations: Mapping[str, Mapping[int, str]] = field(default_factory=dict)
    beside_ablations: tuple[str, ...] = ()
    contents: Mapping[str, str] = field(default_factory=dict)


def paper_of(study: Study) -> Paper | None:
    """Return the paper that a study rebuilds, or None."""
    if study.paper is None:
        return None
    found: Paper = import_module(f"cnnstudy.published.{study.paper}").PAPER
    return found
