"""Any table: a CSV file with columns of files and labels, or one such table for each split."""

import logging
import re
from collections import defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from cnnstudy.config.labels import folded
from cnnstudy.config.schema import Source
from cnnstudy.data import names as naming
from cnnstudy.data.sources import Candidate, Listing, below, named_problem, rows, written
from cnnstudy.errors import UserError

ABOUT = "A table of your own. You are responsible for its licence and consent."

log = logging.getLogger(__name__)

# Usual names of columns, in lower case without blanks and signs; the first one present is used.
USUAL = {
    "file": ("file", "filename", "filepath", "imagepath", "imagefile", "imagefilename", "imagename", "image", "path",
             "pth", "img", "imgname", "imgpath", "imageindex", "imageid", "id", "name"),
    "label": ("label", "labels", "class", "classname", "finding", "findinglabels", "diagnosis", "emotion", "expression",
              "target", "category", "disease", "condition", "status"),
    "split": ("split", "subset", "usage", "partition", "set"),
    "group": ("patientid", "patient", "subjectid", "subject", "personid", "person", "groupid", "group"),
}  # fmt: skip
TABLES = ("*.csv", "*.tsv")
# Extensions to try for a name without one.
SUFFIXES = (".png", ".jpg", ".tif", ".tiff", ".bmp", ".webp", ".dcm")


@dataclass(frozen=True)
class _Columns:
    """The names of a table's columns, in lower case; '' where a table has no such column."""

    file: str
    label: str
    split: str
    group: str


@dataclass(frozen=True)
class _Said:
    """A row's label, group and split for its file, and the whole row."""

    label: str
    group: str
    split: str
    row: dict[str, str]


def find(root: Path, names: Collection[str], source: Source) -> list[Candidate]:
    """Return every file that a table names, and every other file below `root`, which is rejected.

    A name in a table is a path from the table's folder or from a folder in it. A path from elsewhere is
    matched by its end, which only one file may have. Several tables must be named after their splits.

    Raises:
        UserError: there is no table, or a table lacks a column of files or labels, or has an unknown split.
    """
    tables = sorted({path for pattern in TABLES for path in root.glob(pattern)})
    splits = _split_tables(root, tables, source)
    listing = Listing(name for name in below(root, root) if root / name not in tables)
    ends = _ends(listing.names)
    said: dict[str, list[_Said]] = defaultdict(list)
    problems: dict[str, str] = {}
    for table in tables:
        for columns, row in _read(table, source):
            name, problem = _file(listing, ends, row[columns.file])
            split = splits.get(table.name) or row.get(columns.split, "")
            said[name].append(_Said(row[columns.label], row.get(columns.group, ""), split, row))
            problems[name] = problem
    known_splits = _known_splits(root, {each.split for entries in said.values() for each in entries}, source)
    unnamed = [Candidate(written(name), reason=_unnamed(name, names)) for name in listing.names if name not in said]
    found = [_candidate(root, name, said[name], problems[name], known_splits) for name in sorted(said)]
    return sorted(found + unnamed, key=lambda candidate: candidate.path)


def _unnamed(name: str, names: Collection[str]) -> str:
    return naming.problem(name.split("/")[:-1], names) or "no row of a table names it"


def _split_tables(root: Path, tables: list[Path], source: Source) -> dict[str, str]:
    """Return the split of each table by its file name; {} for a single table."""
    if not tables:
        raise UserError(f"{root}: no CSV file; allowed: one, or one for each split: train.csv, test.csv")
    if len(tables) == 1:
        return {}
    splits = naming.splits_of([table.stem for table in tables], source.splits)
    if unknown := [table.name for table in tables if table.stem not in splits]:
        raise UserError(
            f"{root}: {len(tables)} tables, of which {', '.join(unknown)} is named after no split; allowed: one table, "
            "or tables named train, val, tune, test"
        )
    log.info("tables: %s", ", ".join(f"{table.name} is {splits[table.stem]}" for table in tables))
    return {table.name: splits[table.stem] for table in tables}


def _read(table: Path, source: Source) -> Iterator[tuple[_Columns, dict[str, str]]]:
    columns = None
    for row in rows(table, ()):
        if columns is None:
            columns = _columns(table, list(row), source)
            log.info(
                "%s: files by %r, labels by %r%s", table.name, columns.file, columns.label,
                "".join(f", {what} by {name!r}" for what, name in (("splits", columns.split), ("groups", columns.group))
                        if name),
            )  # fmt: skip
        yield columns, row
    if columns is None:
        raise UserError(f"{table}: no rows; allowed: a table with a header and rows")


def _columns(table: Path, found: list[str], source: Source) -> _Columns:
    """Return the columns that the parameters name, or else those with usual names.

    Raises:
        UserError: a named column is missing, or no column has a usual name.
    """
    given = source.columns
    chosen = {"file": given.file, "label": given.label, "split": given.split, "group": source.group.column}
    plain = {re.sub(r"[^a-z0-9]", "", column): column for column in reversed(found)}
    columns = {}
    for what, name in chosen.items():
        key = "group.column" if what == "group" else f"columns.{what}"
        if name and folded(name) not in found:
            raise UserError(f"{table}: studies.<study>.source.{key}: {name!r} found; allowed: {', '.join(found)}")
        usual = next((plain[each] for each in USUAL[what] if each in plain), "")
        columns[what] = folded(name) if name else usual
        if not columns[what] and what in ("file", "label"):
            raise UserError(
                f"{table}: columns {', '.join(found)} found, none of them with a usual name for the {what}; allowed: "
                f"studies.<study>.source.{key}, one of them"
            )
    if missing := [name for name in given.keep if folded(name) not in found]:
        raise UserError(
            f"{table}: studies.<study>.source.columns.keep: {missing[0]!r} found; allowed: {', '.join(found)}"
        )
    return _Columns(**columns)


def _ends(names: list[str]) -> dict[str, list[str]]:
    """Return a map from every end of a file's folded path to all files with this end."""
    ends: dict[str, list[str]] = defaultdict(list)
    for name in names:
        parts = folded(name).split("/")
        for count in range(len(parts)):
            ends["/".join(parts[count:])].append(name)
    return ends


def _file(listing: Listing, ends: dict[str, list[str]], cell: str) -> tuple[str, str]:
    """Return the file that a cell names, or the cell if there is none, and the problem, or ''."""
    name, problem = listing.named(cell)
    if name in listing.known or problem:
        return name, problem
    parts = folded(cell).replace("\\", "/").split("/")
    if ".." in parts:
        return cell, "not a file name"
    for start in range(len(parts)):
        end = "/".join(parts[start:])
        found = ends.get(end) or [each for suffix in SUFFIXES for each in ends.get(f"{end}{suffix}", ())]
        if len(found) > 1:
            return cell, f"several files have this name: {', '.join(found[:3])}"
        if found:
            return found[0], ""
    return cell.replace("\\", "/"), "no such file"


def _known_splits(root: Path, cells: set[str], source: Source) -> dict[str, str]:
    """Return the split that each cell of the column of splits means."""
    splits = naming.splits_of(cells, source.splits)
    if unknown := sorted(cells - set(splits) - {"", "none"}):
        raise UserError(
            f"{root}: the split {unknown[0]!r} found, which is unknown; allowed: train, val, tune, test, or "
            f"`-S '+studies.<study>.source.splits={{{unknown[0]}: test}}'` (train, val, tune, test, none)"
        )
    return {name: split for name, split in splits.items() if split != "none"}


def _merged(rows: list[dict[str, str]]) -> dict[str, str]:
    """Return the cells of a file's rows; differing cells are joined, so that two numbers are no number."""
    columns = dict.fromkeys(column for row in rows for column in row)
    return {column: " and ".join(dict.fromkeys(row[column] for row in rows if column in row)) for column in columns}


def _candidate(root: Path, name: str, said: list[_Said], problem: str, known_splits: dict[str, str]) -> Candidate:
    first = said[0]
    told = {
        "label": [each.label for each in said],
        "group": [each.group for each in said],
        "split": [each.split for each in said],
    }
    several = [
        f"{what} {' and '.join(sorted(set(values)))}"
        for what, values in told.items()
        if len({folded(value) for value in values}) > 1
    ]
    reason = f"rows that differ: {', '.join(several)}" if several else problem or named_problem(root, name)
    split = known_splits.get(first.split, "")
    return Candidate(
        written(name),
        first.label,
        group=first.group,
        source_split=split,
        reason=reason,
        row=_merged([each.row for each in said]),
    )
