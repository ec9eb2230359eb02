"""Comparison of two commits: DVC's own comparisons, and the samples that differ."""

from collections import Counter
from collections.abc import Iterator
from pathlib import PurePath

import pandas as pd

from cnnstudy.commands import history
from cnnstudy.commands.progress import aligned
from cnnstudy.evaluation.results import Headline
from cnnstudy.workspace import dvc, files, paths
from cnnstudy.workspace.git import require_repository
from cnnstudy.workspace.terminal import say

KINDS = "added", "deleted", "modified"
# The columns that identify a sample, and the ones that may differ.
NAME = ["source", "path"]
ASPECTS = {"sha256": "other content", "label": "another label", "split": "another split"}
ABSENT = "not in DVC's cache; `dvc fetch --all-commits` fetches it from a remote"
# The tables that dvc.yaml plots; other tables next to figures are only for reading.
DRAWN_TABLES = "plots/runs/*/*.csv"


# The most lines of each section, and the most figures, without `--all`: what matters in 30 lines.
MOST = {"Data": 3, "Files": 5, "Parameters": 5, "Metrics": 6}
FIGURES = 40
SAME_METRICS = "the same headline accuracies; `--all` lists all metrics"
# Words in the paths of the most informative figures, the best first.
TELLING = ("plots/ablations", "confusion", "curves", "roc")
# DVC's page has images at full width, side by side, and cuts off what is beyond the window.
STYLE = """<style>
body { max-width: 1200px; margin: auto; font-family: sans-serif; }
body > div { white-space: normal !important; }
body > div > div { max-width: calc(50% - 20px); vertical-align: top; overflow: auto !important; }
img { max-width: 100%; height: auto; }
</style>
"""


def compare(a: str, b: str | None, is_everything: bool = False) -> None:
    """Print what differs from commit `a` to commit `b`, or to the working tree, and draw both sides' figures.

    Either may be a branch, a tag, a commit or an experiment's name. The figures are in compared/index.html. With
    `is_everything` every file, parameter and metric is listed, and every figure drawn.

    Raises:
        UserError: there is no such commit, or no repository.
    """
    require_repository()
    found = dvc.changed_paths(a, b)
    changed = {kind: found.get(kind, []) for kind in KINDS}
    listed = sorted(path for its in changed.values() for path in its)
    data = list(_data(a, b))
    _print("Data", data if is_everything else _most("Data", data))
    lines = [f"{kind} {path}" for kind, its in changed.items() for path in _folded(its)]
    if is_everything:
        _print("Files", lines)
        for title, command in (("Parameters", "params"), ("Metrics", "metrics")):
            _print(title, ())
            dvc.command(command, "diff", *([a] if b is None else [a, b]))
    else:
        before, after = history.parameters(a), history.parameters(b)
        _print("Files", lines if len(lines) <= MOST["Files"] else _most("Files", _counted(changed)))
        _print("Parameters", _most("Parameters", history.settings(before, after)))
        numbers = results(history.results(before, a), history.results(after, b))
        _print("Metrics", _most("Metrics", numbers) if numbers else [SAME_METRICS])
    drawn = [path for path in listed if _is_drawn(PurePath(path))]
    _draw(a, b, drawn if is_everything else _telling(drawn, changed["modified"]), len(drawn), listed)


def results(before: dict[str, Headline], after: dict[str, Headline]) -> list[str]:
    """Return a line for each net whose headline differs, with both values; the largest differences first."""
    rows = []
    for run in {**before, **after}:
        then, now = before.get(run), after.get(run)
        if then is None or now is None or then.value != now.value:
            difference = f"{now.value - then.value:+.3f}" if then and now else ""
            split = (now or then).split  # type: ignore[union-attr]
            rows.append((run, split, _text(then), _text(now), difference))
    rows.sort(key=lambda row: -abs(float(row[4] or 0)))
    return [*aligned([("net", "split", "before", "after", "difference"), *rows])] if rows else []


def _text(result: Headline | None) -> str:
    return result.text if result else "none"


def _most(title: str, lines: list[str]) -> list[str]:
    """Return the first lines, and how many are left out."""
    most = MOST[title]
    if not lines:
        return ["the same"]
    return lines if len(lines) <= most else [*lines[: most - 1], f"and {len(lines) - most + 1} more, see `--all`"]


def _counted(changed: dict[str, list[str]]) -> list[str]:
    """Return for each top-level folder the number of differing files by kind of change."""
    tops: dict[str, Counter[str]] = {}
    for kind, its in changed.items():
        for path in its:
            if not path.endswith("/"):
                tops.setdefault(path.partition("/")[0], Counter())[kind] += 1
    return [
        f"{top}: {', '.join(f'{count} {kind}' for kind, count in counts.items())}"
        for top, counts in sorted(tops.items())
    ]


def _telling(drawn: list[str], modified: list[str]) -> list[str]:
    """Return the most informative figures, `FIGURES` at most; figures on both sides take precedence."""
    there = set(modified)

    def place(path: str) -> tuple[bool, int, str]:
        kind = next((i for i, words in enumerate(TELLING) if words in path), len(TELLING))
        return path not in there, kind, path

    return sorted(sorted(drawn, key=place)[:FIGURES])


def _draw(a: str, b: str | None, drawn: list[str], count: int, listed: list[str]) -> None:
    """Draw figures that differ, and say what is not drawn."""
    unseen = [path for path in _unseen(listed) if path.startswith("plots/")]
    lines = [f"{len(unseen)} folder{'s' * (len(unseen) != 1)}: {ABSENT}"] if unseen else []
    if count > len(drawn):
        lines.append(f"{len(drawn)} of {count} are drawn; `--all` draws all")
    _print("Figures", lines if lines or drawn else ["none differs"])
    files.remove(paths.COMPARED)
    if drawn:
        dvc.command(
            *("plots", "diff", a, *([] if b is None else [b])), "--targets", *drawn, "--out", str(paths.COMPARED)
        )
        page = paths.COMPARED / "index.html"
        if page.is_file():
            page.write_text(page.read_text(encoding="utf-8").replace("</head>", f"{STYLE}</head>", 1), encoding="utf-8")


def _is_drawn(path: PurePath) -> bool:
    """Return whether `dvc plots diff` can draw a file."""
    return path.parts[0] == "plots" and (path.suffix == ".png" or path.match(DRAWN_TABLES))


def _folded(found: list[str]) -> Iterator[str]:
    """Yield the paths, with a count instead of the files of a folder that is listed itself."""
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
    """Return the differing folders whose files DVC does not have."""
    return [path for path in found if path.endswith("/") and sum(other.startswith(path) for other in found) == 1]


def _print(title: str, lines: Iterator[str] | list[str] | tuple[()]) -> None:
    say("")
    say(title)
    for line in lines:
        say(f"  {line}")


def _data(a: str, b: str | None) -> Iterator[str]:
    """Yield a line for each study, then each external test set, on the samples that differ."""
    before, after = dvc.file_system(a), dvc.file_system(b)

    def is_set(name: str) -> bool:
        return not any(_was_made(fs, paths.splits(name).as_posix()) for fs in (before, after))

    for study in sorted({*_studies(before), *_studies(after)}, key=lambda name: (is_set(name), name)):
        try:
            yield f"{study}: {difference(_table(before, study), _table(after, study))}"
        except FileNotFoundError as error:
            is_same = _hashes(before, study) == _hashes(after, study)
            yield f"{study}: {'the same images' if is_same else f'{error.filename}: {ABSENT}'}"


def _studies(fs: "dvc.AbstractFileSystem") -> list[str]:
    """Return the studies and external test sets whose samples a commit has."""
    found = map(PurePath, dvc.files_below(fs, "data"))
    return [path.parts[1] for path in found if path.match(paths.samples("*").as_posix())]


def _hashes(fs: "dvc.AbstractFileSystem", study: str) -> list[str | None]:
    """Return the MD5 hashes of a study's tables in dvc.lock; None for a table that it does not have."""
    names = [name.as_posix() for name in (paths.samples(study), paths.splits(study))]
    return [fs.info(name).get("md5") if _was_made(fs, name) else None for name in names]


def _table(fs: "dvc.AbstractFileSystem", study: str) -> pd.DataFrame:
    """Return a study's samples with their splits at a commit; an empty table if it has no data.

    An external test set has no splits.
    """
    samples, splits = (_read(fs, path) for path in (paths.samples(study), paths.splits(study)))
    if samples is None:
        return pd.DataFrame(columns=[*NAME, *ASPECTS], dtype=str)
    table = samples.assign(split="") if splits is None else samples.merge(splits, on="id")
    return table[[*NAME, *ASPECTS]]


def _read(fs: "dvc.AbstractFileSystem", path: PurePath) -> pd.DataFrame | None:
    if not _was_made(fs, path.as_posix()):
        return None
    with fs.open(path.as_posix(), encoding="utf-8") as file:
        return pd.read_csv(file, dtype=str, keep_default_na=False)


def _was_made(fs: "dvc.AbstractFileSystem", path: str) -> bool:
    """Return whether dvc.lock or the working tree has a file; the output of a stage that has not run is not there."""
    return fs.exists(path) and not {"md5", "fs_info"}.isdisjoint(fs.info(path))


def difference(before: pd.DataFrame, after: pd.DataFrame) -> str:
    """Return one line with the numbers of samples added, removed, and changed in content, label or split."""
    both = before.merge(after, on=NAME, suffixes=("_before", "_after"))
    counts = {"added": len(after) - len(both), "removed": len(before) - len(both)}
    counts |= {text: int((both[f"{name}_before"] != both[f"{name}_after"]).sum()) for name, text in ASPECTS.items()}
    said = ", ".join(f"{count} {text}" for text, count in counts.items() if count)
    sizes = f"{len(before)} images" if len(before) == len(after) else f"{len(before)} images, then {len(after)}"
    return f"{sizes}: {said}" if said else f"the same {len(after)} images"
