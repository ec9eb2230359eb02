"""One module a format: each lists the images of a source, sorted, with what the source says of them.

A module is named after its format and has `find(root, names)`, which returns every image that the source in the folder
`root` names or holds, as candidates; `names` are the labels that the parameters know, in lower case.
"""

import csv
import importlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cnnstudy.config.messages import shown
from cnnstudy.config.schema import Params, StudyName
from cnnstudy.data import synth
from cnnstudy.errors import UserError
from cnnstudy.workspace import paths

Box = tuple[float, float, float, float]

# Characters of a table's cell, which may hold the pixels of an image: of one of 1000 x 1000, and more.
LARGEST_CELL = 1 << 23


@dataclass(frozen=True)
class Candidate:
    """An image that a source names: its path there, the label as found, its group and the split the source puts it in.

    `reason` is not empty where it is already known that the image can't be taken, and `note` where something about an
    image that is taken should be told. `box` (left, top, right, bottom, in pixels) is the part to take, the whole image
    where it is None. `grey` holds the pixels, row by row, of a square grey image that is no file of its own.
    `source` tells the sources of a mixed one apart.
    """

    path: str
    label: str = ""
    group: str = ""
    hint: str = ""
    reason: str = ""
    note: str = ""
    box: Box | None = None
    grey: bytes = b""
    source: str = ""


def written(name: str) -> str:
    """A file name as a table can hold it: bytes that are not UTF-8, and carriage returns, as escapes."""
    return name.encode("utf-8", "backslashreplace").decode("utf-8").replace("\r", "\\r")


def files(root: Path) -> list[Path]:
    """Files below `root`, sorted, and folders in it that are links or can't be read: these are not entered."""
    found: list[Path] = []
    unreadable: list[OSError] = []
    for folder, folders, names in os.walk(root, onerror=unreadable.append):
        links = [name for name in folders if Path(folder, name).is_symlink()]
        found += [Path(folder, name) for name in (*names, *links)]
    return sorted(found + [Path(error.filename) for error in unreadable if Path(error.filename) != root])


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


def named_problem(root: Path, name: str) -> str:
    """Why a table's `name`, a path below `root`, can't be taken; '' where it can."""
    parts = Path(name).parts
    if not parts or Path(name).is_absolute() or {"..", "."} & {*parts, *name.split("/")}:
        return "not a file name"
    folders = [root.joinpath(*parts[:count]) for count in range(1, len(parts))]
    try:
        linked = any(folder.is_symlink() for folder in folders)
        if linked and not (root / name).resolve().is_relative_to(root.resolve()):
            return "a link out of the folder"
    except (OSError, RuntimeError, ValueError):
        return "a name or link that can't be followed"
    return file_problem(root, root / name)


def rows(path: Path, needed: tuple[str, ...], header: tuple[str, ...] = ()) -> Iterator[dict[str, str]]:
    """The rows of a CSV file with a header; column names in lower case and without blanks around them.

    Where the first line has none of the columns `needed` and `header` is given, the file has no header line.

    Raises:
        UserError: no such file, or not CSV, or without one of the columns `needed`.
    """
    csv.field_size_limit(LARGEST_CELL)
    try:
        with path.open(encoding="utf-8-sig", newline="", errors="replace") as file:
            first = next(csv.reader(file), [])
            columns = [column.strip().casefold() for column in first]
            if header and not set(needed) & set(columns):
                columns = list(header)
                file.seek(0)
            if not set(needed) <= set(columns):
                raise UserError(f"{path}: columns {', '.join(first)} found; allowed: at least {', '.join(needed)}")
            for cells in csv.reader(file):
                if cells:
                    yield {**dict.fromkeys(columns, ""), **dict(zip(columns, cells, strict=False))}
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; allowed: a table with the columns {', '.join(needed)}") from None
    except (OSError, csv.Error) as error:
        raise UserError(f"{path}: {error}; allowed: a table with the columns {', '.join(needed)}") from None


def formats() -> list[str]:
    """Every format there is a module for."""
    return sorted(path.stem for path in Path(__file__).parent.glob("*.py") if path.stem != "__init__")


def find(name: str, root: Path, names: set[str]) -> list[Candidate]:
    """The candidates of a source in the format `name`.

    Raises:
        UserError: the source is not of that format.
    """
    module = importlib.import_module(f"{__name__}.{name}")
    candidates: list[Candidate] = module.find(root, names)
    return candidates


def check_formats(params: Params) -> None:
    """Refuse a source whose format is unknown, and a class that synthetic data does not have.

    Raises:
        UserError: naming the key, its value and what is allowed.
    """
    for study in params.studies:
        _check_format(params, study)


def require_sources(params: Params) -> None:
    """Refuse a source that is not there, before the stage that reads it: DVC removes a stage's outputs first.

    Raises:
        UserError: naming the key, its value and what is allowed.
    """
    for study in params.studies:
        require_source(params, study)


def require_source(params: Params, study: StudyName) -> None:
    """Refuse one study's source if its format is unknown or its folder is not there.

    Raises:
        UserError: naming the key, its value and what is allowed.
    """
    _check_format(params, study)
    path = Path(params.source(study).path)
    if os.path.isdir(path):  # unlike Path.is_dir, False where a folder above can't be entered
        return
    is_tracked = any(Path(f"{each}.dvc").is_file() for each in (path, *path.parents))
    allowed = "an existing folder; `dvc pull` brings this one" if is_tracked else "an existing folder"
    raise UserError(f"{paths.PARAMS}: sources.{study}.path: {str(path)!r} is no folder; allowed: {allowed}")


def _check_format(params: Params, study: StudyName) -> None:
    source, classes = params.source(study), params.study(study).classes
    if source.format not in formats():
        found = f"sources.{study}.format: {shown(source.format)} found"
        raise UserError(f"{paths.PARAMS}: {found}; allowed: {', '.join(formats())}")
    synthetic = synth.FACES if study == "faces" else synth.FILMS
    if source.format == "drawn" and (unknown := [label for label in classes if label not in synthetic]):
        found = f"{study}.classes.{unknown[0]}: {shown(classes[unknown[0]])} found"
        raise UserError(f"{paths.PARAMS}: {found}; allowed: with drawn data: {', '.join(synthetic)}")
