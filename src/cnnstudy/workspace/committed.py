"""How a rebuild's results differ from the last commit's: by other inputs, or only by rounding on another machine."""

import json
from pathlib import PurePosixPath
from typing import Any

from cnnstudy.errors import UserError
from cnnstudy.workspace import files, paths, recovery
from cnnstudy.workspace.git import git

Stages = dict[str, dict[str, Any]]


def machine_note() -> str:
    """Return a note if dvc.lock differs from HEAD's for equal inputs, with the differences in accuracy.

    '' if no output differs, if any input differs, or if either dvc.lock is missing or torn.
    """
    before, after = recovery.whole(_at_head(paths.LOCK.as_posix())), recovery.whole(recovery.read_lock())
    if before is None or after is None:
        return ""
    count = other_bits(before["stages"], after["stages"])
    if not count:
        return ""
    return (
        f"dvc.lock differs from the last commit in {count} of {len(after['stages'])} stages, though code, data and "
        "parameters are the same: normal on another machine, whose arithmetic differs in the last bits"
        f"{_accuracies()}. Commit it, or leave it as it is."
    )


def other_bits(before: Stages, after: Stages) -> int:
    """Return how many stages' outputs differ; 0 if the stages, or any input that no stage writes, differ."""
    if before.keys() != after.keys():
        return 0
    made = {PurePosixPath(out["path"]) for entry in after.values() for out in entry.get("outs", [])}
    if any(_given(before[name], made) != _given(after[name], made) for name in after):
        return 0
    return sum(_hashes(before[name], "outs") != _hashes(after[name], "outs") for name in after)


def _given(entry: dict[str, Any], made: set[PurePosixPath]) -> tuple[Any, ...]:
    """Return a stage's inputs that no other stage writes."""
    deps = {
        path: hashed
        for path, hashed in _hashes(entry, "deps").items()
        if not any(files.overlap(PurePosixPath(path), out) for out in made)
    }
    return entry["cmd"], entry.get("params"), deps, _hashes(entry, "outs").keys()


def _hashes(entry: dict[str, Any], key: str) -> dict[str, str]:
    return {each["path"]: each.get("md5", "") for each in entry.get(key, [])}


def _accuracies() -> str:
    try:
        now = files.flat(json.loads(paths.SUMMARY.read_text(encoding="utf-8")))
        then = files.flat(json.loads(_at_head(paths.SUMMARY.as_posix())))
        largest = max(abs(now[key] - then[key]) for key in now if isinstance(now[key], float))
    except (OSError, ValueError, KeyError, TypeError):  # missing, or written by another version
        return ""
    return f"; accuracies differ by {largest:.3f} at most" if largest else "; all accuracies are equal"


def _at_head(path: str) -> str:
    """Return a file's text at HEAD; '' if HEAD does not have the file."""
    try:
        return git("show", f"HEAD:./{path}")
    except UserError:
        return ""
