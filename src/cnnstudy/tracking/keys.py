"""Identities of runs: a key from the inputs of the training, and the MD5 hashes of its models."""

import hashlib
import json
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cnnstudy.config.schema import Params
from cnnstudy.errors import UserError
from cnnstudy.workspace import dvc, files, paths, recovery


def training_stage(params: Params, run: str, phase: str) -> str:
    """Return the stage that trains a phase of a run."""
    return params.stage({"base": "train", "tuned": "finetune"}[phase], run)


# The prefix of internal tags, which are of no use to a person who looks for a run.
OWN = "cnnstudy."


@dataclass(frozen=True)
class RunIdentity:
    """The identity of a run: its key, known before training, and afterwards the MD5 hashes of its models by phase."""

    key: str
    models: dict[str, str]

    @property
    def model(self) -> str:
        """One MD5 hash of all phases' models; runs with the same key differ in it if trained on other hardware."""
        return text_md5(json.dumps(self.models, sort_keys=True))


def planned_key(run: str, params: Params) -> str:
    """Return the key of a run before its training, from its stages' dependencies in the working directory.

    Raises:
        UserError: DVC can't read dvc.yaml.
    """
    return _key(run, dvc.lock_entries([training_stage(params, run, phase) for phase in params.phases(run)]))


def identity(run: str, params: Params) -> RunIdentity:
    """Return the identity of a run's models in the working directory.

    Its key is from dvc.lock if that has these models, else from the stages' current dependencies.

    Raises:
        UserError: DVC can't read dvc.yaml.
    """
    models = {phase: directory_md5(paths.phase(run, phase)) for phase in params.phases(run)}
    known = lock_identity(read_lock(), run, params)
    return known if known and known.models == models else RunIdentity(planned_key(run, params), models)


def lock_identity(lock: dict[str, Any], run: str, params: Params) -> RunIdentity | None:
    """Return the identity of a run in the content of dvc.lock, or None if a phase is missing there."""
    stages = {phase: training_stage(params, run, phase) for phase in params.phases(run)}
    models = {phase: locked(lock, stage, paths.phase(run, phase)) for phase, stage in stages.items()}
    whole = {phase: md5 for phase, md5 in models.items() if md5}
    if whole != models:
        return None
    return RunIdentity(_key(run, [lock["stages"][stage] for stage in stages.values()]), whole)


def md5_tags(lock: dict[str, Any], run: str, params: Params) -> dict[str, str]:
    """Return the md5s of a run's images, splits and models by phase, as far as dvc.lock has them."""
    study = params.all_runs[run].study
    found = {
        f"{OWN}data_md5": locked(lock, f"ingest@{study}", paths.images(study)),
        f"{OWN}splits_md5": locked(lock, f"split@{study}", paths.splits(study)),
    }
    for phase in params.phases(run):
        found[f"{OWN}model_md5.{phase}"] = locked(lock, training_stage(params, run, phase), paths.phase(run, phase))
    return {name: md5 for name, md5 in found.items() if md5}


def read_lock() -> dict[str, Any]:
    """Return dvc.lock's content, {} if there is none; waits while DVC rewrites it in place.

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
    """Return a line on the first parameter, among `keys` if given, that differs from dvc.lock's stages; '' if none.

    Stages that are not in dvc.lock are skipped.
    """
    now = files.flat(params.model_dump(exclude_unset=True))  # as params.yaml, and so dvc.lock, has it
    for stage in stages:
        its = lock.get("stages", {}).get(stage, {}).get("params", {}).get(paths.PARAMS.name, {})
        then = files.flat(its)
        # A section may have gained keys since then.
        known = {key for key in now if files.is_below(key, its)}
        for key in sorted({*then, *known}):
            if (not keys or files.is_below(key, keys)) and now.get(key) != then.get(key):
                found = f"{paths.PARAMS}: {key}: {now.get(key)} found"
                return f"{found}; allowed: {then.get(key)}, with which {stage} was run"
    return ""


def stages_of(params: Params, run: str) -> list[str]:
    """Return the stages that a run's results come from."""
    study = params.all_runs[run].study
    trainings = [training_stage(params, run, phase) for phase in params.phases(run)]
    return [f"ingest@{study}", f"split@{study}", f"augment@{study}", *trainings, params.stage("evaluate", run)]


def locked(lock: dict[str, Any], stage: str, path: Path) -> str | None:
    """Return the MD5 hash of a stage's output or dependency in the content of dvc.lock, or None."""
    its = lock.get("stages", {}).get(stage, {})
    entries = (*its.get("outs", []), *its.get("deps", []))
    return next((entry["md5"] for entry in entries if entry["path"] == path.as_posix()), None)


def directory_md5(folder: Path) -> str:
    """Return DVC's md5 of a directory: that of the JSON list of the files' md5s and paths, followed by `.dir`."""
    found = [path for path in folder.rglob("*") if path.is_file()]
    listing = [{"md5": files.md5(path), "relpath": path.relative_to(folder).as_posix()} for path in found]
    listing.sort(key=lambda entry: entry["relpath"])
    return text_md5(json.dumps(listing, sort_keys=True)) + ".dir"


def text_md5(text: str) -> str:
    """Return the MD5 hash of a text in UTF-8."""
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def _key(run: str, entries: list[dict[str, Any]]) -> str:
    """Return the MD5 hash of all dependencies of a run's training stages: parameters, code and data.

    By these DVC itself decides whether to train again; they are in every commit's dvc.lock and need no TensorFlow. The
    models that one phase hands to the next are left out: they are not known before the training, and follow from the
    rest and the hardware.
    """
    own = paths.model(run)

    def used(entry: dict[str, Any]) -> dict[str, Any]:
        deps = {each["path"]: each.get("md5") for each in entry.get("deps", [])}
        known = {path: md5 for path, md5 in deps.items() if not Path(path).is_relative_to(own)}
        return {"deps": known, "params": entry.get("params", {})}

    return text_md5(json.dumps([run, [used(entry) for entry in entries]], sort_keys=True))
