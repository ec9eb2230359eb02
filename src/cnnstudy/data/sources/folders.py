"""Images in folders named after their class, with or without folders named after the split above them."""

from pathlib import Path

from cnnstudy.data.sources import Candidate, file_problem, files, written
from cnnstudy.errors import UserError

HINTS = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val",
         "tune": "tune", "test": "test"}  # fmt: skip


def find(root: Path, names: set[str]) -> list[Candidate]:
    """Every file below `root`: `<split>/<class>/...` in any case, or `<class>/...`.

    `names` are the class names the parameters know, in lower case.

    Raises:
        UserError: classes are numbers, which two orders of the classes read differently, and no parameter names them.
    """
    candidates = [_candidate(root, path) for path in files(root)]
    numbers = sorted({candidate.label for candidate in candidates if candidate.label.isdecimal()} - names)
    if numbers:
        raise UserError(
            f"{root}: class folders {', '.join(numbers)} are numbers, whose order differs between data sets; "
            "allowed: names, or numbers listed in the parameter `classes`"
        )
    return candidates


def _candidate(root: Path, path: Path) -> Candidate:
    name = written(path.relative_to(root).as_posix())
    parts = name.split("/")
    folders = parts[:-1]
    hint = HINTS.get(folders[0].casefold(), "") if len(folders) > 1 else ""
    classes = folders[1:] if hint else folders
    reason = file_problem(root, path)
    if not reason and any(part.startswith(".") for part in parts):
        reason = "a hidden file"
    elif not reason and not classes:
        reason = "not in a class folder"
    return Candidate(name, classes[0] if classes else "", hint=hint, reason=reason)
