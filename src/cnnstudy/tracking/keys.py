"""The name that a training has in every record: what its models hash to."""

import hashlib
import json
from pathlib import Path
from typing import Any

from cnnstudy import paths

STAGES = {"base": "train", "tuned": "finetune"}


def key_of_files(run: str, phases: tuple[str, ...]) -> str:
    """A run's key from the files in models/<run>."""
    return _key(run, [directory_md5(paths.phase(run, phase)) for phase in phases])


def key_of_lock(lock: dict[str, Any], run: str, phases: tuple[str, ...]) -> str | None:
    """A run's key from dvc.lock, or None where a phase has no entry; the same as `key_of_files`."""
    stages = [lock.get("stages", {}).get(f"{STAGES[phase]}@{run}") for phase in phases]
    if None in stages:
        return None
    return _key(run, [stage["outs"][0]["md5"] for stage in stages])


def directory_md5(folder: Path) -> str:
    """What DVC calls a directory's md5: that of its list of files and their md5s."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    listing = [{"md5": _file_md5(path), "relpath": path.relative_to(folder).as_posix()} for path in files]
    listing.sort(key=lambda entry: entry["relpath"])
    return hashlib.md5(json.dumps(listing, sort_keys=True).encode(), usedforsecurity=False).hexdigest() + ".dir"


def _file_md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()


def _key(run: str, md5s: list[str]) -> str:
    return hashlib.md5(json.dumps([run, *md5s]).encode(), usedforsecurity=False).hexdigest()
