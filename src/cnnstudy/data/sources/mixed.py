"""Several sources side by side: a folder whose folders are named after their formats, such as ieee8023/, folders-b/."""

from dataclasses import replace
from pathlib import Path

from cnnstudy.data import sources
from cnnstudy.data.sources import Candidate, written
from cnnstudy.errors import UserError


def find(root: Path, names: set[str]) -> list[Candidate]:
    """Every image of every source; what is before the first hyphen of a folder's name is its format.

    Groups keep to their source: patient 7 of one is not patient 7 of another.

    Raises:
        UserError: a folder is named after no format, or there is none, or a source is not of its format.
    """
    inside = sorted(root.iterdir())
    folders = [path for path in inside if path.is_dir() and not path.is_symlink()]
    loose = [path for path in inside if path not in folders]
    allowed = [name for name in sources.formats() if name not in ("drawn", "mixed")]
    unknown = [path.name for path in folders if _format(path) not in allowed]
    if unknown or not folders:
        raise UserError(
            f"{root}: folders {', '.join(map(repr, unknown)) or 'none'} found; "
            f"allowed: folders named after a format, alone or before a hyphen: {', '.join(allowed)}"
        )
    outside = [Candidate(written(path.name), reason="not in the folder of a source") for path in loose]
    return outside + [candidate for folder in folders for candidate in _inside(folder, names)]


def _format(folder: Path) -> str:
    return folder.name.split("-", 1)[0]


def _inside(folder: Path, names: set[str]) -> list[Candidate]:
    name = written(folder.name)
    return [
        replace(each, path=f"{name}/{each.path}", group=each.group and f"{name}/{each.group}", source=name)
        for each in sources.find(_format(folder), folder, names)
    ]
