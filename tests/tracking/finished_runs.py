"""A workspace as the stages leave it when they are done, with small stand-ins for figures."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from synthetic_runs import ROOT, params_with, write_export, write_run, write_samples

from cnnstudy.config.schema import Params
from cnnstudy.workspace import paths

RUNS = ("alexnet", "xray-aug3", "xray-aug4")
METRICS: dict[str, object] = {
    "n": 40,
    "accuracy": 0.5,
    "loss": 1.25,
    "auc": 0.75,
    "constant": False,
    "accuracy_seeds": [0.5],
}
METRICS |= {"accuracy_low": 0.25, "accuracy_high": 0.625}


def finish(runs: tuple[str, ...] = RUNS, seeds: tuple[int, ...] = (0,), **changes: Any) -> Params:
    """Write every file of some runs and their ablations into the working directory; `changes` as `built.content`."""
    params = params_with(runs, seeds=list(seeds), **changes)
    shutil.copy(ROOT / "dvc.yaml", "dvc.yaml")
    Path(".dvc").mkdir(exist_ok=True)
    Path(".dvc/config").write_text("[core]\n    no_scm = True\n")
    for study in params.studies:
        write_samples(params, study)
        _write_audit(study)
    for run in params.runs:
        write_run(params, run)
        write_metrics(params, run, METRICS | {"accuracy_seeds": [0.5] * len(seeds)})
        _write_figures(params, run)
        if run in params.finetuned:
            write_export(run, side=64)
    for name, ablation in params.ablations.items():
        _write_ablation(name, ablation.runs)
    return params


def write_metrics(params: Params, run: str, metrics: dict[str, object]) -> None:
    """Write the same metrics for every phase and split."""
    splits = ("train", "val", "tune", "test") if params.runs[run].study == "faces" else ("train", "val", "test")
    content = {phase: dict.fromkeys(splits, metrics) for phase in params.phases(run)}
    paths.run_metrics(run).parent.mkdir(parents=True, exist_ok=True)
    paths.run_metrics(run).write_text(json.dumps(content))


def _write_audit(study: str) -> None:
    findings = [("balance", "info"), ("shortcut", "severe"), ("copies", "warning"), ("drift", "warning")]
    used = [{"check": check, "severity": severity} for check, severity in findings]
    paths.audit(study).parent.mkdir(parents=True, exist_ok=True)
    paths.audit(study).write_text(json.dumps({"findings": {"used": used}}))


def _write_figures(params: Params, run: str) -> None:
    folder = paths.run_plots(run) / "figures"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "layers.csv").write_text("type,parameters\n")
    for phase in params.phases(run):
        for name in ("curves.png", "test-confusion.png", "test-confusion.csv", "test-report.txt"):
            (folder / f"{phase}-{name}").write_text(f"{run} {phase} {name}")


def _write_ablation(name: str, runs: Mapping[str, object]) -> None:
    rows = []
    for place, (run, x) in enumerate(runs.items()):
        accuracy = (x if isinstance(x, int) else place) / 10
        interval = {"test_accuracy_low": accuracy / 2, "test_accuracy_high": (1 + accuracy) / 2}
        rows.append({"run": run, "phase": "base", "x": x, "constant": False, "test_accuracy": accuracy} | interval)
    table = pd.DataFrame(rows).assign(train_accuracy=1)
    folder, metrics = paths.ablation_plots(name), paths.ablation_metrics(name)
    folder.mkdir(parents=True, exist_ok=True)
    metrics.parent.mkdir(parents=True, exist_ok=True)
    table.to_csv(folder / "curve.csv", index=False)
    (folder / "curve.png").write_text(name)
    metrics.write_text(json.dumps(table.to_dict()))
