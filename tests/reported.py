"""Evaluated runs and audits as the page finds them, made without training."""

import json
from pathlib import Path

import built
import numpy as np
import synthetic_runs
from PIL import Image

from cnnstudy.config.schema import Params
from cnnstudy.evaluation import results
from cnnstudy.evaluation.ablation import write_ablation
from cnnstudy.evaluation.run import evaluate_run
from cnnstudy.report import page
from cnnstudy.workspace import paths

RUNS = ("alexnet", "mobilenet", "xray-aug1", "xray-aug4")
# Recipes that the page must tell apart.
FACES = built.TRAINING | {"learning_rate": 0.006, "augmentation": 0.4}
XRAY = built.TRAINING | {"learning_rate": 0.001, "relative_update": 40.0, "schedule": "warmup-stable-decay"}


def make_workspace() -> Params:
    """Fill the working directory; xray-aug1 answers one class for everything, an audit found an odd file name."""
    recipes = {"studies__faces__training": FACES, "studies__xray__training": XRAY}
    params = synthetic_runs.params_with(RUNS, studies__xray__not_for="Not for clinical use.", **recipes)
    for study in params.studies:
        synthetic_runs.write_samples(params, study)
        write_audit(study, list(params.studies[study].classes))
    for run in params.runs:
        synthetic_runs.write_run(params, run, stuck="recalibrated" if run == "xray-aug1" else "")
        evaluate_run(params, run)
    for name in params.ablations:
        write_ablation(params, name)
    synthetic_runs.write_export("alexnet", side=128)  # timed before the size of images changed
    synthetic_runs.write_export("mobilenet", side=64)
    for name, settings in params.studies.items():
        for policy in settings.policies:
            write_sheet(paths.policy_figure(name, policy))
    return params


def write_audit(study: str, classes: list[str]) -> None:
    finding = {
        "check": "leak",
        "kind": "identical files",
        "severity": "severe",
        "count": 2,
        "advice": "Look at <b>a&b</b>.png",
    }
    baselines = {"largest_class": {"train": 0.5, "val": 0.5}, "linear": {"train": 0.9, "val": 0.6125}}
    content = {"images": 90, "balance": {"train": dict.fromkeys(classes, 9)}, "findings": {"used": [finding]},
               "not_used": [], "baselines": baselines, "files": {"samples.csv": f"{study} md5"},
               "unlike_training_images": {"train": 0.05, "val": 0.05, "tune": 0.4}}  # fmt: skip
    paths.audit(study).parent.mkdir(parents=True, exist_ok=True)
    paths.audit(study).write_text(json.dumps(content))
    write_sheet(paths.audit_plots(study) / "samples.png")


def write_sheet(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(0).integers(0, 256, (1000, 1600, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, compress_level=0)


def render(params: Params) -> str:
    root = synthetic_runs.ROOT
    settings = ["model=all", "seeds=[0,1]"]
    metrics = results.read_metrics(params)
    return page.render(params, metrics, settings, root / paths.REFERENCE, root / paths.REQUIREMENTS)
