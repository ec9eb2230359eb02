"""The conditions that a net must meet to be promoted."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cnnstudy import trained
from cnnstudy.config.schema import Params
from cnnstudy.errors import UserError
from cnnstudy.serving.choice import Choice
from cnnstudy.tracking import keys
from cnnstudy.workspace import files, paths


def pass_gate(params: Params, choice: Choice) -> tuple[str, float]:
    """Return a training's headline metric and its value on the primary split, if the training may be promoted.

    The metric is the accuracy, or the mean CCC of a run that learns values.

    Raises:
        UserError: an output is missing or differs from dvc.lock, the metric is below the study's
            `promotion.minimum`, a subgroup's gap above `promotion.maximum_gap`, all predictions for a split are the
            same class, or the audit has a severe finding on the data as used that `promotion.accepted` does not name.
    """
    run, study = choice.run, params.all_runs[choice.run].study
    _check_there(paths.weights(choice.folder), params.stage("evaluate", run))
    trained.classes(params, run)
    _check_there(paths.run_metrics(run), params.stage("evaluate", run))
    _check_there(paths.audit(study), f"audit@{study}")
    for problem in _stale(params, run):
        allowed = f"what `cnnstudy repro evaluate@{run} audit@{study}` leaves"
        raise UserError(f"{problem}{', or ' if 'allowed: ' in problem else '; allowed: '}{allowed}")
    splits = json.loads(paths.run_metrics(run).read_text(encoding="utf-8"))[choice.phase]
    found = _headline(params, choice, splits)
    findings = json.loads(paths.audit(study).read_text(encoding="utf-8"))["findings"]["used"]
    severe = [each for each in findings if each["severity"] == "severe"]
    accepted = params.studies[study].promotion.accepted
    if told := [f"{each['check']}: {each['kind']}" for each in severe if each["check"] not in accepted]:
        allowed = f"nothing severe except reviewed checks in studies.{study}.promotion.accepted"
        raise UserError(f"{paths.audit(study)}: {'; '.join(told)} found; allowed: {allowed}")
    return found


def _check_there(path: Path, stage: str) -> None:
    if not path.exists():
        raise UserError(f"{path}: no such file; allowed: what `cnnstudy repro {stage}` or `dvc pull {stage}` writes")


def _headline(params: Params, choice: Choice, splits: dict[str, dict[str, Any]]) -> tuple[str, float]:
    study = params.all_runs[choice.run].study
    file, split = paths.run_metrics(choice.run), params.studies[study].primary_split
    metric = params.task_of(choice.run).headline
    value = float(splits[split][f"{metric}_seeds"][params.seeds.index(choice.seed)])
    minimum = params.studies[study].promotion.minimum
    if value < minimum:
        key = f"{choice.phase}.{split}.{metric}_seeds"
        allowed = f"at least {minimum} (studies.{study}.promotion.minimum in {paths.PARAMS})"
        raise UserError(f"{file}: {key}: {value:.3f} of seed {choice.seed} found; allowed: {allowed}")
    most, gap = params.studies[study].promotion.maximum_gap, splits[split].get("subgroup_gap", 0.0)
    if most is not None and gap > most:
        allowed = f"at most {most} (studies.{study}.promotion.maximum_gap in {paths.PARAMS})"
        raise UserError(f"{file}: {choice.phase}.{split}.subgroup_gap: {gap:.3f} found; allowed: {allowed}")
    for name, metrics in splits.items():
        if metrics.get("constant"):
            key = f"{choice.phase}.{name}.constant"
            raise UserError(f"{file}: {key}: true found; allowed: more than one class predicted")
    return metric, value


def _stale(params: Params, run: str) -> Iterator[str]:
    """Yield a line for each judged file that differs from dvc.lock, or is from another rebuild than the rest."""
    if problem := trained.changed(params, run):
        yield problem
    lock, study = keys.read_lock(), params.all_runs[run].study
    trainings = [keys.training_stage(params, run, phase) for phase in params.phases(run)]
    evaluate, audit = params.stage("evaluate", run), f"audit@{study}"
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
            yield f"{path}: not what {paths.LOCK} has for {stage}"
