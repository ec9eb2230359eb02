"""What differs between two commits: DVC's own comparisons, and which samples of the data do."""

from collections.abc import Iterator
from pathlib import PurePath

import pandas as pd

from cnnstudy.workspace import dvc, files, paths

STUDIES = "faces", "xray"
KINDS = "added", "deleted", "modified"
# A sample is the same where its source calls it the same; what of it may differ.
NAME = ["source", "path"]
ASPECTS = {"sha256": "other content", "label": "another label", "split": "another split"}
ABSENT = "not in DVC's cache; `dvc fetch --all-commits` brings what a remote has"
# The tables that dvc.yaml draws; the others beside pictures are there to be read.
DRAWN_TABLES = "plots/runs/*/*.csv"


def compare(a: str, b: str | None) -> None:
    """Print what differs from commit `a` to commit `b`, or to the working tree, and draw both sides' pictures.

    Either may be a branch, a tag, a commit or an experiment's name. The pictures are in compared/index.html.

    Raises:
        UserError: there is no such commit.
    """
    revisions = [a] if b is None else [a, b]
    found = dvc.changed_paths(a, b)
    changed = {kind: found.get(kind, []) for kind in KINDS}
    _print("Data", _data(a, b))
    _print("Files", (f"{kind} {path}" for kind, its in changed.items() for path in _folded(its)))
    for title, command in (("Parameters", "params"), ("Metrics", "metrics")):
        _print(title, ())
        dvc.command(command, "diff", *revisions)
    listed = sorted(path for its in changed.values() for path in its)
    drawn = [path for path in listed if _is_drawn(PurePath(path))]
    unseen = [path for path in _unseen(listed) if path.startswith("plots/")]
    without = [f"of {len(unseen)} folder{'s' * (len(unseen) != 1)}: {ABSENT}"] if unseen else ["none differs"]
    _print("Pictures", without if unseen or not drawn else ())
    files.remove(paths.COMPARED)
    if drawn:
        dvc.command("plots", "diff", *revisions, "--targets", *drawn, "--out", str(paths.COMPARED))


def _is_drawn(path: PurePath) -> bool:
    """Whether `dvc plots diff` can draw it."""
    return path.parts[0] == "plots" and (path.suffix == ".png" or path.match(DRAWN_TABLES))


def _folded(found: list[str]) -> Iterator[str]:
    """Without what lies in a folder that is listed itself; of that, how many files it is."""
    folders = [path for path in found if path.endswith("/")]
    unseen = _unseen(found)
    for path in found:
        if path in unseen:
            yield f"{path} (files not in DVC's cache)"
        elif path in folders:
            count = sum(other.startswith(path) for other in found) - 1
            yield f"{path} ({count} file{'s' * (count != 1)})"
        elif not path.startswith(tuple(folders)):
            yield path


def _unseen(found: list[str]) -> list[str]:
    """The folders that differ in no file that DVC knows: what is in them it has not got."""
    return [path for path in found if path.endswith("/") and sum(other.startswith(path) for other in found) == 1]


def _print(title: str, lines: Iterator[str] | list[str] | tuple[()]) -> None:
    print(f"\n{title}")
    for line in lines:
        print(f"  {line}")
    print(end="", flush=True)


def _data(a: str, b: str | None) -> Iterator[str]:
    """A line a study on the samples that differ."""
    before, after = dvc.file_system(a), dvc.file_system(b)
    for study in STUDIES:
        try:
            yield f"{study}: {difference(_table(before, study), _table(after, study))}"
        except FileNotFoundError as error:
            is_same = _hashes(before, study) == _hashes(after, study)
            yield f"{study}: {'the same images' if is_same else f'{error.filename}: {ABSENT}'}"


def _hashes(fs: "dvc.DVCFileSystem", study: str) -> list[str | None]:
    """The MD5 of the tables of a study as dvc.lock has them; None of one that it has not."""
    names = [name.as_posix() for name in (paths.samples(study), paths.splits(study))]
    return [fs.info(name).get("md5") if _was_made(fs, name) else None for name in names]


def _table(fs: "dvc.DVCFileSystem", study: str) -> pd.DataFrame:
    """The samples of a study with their splits as a commit has them; none where it has no data."""
    names = paths.samples(study), paths.splits(study)
    if not all(_was_made(fs, name.as_posix()) for name in names):
        return pd.DataFrame(columns=[*NAME, *ASPECTS], dtype=str)
    tables = []
    for name in names:
        with fs.open(name.as_posix(), encoding="utf-8") as file:
            tables.append(pd.read_csv(file, dtype=str, keep_default_na=False))
    samples, splits = tables
    return samples.merge(splits, on="id")[[*NAME, *ASPECTS]]


def _was_made(fs: "dvc.DVCFileSystem", path: str) -> bool:
    """Whether dvc.lock or the working tree has a file; an output that no stage has made is none."""
    return fs.exists(path) and not {"md5", "fs_info"}.isdisjoint(fs.info(path))


def difference(before: pd.DataFrame, after: pd.DataFrame) -> str:
    """How many samples were added and removed, and how many have another content, label or split, on one line."""
    both = before.merge(after, on=NAME, suffixes=("_before", "_after"))
    counts = {"added": len(after) - len(both), "removed": len(before) - len(both)}
    counts |= {text: int((both[f"{name}_before"] != both[f"{name}_after"]).sum()) for name, text in ASPECTS.items()}
    said = ", ".join(f"{count} {text}" for text, count in counts.items() if count)
    sizes = f"{len(before)} images" if len(before) == len(after) else f"{len(before)} images, then {len(after)}"
    return f"{sizes}: {said}" if said else f"the same {len(after)} images"
