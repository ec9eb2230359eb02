"""Kaggle's `affectnet-training-data`: folders named after the class, and labels.csv (pth, label, relFCs)."""

from dataclasses import replace
from pathlib import Path

from cnnstudy.data.sources import Candidate, folders, rows


def find(root: Path, names: set[str]) -> list[Candidate]:
    """Every image in a class folder; one whose row in labels.csv gives another label is not taken.

    Raises:
        UserError: no labels.csv, or one without the columns pth and label.
    """
    labels = {row["pth"].strip(): row["label"].strip() for row in rows(root / "labels.csv", ("pth", "label"))}
    found = [candidate for candidate in folders.find(root, names) if candidate.path != "labels.csv"]
    absent = labels.keys() - {candidate.path for candidate in found}
    missing = [Candidate(path, labels[path], reason="no such file") for path in absent]
    return sorted([_checked(each, labels) for each in found] + missing, key=lambda candidate: candidate.path)


def _checked(candidate: Candidate, labels: dict[str, str]) -> Candidate:
    label = labels.get(candidate.path)
    if candidate.reason:
        return candidate
    if label is None:
        return replace(candidate, reason="no row of labels.csv names it")
    if label.casefold() != candidate.label.casefold():
        both = f"{candidate.label} by its folder, {label} in labels.csv"
        return replace(candidate, reason=f"under several labels: {both}")
    return candidate
