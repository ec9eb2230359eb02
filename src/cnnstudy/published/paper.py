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

    `source` is the paper's name in the tables `files` of data/reference, `classes` those of its data, and `split` that
    of ours which compares with its numbers. `doubtful` are tables of the report that it contradicts itself. `metrics`
    are those that the paper prints of each net: a label, our name and its name. `ablations` says in which table the
    report prints the accuracies of an ablation, by the position on the axis, and `beside_ablations` of which ablations
    the paper prints accuracies too. `contents` maps kinds of data/reference/report_contents.csv to parts of the page.
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
