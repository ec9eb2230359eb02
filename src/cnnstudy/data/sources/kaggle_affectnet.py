"""Kaggle's `affectnet-training-data`: folders named after the class, and labels.csv (pth, label, relFCs)."""

from collections import defaultdict
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

from cnnstudy.config.labels import folded
from cnnstudy.config.schema import Source
from cnnstudy.data.sources import Candidate, Listing, folders, rows

ABOUT = (
    "A reduced copy of AffectNet on Kaggle: AffectNet's terms apply. Labels in its file and its folders can disagree."
)


def find(root: Path, names: Collection[str], source: Source) -> list[Candidate]:
    """Return every image in a class folder; an image with another label in labels.csv is rejected.

    Raises:
        UserError: labels.csv is missing, or lacks the column pth or label.
    """
    found = [candidate for candidate in folders.find(root, names, source) if candidate.path != "labels.csv"]
    listing = Listing(candidate.path for candidate in found)
    labels: dict[str, set[str]] = defaultdict(set)
    said: dict[str, dict[str, str]] = {}
    for row in rows(root / "labels.csv", ("pth", "label")):
        path, _ = listing.named(row["pth"])
        labels[path].add(folded(row["label"]))
        said[path] = row
    absent = labels.keys() - {candidate.path for candidate in found}
    missing = [Candidate(path, min(labels[path]), reason="no such file") for path in absent]
    checked = [replace(_checked(each, labels), row=said.get(each.path, {})) for each in found]
    return sorted(checked + missing, key=lambda candidate: candidate.path)


def _checked(candidate: Candidate, labels: dict[str, set[str]]) -> Candidate:
    found = labels.get(candidate.path, set())
    if candidate.reason:
        return candidate
    if not found:
        return replace(candidate, reason="no row of labels.csv names it")
    if found != {folded(candidate.label)}:
        both = f"{candidate.label} by its folder, {', '.join(sorted(found))} in labels.csv"
        return replace(candidate, reason=f"under several labels: {both}")
    return candidate
