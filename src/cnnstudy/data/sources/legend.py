"""legend.csv (user.id, image, emotion) beside images/, as muxspace/facial_expressions has it."""

from collections import defaultdict
from pathlib import Path

from cnnstudy.data.sources import Candidate, named_problem, rows, written
from cnnstudy.errors import UserError


def find(root: Path, names: set[str]) -> list[Candidate]:
    """Every image that legend.csv or the folder images/ names.

    user.id is who labelled the image, not who is on it, and is not a group. An image named twice counts once, unless
    its labels differ.

    Raises:
        UserError: no legend.csv, or one without the columns image and emotion, or images/ is a link out of the folder.
    """
    labels: dict[str, set[str]] = defaultdict(set)
    for row in rows(root / "legend.csv", ("image", "emotion")):
        labels[row["image"]].add(row["emotion"].strip().casefold())
    folder = root / "images"
    files = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    if files and not folder.resolve().is_relative_to(root.resolve()):
        raise UserError(f"{folder}: a link out of the folder; allowed: a folder")
    return [_candidate(root, name, labels.get(name, set())) for name in sorted(files | set(labels))]


def _candidate(root: Path, name: str, labels: set[str]) -> Candidate:
    label = min(labels) if len(labels) == 1 else ""
    if not labels:
        reason = "no row of legend.csv names it"
    elif len(labels) > 1:
        reason = f"under several labels: {', '.join(sorted(labels))}"
    elif "/" in name:
        reason = "not a file name"
    else:
        reason = named_problem(root, f"images/{name}") if name else "not a file name"
    return Candidate(f"images/{written(name)}", label, reason=reason)
