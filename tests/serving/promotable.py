"""A workspace whose runs may be promoted: of synthetic runs, with nets that were never trained."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from tracking.finished_runs import METRICS, finish, write_metrics

from cnnstudy.config.schema import Params
from cnnstudy.data import familiarity
from cnnstudy.data.samples import Dataset
from cnnstudy.models import assemble
from cnnstudy.tracking import keys
from cnnstudy.workspace import files, paths

ROOT = Path(__file__).parents[2]
GOOD = METRICS | {"accuracy": 0.9, "accuracy_seeds": [0.9, 0.8]}
SEEDS = (0, 7)


def make(runs: tuple[str, ...], has_nets: bool = True) -> Params:
    """Write the files of some runs of two seeds, with a lock that holds them, into the working directory."""
    params = finish(
        runs,
        SEEDS,
        studies__faces__promotion={"minimum": 0.6},
        studies__xray__not_for="Not for a test.",
        studies__xray__limits="Images are limited.",
    )
    shutil.copy(ROOT / paths.REQUIREMENTS, paths.REQUIREMENTS)
    for run in runs:
        write_metrics(params, run, GOOD)
        write_findings(params.runs[run].study, "balance", "info")
        write_familiarity(params.runs[run].study)
        for phase in params.phases(run):
            for seed in params.seeds:
                file = paths.weights(paths.seed(run, phase, seed))
                if has_nets:
                    write_net(params, run, file)
                else:
                    file.write_text(f"{run} {phase} {seed}")
    write_lock(params)
    return params


def write_net(params: Params, run: str, file: Path) -> None:
    """New random weights."""
    design = assemble.design_of(params, run, len(params.study_of(run).classes))
    assemble.build(design, seed=0).save_weights(file)


def write_findings(study: str, check: str, severity: str) -> None:
    """Write an audit with one finding."""
    found = {"used": [{"check": check, "kind": f"some {check}", "severity": severity}]}
    paths.audit(study).write_text(json.dumps({"findings": found}))


def write_familiarity(study: str) -> None:
    """Write a model of grey images."""
    grey = np.random.default_rng(0).integers(100, 156, (8, 32, 32, 3), np.uint8)
    dataset = Dataset(grey, np.zeros(8, np.int64), np.array(["train"] * 5 + ["val"] * 3), ("one",))
    familiarity.write(familiarity.fit(dataset), paths.familiarity(study))


def write_lock(params: Params) -> None:
    """Write the part of dvc.lock with the workspace's files."""
    stages: dict[str, dict[str, Any]] = {}

    def add(stage: str, kind: str, path: Path) -> None:
        md5 = keys.directory_md5(path) if path.is_dir() else files.md5(path)
        stages.setdefault(stage, {"cmd": f"run {stage}"}).setdefault(kind, []).append(
            {"path": path.as_posix(), "md5": md5}
        )

    for study in params.studies:
        add(f"ingest@{study}", "outs", paths.images(study))
        add(f"split@{study}", "outs", paths.splits(study))
        for path in (paths.images(study), paths.splits(study)):
            add(f"audit@{study}", "deps", path)
        add(f"audit@{study}", "outs", paths.audit(study))
    for run, settings in params.runs.items():
        for phase in params.phases(run):
            stage = keys.training_stage(params, run, phase)
            for path in (paths.images(settings.study), paths.splits(settings.study)):
                add(stage, "deps", path)
            add(stage, "outs", paths.phase(run, phase))
        if "tuned" in params.phases(run):
            add(f"finetune@{run}", "deps", paths.phase(run, "base"))
        add(f"evaluate@{run}", "deps", paths.model(run))
        add(f"evaluate@{run}", "outs", paths.run_metrics(run))
    paths.LOCK.write_text(yaml.safe_dump({"schema": "2.0", "stages": stages}))
