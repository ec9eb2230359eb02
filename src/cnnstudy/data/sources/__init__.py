"""One module a format: each lists the images of a source, sorted, with what the source says of them."""

import stat
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Candidate:
    """An image that a source names: its path there, the label as found, its group and the split the source puts it in.

    `reason` is not empty where it is already known that the image can't be taken.
    """

    path: str
    label: str = ""
    group: str = ""
    hint: str = ""
    reason: str = ""


def written(name: str) -> str:
    """A file name as a table can hold it: bytes that are not UTF-8, and carriage returns, as escapes."""
    return name.encode("utf-8", "backslashreplace").decode("utf-8").replace("\r", "\\r")


def file_problem(root: Path, path: Path) -> str:
    """Why `path` is no file of the source in `root`; '' where it is one. Only its last part may be a link."""
    name = str(path.relative_to(root))
    if written(name) != name:
        return "a name that is not UTF-8 or holds a carriage return"
    try:
        if path.is_symlink() and not path.resolve().is_relative_to(root.resolve()):
            return "a link out of the folder"
        mode = path.stat().st_mode
    except FileNotFoundError:
        return "no such file"
    # A link in a circle is a RuntimeError before Python 3.13, a NUL in a name a ValueError.
    except (OSError, RuntimeError, ValueError):
        return "a name or link that can't be followed"
    return "" if stat.S_ISREG(mode) else "not a regular file"
