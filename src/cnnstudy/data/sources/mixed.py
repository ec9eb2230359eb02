"""Several sources in one folder, each in a folder named after its format, such as ieee8023/ and folders-b/."""

from dataclasses import replace
from pathlib import Path

from cnnstudy.config.schema import Source
from cnnstudy.data import sources
from cnnstudy.data.sources import Candidate, written
from cnnstudy.errors import UserError

ABOUT = (
    "Several sources in one data set; the licence of each applies to its part. A source with only one class is a "
    "shortcut."
)


def find(root: Path, names: frozenset[str], source: Source) -> list[Candidate]:
    """Return every image of every source; a source's format is its folder's name up to the first hyphen.

    Groups are qualified by their source: patient 7 of one source is not patient 7 of another.

    Raises:
        UserError: a folder is not named after a format, there is no folder, or a source is not in its format.
    """
    inside = sorted(root.iterdir())
    folders = [path for path in inside if path.is_dir() and not path.is_symlink()]
    loose = [path for path in inside if path not in folders]
    allowed = [name for name in sources.formats() if name not in ("synthetic", "mixed")]
    unknown = [path.name for path in folders if _format(path) not in allowed]
    if unknown or not folders:
        raise UserError(
            f"{root}: folders {', '.join(map(repr, unknown)) or 'none'} found; "
            f"allowed: folders named after a format, alone or before a hyphen: {', '.join(allowed)}"
        )
    outside = [Candidate(written(path.name), reason="not in the folder of a source") for path in loose]
    return outside + [candidate for folder in folders for candidate in _inside(folder, names, source)]


def _format(folder: Path) -> str:
    return folder.name.split("-", 1)[0]


def _inside(folder: Path, names: frozenset[str], source: Source) -> list[Candidate]:
    name = written(folder.name)
    return [
        replace(each, path=f"{name}/{each.path}", group=each.group and f"{name}/{each.group}", source=name)
        for each in sources.listed(_format(folder), folder, names, source)
    ]
