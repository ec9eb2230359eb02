"""legend.csv (user.id, image, emotion) beside images/, as muxspace/facial_expressions has it."""

import csv
from collections import defaultdict
from pathlib import Path

from cnnstudy.data.sources import Candidate, file_problem, written
from cnnstudy.errors import UserError


def find(root: Path) -> list[Candidate]:
    """Every image that legend.csv or the folder images/ names.

    user.id is who labelled the image, not who is on it, and is not a group. An image named twice counts once, unless
    its labels differ.

    Raises:
        UserError: no legend.csv, or one without the columns image and emotion, or images/ is a link out of the folder.
    """
    labels, folder = _labels(root / "legend.csv"), root / "images"
    files = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    if files and not folder.resolve().is_relative_to(root.resolve()):
        raise UserError(f"{folder}: a link out of the folder; allowed: a folder")
    return [_candidate(root, name, labels.get(name, set())) for name in sorted(files | set(labels))]


def _labels(path: Path) -> dict[str, set[str]]:
    """The labels, in lower case, of each image that the file names."""
    try:
        with path.open(encoding="utf-8-sig", newline="", errors="replace") as file:
            rows = csv.DictReader(file)
            if not {"image", "emotion"} <= set(rows.fieldnames or ()):
                raise UserError(f"{path}: columns {rows.fieldnames} found; allowed: user.id, image, emotion")
            labels: dict[str, set[str]] = defaultdict(set)
            for row in rows:
                labels[row["image"] or ""].add((row["emotion"] or "").strip().casefold())
    except OSError:
        raise UserError(f"{path}: no such file; allowed: a folder with legend.csv and images/") from None
    except csv.Error as error:
        raise UserError(f"{path}: {error}; allowed: rows of user.id, image, emotion") from None
    return labels


def _candidate(root: Path, name: str, labels: set[str]) -> Candidate:
    path = root / "images" / name
    label = min(labels) if len(labels) == 1 else ""
    reason = ""
    if not labels:
        reason = "no row of legend.csv names it"
    elif len(labels) > 1:
        reason = f"under several labels: {', '.join(sorted(labels))}"
    elif name != Path(name).name or name in ("", ".", ".."):
        reason = "not a file name"
    else:
        reason = file_problem(root, path)
    return Candidate(f"images/{written(name)}", label, reason=reason)
