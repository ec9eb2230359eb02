"""AffectNet (Mollahosseini et al. 2017), in both releases, told apart by the folders that are there."""

from collections import defaultdict
from io import BytesIO
from pathlib import Path

import numpy as np

from cnnstudy.data.sources import Box, Candidate, files, named_problem, rows, written
from cnnstudy.errors import UserError

# The expression ids of both releases.
EXPRESSIONS = ("neutral", "happy", "sad", "surprise", "fear", "disgust", "anger", "contempt",
               "none", "uncertain", "no-face")  # fmt: skip
LISTS, IMAGES = "Manually_Annotated_file_lists", "Manually_Annotated_Images"
COLUMNS = ("subdirectory_filepath", "face_x", "face_y", "face_width", "face_height", "facial_landmarks", "expression",
           "valence", "arousal")  # fmt: skip
# Bytes; those of the release have a few hundred.
LARGEST_ANNOTATION = 1 << 16
NEWER = {"train_set": "train", "val_set": "val", "valid_set": "val"}


def find(root: Path, names: set[str]) -> list[Candidate]:
    """Every image of the lists, or of train_set/ and val_set/, with the split the release puts it in.

    Raises:
        UserError: neither release is there, or a list lacks a column.
    """
    if (root / LISTS).is_dir():
        return _first_release(root)
    if any((root / folder).is_dir() for folder in NEWER):
        return _newer_release(root)
    raise UserError(f"{root}: neither release of AffectNet; allowed: a folder with {LISTS}/, or with train_set/")


def _first_release(root: Path) -> list[Candidate]:
    named: dict[str, dict[tuple[str, str], dict[str, str]]] = defaultdict(dict)
    for file, hint in (("training.csv", "train"), ("validation.csv", "val")):
        for row in rows(root / LISTS / file, ("subdirectory_filepath", "expression"), COLUMNS):
            named[row["subdirectory_filepath"]][row["expression"].strip(), hint] = row
    listed = [_listed(root, name, named[name]) for name in sorted(named)]
    unnamed = [
        Candidate(written(path.relative_to(root).as_posix()), reason=f"no row of {LISTS} names it")
        for path in files(root / IMAGES)
        if path.relative_to(root / IMAGES).as_posix() not in named
    ]
    return sorted(listed + unnamed, key=lambda candidate: candidate.path)


def _listed(root: Path, name: str, found: dict[tuple[str, str], dict[str, str]]) -> Candidate:
    path = f"{IMAGES}/{written(name)}"
    if len(found) > 1:
        pairs = ", ".join(f"{_expression(expression)} in {hint}" for expression, hint in sorted(found))
        return Candidate(path, reason=f"under several labels or splits: {pairs}")
    ((expression, hint), row), = found.items()  # fmt: skip
    reason = named_problem(root, f"{IMAGES}/{name}")
    box = _box(row)
    note = "" if box else "no usable face box, so the whole image was taken"
    return Candidate(path, _expression(expression), hint=hint, reason=reason, note=note, box=box)


def _box(row: dict[str, str]) -> Box | None:
    """The face, or None where the row has no box with an area."""
    try:
        left, top, width, height = (float(row[f"face_{name}"]) for name in ("x", "y", "width", "height"))
    except (KeyError, ValueError):
        return None
    return (left, top, left + width, top + height) if width > 0 and height > 0 else None


def _newer_release(root: Path) -> list[Candidate]:
    return [
        _annotated(root, path, hint)
        for folder, hint in sorted(NEWER.items())
        for path in files(root / folder / "images")
    ]


def _annotated(root: Path, path: Path, hint: str) -> Candidate:
    annotation = path.parent.parent / "annotations" / f"{path.stem}_exp.npy"
    label, reason = "", named_problem(root, path.relative_to(root).as_posix())
    if not reason and (problem := named_problem(root, annotation.relative_to(root).as_posix())):
        reason = f"annotation {annotation.name}: {problem}"
    if not reason:
        try:
            label = _expression(_annotation(annotation))
        # A damaged header makes NumPy raise almost anything, MemoryError for its shape included.
        except Exception:
            reason = f"annotation {annotation.name}: not one value of NumPy's"
    return Candidate(written(path.relative_to(root).as_posix()), label, hint=hint, reason=reason)


def _annotation(path: Path) -> str:
    """The one value of an .npy file, which is read as such and as nothing else that `numpy.load` takes."""
    with path.open("rb") as file:
        content = file.read(LARGEST_ANNOTATION)
    return str(np.lib.format.read_array(BytesIO(content), allow_pickle=False).item())


def _expression(identifier: str) -> str:
    """The name of an expression id, written as a whole number or a decimal; anything else as it is."""
    try:
        number = float(identifier)
    except ValueError:
        return identifier
    return EXPRESSIONS[int(number)] if number in range(len(EXPRESSIONS)) else identifier
