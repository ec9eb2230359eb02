"""The name that a run has in every record: what its models hash to."""

import hashlib
import json
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from cnnstudy.config.schema import Params
from cnnstudy.errors import UserError
from cnnstudy.workspace import dvc, files, paths, recovery

STAGES = {"base": "train", "tuned": "finetune"}


def run_key(run: str, params: Params) -> str:
    """A run's key from the files in models/<run>: 32 hexadecimal digits."""
    return _key(run, [directory_md5(paths.phase(run, phase)) for phase in params.phases(run)])


def lock_key(lock: dict[str, Any], run: str, params: Params) -> str | None:
    """The same from dvc.lock's content, or None where it does not hold every phase."""
    md5s = [locked(lock, f"{STAGES[phase]}@{run}", paths.phase(run, phase)) for phase in params.phases(run)]
    return _key(run, [md5 for md5 in md5s if md5]) if all(md5s) else None


def md5_tags(lock: dict[str, Any], run: str, params: Params) -> dict[str, str]:
    """What DVC calls a run's images, its splits and the model of each phase, as far as dvc.lock's content has them."""
    study = params.runs[run].study
    found = {
        "data_md5": locked(lock, f"ingest@{study}", paths.images(study)),
        "splits_md5": locked(lock, f"split@{study}", paths.splits(study)),
    }
    for phase in params.phases(run):
        found[f"model_md5.{phase}"] = locked(lock, f"{STAGES[phase]}@{run}", paths.phase(run, phase))
    return {name: md5 for name, md5 in found.items() if md5}


def read_lock() -> dict[str, Any]:
    """Return dvc.lock's content, {} where there is none; DVC rewrites it in place, and is waited for while it does.

    Raises:
        UserError: dvc.lock is torn, or holds the two sides of a merge.
    """
    if not paths.LOCK.exists():
        return {}
    content = recovery.whole(recovery.read_lock())
    if content is None:
        with suppress(TimeoutError), dvc.repository_lock():
            content = recovery.whole(recovery.read_lock())
    recovery.refuse_merge(recovery.read_lock())
    if content is None:
        raise UserError(f"{paths.LOCK}: torn by a killed dvc; `cnnstudy check` mends it")
    return content


def changed(lock: dict[str, Any], params: Params, stages: Iterable[str], keys: tuple[str, ...] = ()) -> str:
    """The first parameter, of `keys` if any, that is not what some stages in dvc.lock were done with; '' if none.

    In a line that says so. Stages that dvc.lock does not have say nothing.
    """
    now = files.flat(params.model_dump())
    for stage in stages:
        its = lock.get("stages", {}).get(stage, {}).get("params", {}).get(paths.PARAMS.name, {})
        then = files.flat(its)
        # What a section has had no entry for may have been given one since.
        known = {key for key in now if files.is_below(key, its)}
        for key in sorted({*then, *known}):
            if (not keys or files.is_below(key, keys)) and now.get(key) != then.get(key):
                found = f"{paths.PARAMS}: {key}: {now.get(key)} found"
                return f"{found}; allowed: {then.get(key)}, which {stage} was done with"
    return ""


def stages_of(params: Params, run: str) -> list[str]:
    """The stages that a run's numbers come from."""
    study = params.runs[run].study
    trainings = [f"{STAGES[phase]}@{run}" for phase in params.phases(run)]
    return [f"ingest@{study}", f"split@{study}", f"augment@{study}", *trainings, f"evaluate@{run}"]


def locked(lock: dict[str, Any], stage: str, path: Path) -> str | None:
    """The md5 of what a stage wrote or read, or None where dvc.lock's content has none."""
    its = lock.get("stages", {}).get(stage, {})
    entries = (*its.get("outs", []), *its.get("deps", []))
    return next((entry["md5"] for entry in entries if entry["path"] == path.as_posix()), None)


def directory_md5(folder: Path) -> str:
    """What DVC calls a directory's md5: that of the JSON list of its files' md5s and paths, with `.dir` behind it."""
    found = [path for path in folder.rglob("*") if path.is_file()]
    listing = [{"md5": files.md5(path), "relpath": path.relative_to(folder).as_posix()} for path in found]
    listing.sort(key=lambda entry: entry["relpath"])
    return text_md5(json.dumps(listing, sort_keys=True)) + ".dir"


def text_md5(text: str) -> str:
    """The md5 of a text's UTF-8."""
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def _key(run: str, md5s: list[str]) -> str:
    return text_md5(json.dumps([run, *md5s]))
