"""What a net must be before people use it."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cnnstudy import trained
from cnnstudy.config.schema import HEADLINE, Params
from cnnstudy.errors import UserError
from cnnstudy.serving.choice import Choice
from cnnstudy.tracking import keys
from cnnstudy.workspace import files, paths


def pass_gate(params: Params, choice: Choice) -> float:
    """The accuracy of a training on its headline split, if it may be promoted.

    Raises:
        UserError: an output is missing or not of what dvc.lock has, the accuracy is below `promotion.minimum`, some
            split got one answer for every image, or the audit found something severe in the data as it is used.
    """
    run, study = choice.run, params.runs[choice.run].study
    _check_there(paths.weights(choice.folder), f"evaluate@{run}")
    trained.classes(params, run)
    _check_there(paths.run_metrics(run), f"evaluate@{run}")
    _check_there(paths.audit(study), f"audit@{study}")
    for problem in _stale(params, run):
        allowed = f"what `cnnstudy repro evaluate@{run} audit@{study}` leaves"
        raise UserError(f"{problem}{', or ' if 'allowed: ' in problem else '; allowed: '}{allowed}")
    splits = json.loads(paths.run_metrics(run).read_text(encoding="utf-8"))[choice.phase]
    accuracy = _accuracy(params, choice, splits)
    findings = json.loads(paths.audit(study).read_text(encoding="utf-8"))["findings"]["as it is used"]
    severe = [f"{each['check']}: {each['kind']}" for each in findings if each["severity"] == "severe"]
    if severe:
        raise UserError(f"{paths.audit(study)}: {'; '.join(severe)} found; allowed: nothing severe")
    return accuracy


def _check_there(path: Path, stage: str) -> None:
    if not path.exists():
        raise UserError(f"{path}: no such file; allowed: what `cnnstudy repro {stage}` or `dvc pull {stage}` writes")


def _accuracy(params: Params, choice: Choice, splits: dict[str, dict[str, Any]]) -> float:
    study = params.runs[choice.run].study
    file, split = paths.run_metrics(choice.run), HEADLINE[study]
    accuracy = float(splits[split]["accuracy_seeds"][params.seeds.index(choice.seed)])
    minimum = getattr(params.promotion.minimum, study)
    if accuracy < minimum:
        key = f"{choice.phase}.{split}.accuracy_seeds"
        allowed = f"at least {minimum} (promotion.minimum.{study} in {paths.PARAMS})"
        raise UserError(f"{file}: {key}: {accuracy:.3f} of seed {choice.seed} found; allowed: {allowed}")
    for name, metrics in splits.items():
        if metrics["constant"]:
            raise UserError(f"{file}: {choice.phase}.{name}.constant: true found; allowed: more than one answer")
    return accuracy


def _stale(params: Params, run: str) -> Iterator[str]:
    """What of the files that are judged is not of one rebuild, by dvc.lock."""
    if problem := trained.changed(params, run):
        yield problem
    lock, study = keys.read_lock(), params.runs[run].study
    trainings = [f"{keys.STAGES[phase]}@{run}" for phase in params.phases(run)]
    evaluate, audit = f"evaluate@{run}", f"audit@{study}"
    readers = {
        paths.images(study): (f"ingest@{study}", audit, *trainings),
        paths.splits(study): (f"split@{study}", audit, *trainings),
        paths.phase(run, "base"): trainings,
    }
    for path, stages in readers.items():
        if len({keys.locked(lock, stage, path) for stage in stages}) > 1:
            yield f"{paths.LOCK}: {path} is not the same for {', '.join(stages)}"
    there = {
        paths.model(run): (evaluate, keys.directory_md5(paths.model(run))),
        paths.run_metrics(run): (evaluate, files.md5(paths.run_metrics(run))),
        paths.audit(study): (audit, files.md5(paths.audit(study))),
    }
    for path, (stage, md5) in there.items():
        if keys.locked(lock, stage, path) != md5:
            yield f"{path}: not what {paths.LOCK} has of {stage}"
