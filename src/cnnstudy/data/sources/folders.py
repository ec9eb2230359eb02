"""Images in folders named after their class, with or without folders named after the split above them."""

import os
from pathlib import Path

from cnnstudy.data.sources import Candidate
from cnnstudy.errors import UserError

HINTS = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val",
         "tune": "tune", "test": "test"}  # fmt: skip


def find(root: Path, names: set[str]) -> list[Candidate]:
    """Every file below `root`: `<split>/<class>/...` in any case, or `<class>/...`.

    `names` are the class names the parameters know, in lower case.

    Raises:
        UserError: classes are numbers, which two orders of the classes read differently, and no parameter names them.
    """
    candidates = [_candidate(root, path) for path in sorted(_files(root))]
    numbers = sorted({candidate.label for candidate in candidates if candidate.label.isdecimal()} - names)
    if numbers:
        raise UserError(
            f"{root}: class folders {', '.join(numbers)} are numbers, whose order differs between data sets; "
            "allowed: names, or numbers listed in the parameter `classes`"
        )
    return candidates


def _files(root: Path) -> list[Path]:
    """Files and links below `root`; folders that are links are listed as links, not entered."""
    found = []
    for folder, folders, files in os.walk(root):
        links = [name for name in folders if Path(folder, name).is_symlink()]
        found += [Path(folder, name) for name in (*files, *links)]
    return found


def _candidate(root: Path, path: Path) -> Candidate:
    name = path.relative_to(root).as_posix()
    *folders, _ = path.relative_to(root).parts
    hint = HINTS.get(folders[0].casefold(), "") if len(folders) > 1 else ""
    classes = folders[1:] if hint else folders
    reason = ""
    if path.is_symlink() and not path.resolve().is_relative_to(root.resolve()):
        reason = "a link out of the folder"
    elif path.name.startswith("."):
        reason = "a hidden file"
    elif not classes:
        reason = "not in a class folder"
    return Candidate(name, classes[0] if classes else "", hint=hint, reason=reason)
