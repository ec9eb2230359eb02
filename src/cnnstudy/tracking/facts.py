"""What is recorded of a run: a function of the files that DVC holds, and of where it ran."""

import hashlib
import json
import os
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from cnnstudy import paths
from cnnstudy.params import Params

# (name, value, step)
Measure = tuple[str, float, int]


@dataclass(frozen=True)
class Record:
    """One MLflow run: its name, study, parameters, tags, metrics, and folders and files to show.

    `artifacts` maps a file to the folder it is shown in ('' for none).
    """

    name: str
    study: str
    key: str
    params: dict[str, str]
    tags: dict[str, str]
    metrics: list[Measure]
    artifacts: dict[Path, str] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """A hash of everything that is recorded."""
        files = [(str(path), folder, path.read_bytes().hex()) for path, folder in sorted(self.artifacts.items())]
        content = json.dumps([self.name, self.params, self.tags, self.metrics, files], sort_keys=True)
        return hashlib.md5(content.encode(), usedforsecurity=False).hexdigest()


def run_record(params: Params, run: str, key: str) -> Record:
    """What is recorded of a training, from params.yaml, metrics, histories and figures."""
    study = params.runs[run].study
    metrics = json.loads(paths.run_metrics(run).read_text(encoding="utf-8"))
    measures = [*_final(metrics), *_curves(params, run)]
    folder = paths.run_plots(run) / "figures"
    figures = {path: path.name.split("-")[0] if "-" in path.name else "" for path in sorted(folder.iterdir())}
    tags = {**_tags(params, run), "constant": str(_is_constant(metrics)).lower()}
    return Record(run, study, key, _settings(params, run), tags, measures, {**figures, paths.run_metrics(run): ""})


def ablation_record(params: Params, name: str) -> Record:
    """What is recorded of an ablation: its table, its curve, and the metrics of its members along the axis."""
    ablation = params.ablations[name]
    folder = paths.ablation_plots(name)
    table = pd.read_csv(folder / "curve.csv")
    key = hashlib.md5(paths.ablation_metrics(name).read_bytes(), usedforsecurity=False).hexdigest()
    numbers = table.select_dtypes("number").drop(columns="x")
    measures = [
        (str(column), float(value), int(x))
        for column in numbers.columns
        for x, value in zip(table["x"], numbers[column], strict=True)
        if pd.notna(value)
    ]
    settings = {"axis": ablation.axis, "runs": ", ".join(ablation.runs), **_shared_settings(params, ablation.study)}
    tags = {"kind": "ablation", "ablation": name, **_shared_tags(params, ablation.study)}
    files = dict.fromkeys((*sorted(folder.iterdir()), paths.ablation_metrics(name)), "")
    return Record(f"ablation: {name}", ablation.study, key, settings, tags, measures, files)


def environment_tags() -> dict[str, str]:
    """Where a run ran: commit, branch, and the name that `dvc exp` gave it."""
    tags = {
        "git_commit": os.environ.get("DVC_EXP_BASELINE_REV") or _git("rev-parse", "HEAD"),
        "git_branch": _git("rev-parse", "--abbrev-ref", "HEAD"),
        "dvc_experiment": os.environ.get("DVC_EXP_NAME", ""),
    }
    tags["mlflow.source.git.commit"] = tags["git_commit"]
    return {name: value for name, value in tags.items() if value}


def dataset_digest(study: str) -> str:
    """A hash of a study's samples (which hold each image's own) and of its splits."""
    content = paths.samples(study).read_bytes() + paths.splits(study).read_bytes()
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def _git(*arguments: str) -> str:
    try:
        return subprocess.run(["git", *arguments], capture_output=True, text=True, check=False).stdout.strip()
    except OSError:
        return ""


def _final(metrics: dict[str, dict[str, dict[str, Any]]]) -> list[Measure]:
    return [
        (f"{phase}/{split}_{name}", float(value), 0)
        for phase, splits in metrics.items()
        for split, numbers in splits.items()
        for name, value in numbers.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    ]


def _curves(params: Params, run: str) -> list[Measure]:
    """Per-epoch values, the mean over the seeds."""
    measures = []
    for phase in params.phases(run):
        tables = [pd.read_csv(paths.history(paths.seed(run, phase, seed))) for seed in params.seeds]
        mean = pd.concat(tables).groupby("epoch").mean()
        for name in mean.columns:
            measures += [(f"{phase}-epochs/{name}", float(value), int(epoch)) for epoch, value in mean[name].items()]
    return measures


def _is_constant(metrics: dict[str, dict[str, dict[str, Any]]]) -> bool:
    return any(bool(numbers.get("constant")) for splits in metrics.values() for numbers in splits.values())


def _settings(params: Params, run: str) -> dict[str, str]:
    """A run's own settings and its study's, flat."""
    settings = params.runs[run]
    plan = params.plans[settings.plan]
    own = {
        "net": settings.net,
        "depth": settings.depth,
        "widths": settings.widths,
        **{f"augmentation.{name}": value for name, value in plan if name != "study"},
    }
    return {name: str(value) for name, value in own.items() if value is not None} | _shared_settings(params, settings.study)


def _shared_settings(params: Params, name: str) -> dict[str, str]:
    study = params.faces if name == "faces" else params.xray
    shared: dict[str, Any] = {
        "image_size": study.image_size,
        "batch_size": study.batch_size,
        "epochs": study.epochs,
        **({"tuned_epochs": params.faces.tuned_epochs} if name == "faces" else {}),
        **{f"adam.{key}": value for key, value in params.training},
        **{f"split.{key}": value for key, value in study.split},
        "batchnorm": params.batchnorm,
        "seeds": params.seeds,
        "data_seed": params.data_seed,
        "split_seed": params.split_seed,
        "threads": params.compute.threads,
        "source": params.sources.faces.format if name == "faces" else params.sources.xray.format,
    }
    return {key: str(value) for key, value in shared.items()}


def _tags(params: Params, run: str) -> dict[str, str]:
    settings = params.runs[run]
    optional = {"depth": settings.depth, "widths": settings.widths}
    own = {
        "kind": "run",
        "run": run,
        "net": settings.net,
        "plan": settings.plan,
        "augment_level": params.plans[settings.plan].level,
        "phases": ", ".join(params.phases(run)),
        **{name: value for name, value in optional.items() if value is not None},
        **{f"ablation.{name}": "true" for name, ablation in params.ablations.items() if run in ablation.runs},
    }
    return {name: str(value) for name, value in own.items()} | _shared_tags(params, settings.study)


def _shared_tags(params: Params, study: str) -> dict[str, str]:
    return {
        "study": study,
        "model": params.model,
        "profile": params.profile,
        "recipe": params.recipe,
        "data": params.faces_data if study == "faces" else params.xray_data,
        "batchnorm": params.batchnorm,
        "data_md5": dataset_digest(study),
    }
