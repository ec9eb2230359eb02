"""Images in folders named after their class, with or without folders named after the split above or below them."""

import logging
from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from cnnstudy.config.labels import folded, loosened
from cnnstudy.config.schema import Source
from cnnstudy.data import names as naming
from cnnstudy.data.sources import Candidate, file_problem, files, relative, rows, written
from cnnstudy.errors import UserError

ABOUT = "Class folders of your own. You are responsible for their licence and consent."

log = logging.getLogger(__name__)

# A table of numbers beside the folders of classes or of splits.
VALUES = "valence_arousal.csv"


def find(root: Path, names: Collection[str], source: Source) -> list[Candidate]:
    """Return every file below `root`: `<split>/<class>/...` in any case, `<class>/<split>/...`, or `<class>/...`.

    Outer folders that each hold a single folder are skipped; `names` are the labels in the parameters.

    Raises:
        UserError: a folder's name resembles a split's without being one, or a file is in the folders of two splits.
    """
    listed = [(path, written(relative(root, path))) for path in files(root)]
    stems: dict[str, set[str]] = defaultdict(set)
    for _, name in listed:
        folder, _, file = name.rpartition("/")
        stems[folder].add(folded(file.rpartition(".")[0] or file))
    folders = {folder: folder.split("/") if folder else [] for folder in stems}
    depth = _depth(list(folders.values()), frozenset(names), source.splits)
    layout = _layout([parts[depth:] for parts in folders.values()], frozenset(names), source.splits)
    places = {folder: layout.read(parts[depth:], parts) for folder, parts in folders.items()}
    found, used = [], set()
    for path, name in listed:
        folder, _, file = name.rpartition("/")
        place = places[folder]
        reason = file_problem(root, path) or ("a hidden file" if file.startswith(".") else "")
        reason = reason or place.reason or naming.beside(file, stems[folder])
        found.append(Candidate(name, place.label, source_split=place.source_split, reason=reason))
        if not reason:
            used.add(folder)
    for folder in sorted(used):
        _refuse(root, folder, layout, folders[folder][depth:])
    told = sorted({each for folder in used for each in layout.splits_in(folders[folder][depth:])})
    if told:
        log.info("folders of splits: %s", ", ".join(f"{each} is {layout.splits[each]}" for each in told))
    return found


def with_values(root: Path, candidates: list[Candidate], names: Collection[str]) -> list[Candidate]:
    """Return candidates with the numbers in the tables `VALUES`, in whose folder or below it the images lie.

    The column `path` is an image's path from the table's folder.

    Raises:
        UserError: a table lacks the column `path`.
    """
    told: dict[str, dict[str, str]] = {}
    for table in sorted(root.rglob(VALUES)):
        above = table.parent.relative_to(root)
        for row in rows(table, ("path",)):
            told[(above / row["path"]).as_posix()] = {name: row.get(name, "") for name in names}
    absent = told.keys() - {each.path for each in candidates}
    if absent:
        log.info("%s: %d of %d rows name no image, such as %s", VALUES, len(absent), len(told), min(absent))
    return [replace(each, row=told[each.path]) if each.path in told else each for each in candidates]


def _hidden(folders: list[str]) -> str:
    """Return why files below folders are hidden; '' where no folder's name begins with a dot."""
    dotted = next((folder for folder in folders if folder.startswith(".")), "")
    if not dotted:
        return ""
    what = naming.in_system_folder(dotted)
    return f"in {dotted}: {what}" if what else "a hidden file"


@dataclass(frozen=True)
class _Place:
    """A file's label and split by its folders, and the reason why the file is rejected, if any."""

    label: str
    source_split: str
    reason: str = ""


@dataclass(frozen=True)
class _Layout:
    """The meanings of folders: `names` are those of classes, `splits` maps folders to splits, or to "none" if so given.

    `around` are folders that hold the folders of splits.
    """

    names: frozenset[str]
    splits: Mapping[str, str]
    around: frozenset[str] = frozenset()

    def is_class(self, folder: str) -> bool:
        return folded(folder) in self.names or loosened(folder) in self.names

    def splits_in(self, folders: list[str]) -> list[str]:
        return [name for name in folders if self.splits.get(name, "none") != "none" and not self.is_class(name)]

    def read(self, folders: list[str], whole: list[str]) -> _Place:
        """Return the label and split of files in `folders`, the last folders of the `whole` path.

        The class is the first folder that is neither a split's nor around the folders of splits.
        """
        reason = _hidden(whole) or naming.problem(whole, self.names)
        splits = self.splits_in(folders)
        split = self.splits[splits[0]] if splits else ""
        rest = [folder for folder in folders if folder not in splits]
        while len(rest) > 1 and not self.is_class(rest[0]) and self._is_around(rest[0]):
            rest = rest[1:]
        if rest:
            return _Place(rest[0], split, reason)
        where = "in a split's folder, but in no class folder" if split else "not in a class folder"
        return _Place("", split, reason or where)

    def _is_around(self, folder: str) -> bool:
        return folder in self.around or folded(folder) in naming.CONTAINERS


def _layout(paths: list[list[str]], names: frozenset[str], given: Mapping[str, str]) -> _Layout:
    layout = _Layout(names, naming.splits_of({folder for path in paths for folder in path}, given))
    around = {
        path[0]
        for path in paths
        if len(path) > 2 and layout.splits_in(path[1:2]) and not layout.is_class(path[0]) and layout.is_class(path[2])
    }
    return replace(layout, around=frozenset(around))


def _refuse(root: Path, name: str, layout: _Layout, folders: list[str]) -> None:
    """Refuse files in the folders of two splits, or in a folder whose name resembles a split's without being one."""
    if len({layout.splits[folder] for folder in layout.splits_in(folders)}) > 1:
        raise UserError(
            f"{root}: {name} is in the folders of two splits; allowed: one, with studies.<study>.source.splits"
        )
    for folder in folders:
        is_told = layout.is_class(folder) or folder in layout.splits
        if not is_told and naming.resembles_split(folder):
            raise UserError(
                f"{root}: the folder {folder!r} ({name}) looks like a split's but is none; allowed: train, val, "
                f"tune, test, or `-S '+studies.<study>.source.splits={{{folder}: test}}'` (train, val, tune, "
                "test, none)"
            )


def _depth(paths: list[list[str]], names: frozenset[str], given: Mapping[str, str]) -> int:
    """Return the number of outer folders around all images, each alone at its depth, and not one of a class or split.

    `paths` are the folders that have files in them, as lists of names.
    """
    layout = _Layout(names, naming.splits_of({folder for path in paths for folder in path}, given))
    usable = [path for path in paths if not _hidden(path) and not naming.problem(path, names)]
    depth = 0
    while True:
        folders = {path[depth] for path in usable if len(path) > depth}
        is_deeper = any(len(path) > depth + 1 for path in usable)
        if len(folders) != 1 or not is_deeper:
            return depth
        (folder,) = folders
        if layout.is_class(folder) or folder in layout.splits or naming.resembles_split(folder):
            return depth
        depth += 1
