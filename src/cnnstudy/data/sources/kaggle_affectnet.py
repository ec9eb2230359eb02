"""Kaggle's `affectnet-training-data`: folders named after the class, and labels.csv (pth, label, relFCs)."""

from collections import defaultdict
from dataclasses import replace
from pathlib import Path

from cnnstudy.data.sources import Candidate, folders, rows


def find(root: Path, names: set[str]) -> list[Candidate]:
    """Every image in a class folder; one whose rows in labels.csv give another label is not taken.

    Raises:
        UserError: no labels.csv, or one without the columns pth and label.
    """
    labels: dict[str, set[str]] = defaultdict(set)
    for row in rows(root / "labels.csv", ("pth", "label")):
        labels[row["pth"].strip()].add(row["label"].strip().casefold())
    found = [candidate for candidate in folders.find(root, names) if candidate.path != "labels.csv"]
    absent = labels.keys() - {candidate.path for candidate in found}
    missing = [Candidate(path, min(labels[path]), reason="no such file") for path in absent]
    return sorted([_checked(each, labels) for each in found] + missing, key=lambda candidate: candidate.path)


def _checked(candidate: Candidate, labels: dict[str, set[str]]) -> Candidate:
    found = labels.get(candidate.path, set())
    if candidate.reason:
        return candidate
    if not found:
        return replace(candidate, reason="no row of labels.csv names it")
    if found != {candidate.label.casefold()}:
        both = f"{candidate.label} by its folder, {', '.join(sorted(found))} in labels.csv"
        return replace(candidate, reason=f"under several labels: {both}")
    return candidate
