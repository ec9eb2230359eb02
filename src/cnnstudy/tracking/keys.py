"""The name that a run has in every record: what its models hash to."""

import hashlib
import json
from pathlib import Path
from typing import Any

from cnnstudy import paths
from cnnstudy.params import Params

STAGES = {"base": "train", "tuned": "finetune"}


def run_key(run: str, params: Params) -> str:
    """A run's key from the files in models/<run>: 32 hexadecimal digits."""
    return _key(run, [directory_md5(paths.phase(run, phase)) for phase in params.phases(run)])


def lock_key(lock: dict[str, Any], run: str, params: Params) -> str | None:
    """The same from dvc.lock's content, or None where it does not hold every phase."""
    md5s = []
    for phase in params.phases(run):
        stage = lock.get("stages", {}).get(f"{STAGES[phase]}@{run}", {})
        md5s += [out["md5"] for out in stage.get("outs", []) if out["path"] == paths.phase(run, phase).as_posix()]
    return _key(run, md5s) if len(md5s) == len(params.phases(run)) else None


def directory_md5(folder: Path) -> str:
    """What DVC calls a directory's md5: that of the JSON list of its files' md5s and paths, with `.dir` behind it."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    listing = [{"md5": _file_md5(path), "relpath": path.relative_to(folder).as_posix()} for path in files]
    listing.sort(key=lambda entry: entry["relpath"])
    return text_md5(json.dumps(listing, sort_keys=True)) + ".dir"


def text_md5(text: str) -> str:
    """The md5 of a text's UTF-8."""
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def _file_md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _key(run: str, md5s: list[str]) -> str:
    return text_md5(json.dumps([run, *md5s]))
