"""AffectNet (Mollahosseini et al. 2017), in both releases, distinguished by their folders."""

from collections import defaultdict
from collections.abc import Collection
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np

from cnnstudy.data.names import problem, splits_of
from cnnstudy.data.sources import Box, Candidate, Listing, files, named_problem, rows, written
from cnnstudy.errors import UserError

ABOUT = (
    "AffectNet (Mollahosseini, Hasani and Mahoor 2017): faces from web searches, annotated by hand. For research, "
    "on request from its authors; not to be redistributed."
)

# The expression ids of both releases.
EXPRESSIONS = ("neutral", "happy", "sad", "surprise", "fear", "disgust", "anger", "contempt",
               "none", "uncertain", "no-face")  # fmt: skip
# `find` translates the ids; other numbers are ordinary labels.
KNOWS_NUMBERS = True
LISTS, IMAGES = "Manually_Annotated_file_lists", "Manually_Annotated_Images"
COLUMNS = ("subdirectory_filepath", "face_x", "face_y", "face_width", "face_height", "facial_landmarks", "expression",
           "valence", "arousal")  # fmt: skip
# The most bytes of an annotation file; files of the release have a few hundred.
LARGEST_ANNOTATION = 1 << 16
# The folders of a split in the newer release.
PARTS = ("images", "annotations")
# The ends of the names of the newer release's annotations.
SHORT = {"valence": "val", "arousal": "aro"}


def find(root: Path, names: set[str]) -> list[Candidate]:
    """Return every image of the lists, or of train_set/ and val_set/, with its split in the release.

    Raises:
        UserError: the folder holds neither release, or a list lacks a column.
    """
    if (root / LISTS).is_dir():
        return _first_release(root)
    if parts := sorted(folder.name for folder in root.iterdir() if all((folder / part).is_dir() for part in PARTS)):
        return _newer_release(root, parts)
    raise UserError(f"{root}: neither release of AffectNet; allowed: a folder with {LISTS}/, or with train_set/")


def _first_release(root: Path) -> list[Candidate]:
    listing = Listing(path.relative_to(root / IMAGES).as_posix() for path in files(root / IMAGES))
    named: dict[str, dict[tuple[str, str], dict[str, str]]] = defaultdict(dict)
    problems: dict[str, str] = {}
    for file, split in (("training.csv", "train"), ("validation.csv", "val")):
        for row in rows(root / LISTS / file, ("subdirectory_filepath", "expression"), COLUMNS):
            name, problem = listing.named(row["subdirectory_filepath"])
            named[name][row["expression"], split] = row
            problems[name] = problem
    listed = [_listed(root, name, named[name], problems[name]) for name in sorted(named)]
    unnamed = [
        Candidate(written(f"{IMAGES}/{name}"), reason=f"no row of {LISTS} names it")
        for name in listing.names
        if name not in named
    ]
    return sorted(listed + unnamed, key=lambda candidate: candidate.path)


def _listed(root: Path, name: str, found: dict[tuple[str, str], dict[str, str]], problem: str) -> Candidate:
    path = f"{IMAGES}/{written(name)}"
    if len(found) > 1:
        pairs = ", ".join(f"{_expression(expression)} in {split}" for expression, split in sorted(found))
        return Candidate(path, reason=f"under several labels or splits: {pairs}")
    ((expression, split), row), = found.items()  # fmt: skip
    reason = problem or named_problem(root, f"{IMAGES}/{name}")
    box = _box(row)
    note = "" if box else "no usable face box, so the whole image was taken"
    return Candidate(path, _expression(expression), source_split=split, reason=reason, note=note, box=box, row=row)


def _box(row: dict[str, str]) -> Box | None:
    """Return the face's box, or None where the row has no box with an area."""
    try:
        left, top, width, height = (float(row[f"face_{name}"]) for name in ("x", "y", "width", "height"))
    except (KeyError, ValueError):
        return None
    return (left, top, left + width, top + height) if width > 0 and height > 0 else None


def _newer_release(root: Path, parts: list[str]) -> list[Candidate]:
    splits = splits_of(parts)
    if unknown := [name for name in parts if name not in splits]:
        raise UserError(f"{root}: {', '.join(unknown)} is not a split's folder; allowed: train_set, val_set, test_set")
    return [_annotated(root, path, splits[name]) for name in parts for path in files(root / name / "images")]


def _annotated(root: Path, path: Path, source_split: str) -> Candidate:
    annotation = path.parent.parent / "annotations" / f"{path.stem}_exp.npy"
    label, reason = "", problem(path.relative_to(root).parts[:-1], ())
    reason = reason or named_problem(root, path.relative_to(root).as_posix())
    if not reason and (missing := named_problem(root, annotation.relative_to(root).as_posix())):
        reason = f"annotation {annotation.name}: {missing}"
    if not reason:
        try:
            label = _expression(_annotation(annotation))
        # A damaged header makes NumPy raise almost any error, such as MemoryError for the shape.
        except Exception:
            reason = f"annotation {annotation.name}: not a single NumPy value"
    return Candidate(written(path.relative_to(root).as_posix()), label, source_split=source_split, reason=reason)


def with_values(root: Path, candidates: list[Candidate], names: Collection[str]) -> list[Candidate]:
    """Return the candidates of the newer release with the numbers in annotations/<image>_val.npy and _aro.npy.

    The first release has them in its lists.
    """
    if (root / LISTS).is_dir():
        return candidates
    return [
        candidate
        if candidate.reason
        else replace(
            candidate, row={name: _number(root, candidate.path, SHORT[name]) for name in names if name in SHORT}
        )
        for candidate in candidates
    ]


def _number(root: Path, image: str, short: str) -> str:
    """Return a number of an image as text; '' without a file, and what is wrong with the file if it holds no number."""
    path = (root / image).parent.parent / "annotations" / f"{Path(image).stem}_{short}.npy"
    if not path.exists():
        return ""
    if wrong := named_problem(root, path.relative_to(root).as_posix()):
        return f"{path.name}: {wrong}"
    try:
        return _annotation(path)
    except Exception:  # as for the expression, a damaged header makes NumPy raise almost any error
        return f"{path.name}: not a single NumPy value"


def _annotation(path: Path) -> str:
    """Return the single value of an .npy file; other formats that `numpy.load` accepts are refused."""
    with path.open("rb") as file:
        content = file.read(LARGEST_ANNOTATION)
    text = str(np.lib.format.read_array(BytesIO(content), allow_pickle=False).item())
    return text.encode("utf-8").decode("utf-8")  # NumPy's strings may hold invalid characters


def _expression(identifier: str) -> str:
    """Return the name of an expression id, written as a whole number or a decimal; any other text unchanged."""
    try:
        number = float(identifier)
    except ValueError:
        return identifier
    return EXPRESSIONS[int(number)] if number in range(len(EXPRESSIONS)) else identifier
