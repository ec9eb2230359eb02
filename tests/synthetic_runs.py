"""Samples, histories and predictions of runs that were never trained, as the stages before would leave them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from built import content

from cnnstudy.config.params import read_params
from cnnstudy.config.schema import Params
from cnnstudy.data import samples
from cnnstudy.data.sources import synthetic
from cnnstudy.export.litert import PRECISIONS
from cnnstudy.workspace import files, paths

ROOT = Path(__file__).parents[1]
SIZES = {
    "faces": {"train": 96, "val": 32, "tune": 40, "test": 32, "tune_holdout": 32},
    "xray": {"train": 40, "val": 10, "test": 40},
}
MODES = ("moving", "recalibrated", "batch")


def params_with(runs: tuple[str, ...], **changes: Any) -> Params:
    """Parameters with some runs only, and other values for some keys (see `built.content`), written to params.yaml."""
    found = content(**changes)
    for section in ("runs", "finetuned", "exported"):
        found[section] = {name: entry for name, entry in found[section].items() if name in runs}
    for ablation in found["ablations"].values():
        ablation["runs"] = {name: x for name, x in ablation["runs"].items() if name in runs}
    found["ablations"] = {name: entry for name, entry in found["ablations"].items() if entry["runs"]}
    Path("params.yaml").write_text(yaml.safe_dump(found, sort_keys=False), encoding="utf-8")
    return read_params()


def write_samples(params: Params, study: str) -> None:
    """samples.csv, splits.csv, specifications and images.npy (noise, 8 x 8), classes in turn, and the policies."""
    classes = list(params.studies[study].classes)
    splits = [split for split, n in SIZES[study].items() for _ in range(n)]
    rows = [
        (i, classes[i % len(classes)], "", "", "synthetic", f"{split}/{i}", f"{i:064x}", 8, 8, "RGB", 192)
        for i, split in enumerate(splits)
    ]
    paths.samples(study).parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(rows, columns=list(samples.COLUMNS)).to_csv(paths.samples(study), index=False)
    pd.DataFrame({"id": range(len(splits)), "split": splits}).to_csv(paths.splits(study), index=False)
    np.save(paths.images(study), np.random.default_rng(0).integers(0, 256, (len(splits), 8, 8, 3), dtype=np.uint8))
    shown = [f"{split}/{classes[i % len(classes)]}/{i}" for i, split in enumerate(splits)]
    synthetic.write_specifications(params, study, shown, paths.specifications(study))
    paths.policies(study).mkdir(parents=True, exist_ok=True)
    for name, policy in params.studies[study].policies.items():
        images = ["train"] * SIZES[study]["train"] * (1 + policy.level)
        pd.DataFrame({"id": range(len(images)), "split": images}).to_csv(paths.policy(study, name), index=False)


def write_run(params: Params, run: str, skill: float = 1.5, stuck: str = "") -> None:
    """History, predictions and maps of every phase and seed; `skill` 0 is chance, the mode `stuck` gives one answer."""
    study = params.runs[run].study
    _write_layers(params, run)
    for phase in params.phases(run):
        files.write_text(
            paths.facts(run, phase), '{"precision": "float32", "jit": false, "replicas": 1, "deterministic": true}\n'
        )
        for seed in params.seeds:
            rng = np.random.default_rng([seed, *run.encode(), len(phase)])
            folder = paths.seed(run, phase, seed)
            folder.mkdir(parents=True, exist_ok=True)
            _history(rng, skill).to_csv(paths.history(folder), index=False)
            arrays = _arrays(rng, params, study, skill, stuck)
            np.savez_compressed(paths.predictions(folder), **arrays)  # type: ignore[arg-type]
            if seed == params.seeds[0]:
                np.savez_compressed(paths.gradcam(folder), **_maps(rng, params, study, arrays))  # type: ignore[arg-type]


def _write_layers(params: Params, run: str) -> None:
    from cnnstudy.models import assemble  # TensorFlow takes seconds
    from cnnstudy.models.table import layer_table

    study = params.study_of(run)
    design = assemble.design_of(params, run, len(study.classes), study.paper_image_size)
    paths.layers(run).parent.mkdir(parents=True, exist_ok=True)
    layer_table(assemble.sketch(design)).to_csv(paths.layers(run), index=False)


def write_export(run: str, side: int) -> None:
    """Return export.json of a run, with int8 a little worse and latency for images of `side` pixels."""
    measured = {"bytes": 12_800_000, "accuracy": 0.75, "agreement": 1.0, "largest_difference": 0.0}
    worse = {"bytes": 3_480_000, "accuracy": 0.7425, "agreement": 0.98, "largest_difference": 0.05}
    content = {"side": 64, "calibration": 96, "images": 32, "keras": {"accuracy": 0.75}}
    answers = dict.fromkeys(PRECISIONS, measured) | {"int8": worse}
    files.write_text(paths.export_metrics(run), json.dumps(content | answers))
    times = {each: {"median_ms": 1.25, "p95_ms": 1.5} for each in PRECISIONS}
    known = json.loads(paths.LATENCY.read_text())["runs"] if paths.LATENCY.exists() else {}
    runs = known | {run: {"side": side} | times}
    files.write_text(paths.LATENCY, json.dumps({"machine": {"cpu": "A processor"}, "runs": runs}))


def _history(rng: np.random.Generator, skill: float, epochs: int = 6) -> pd.DataFrame:
    rise = skill * np.linspace(0.1, 0.5, epochs)
    noise = rng.normal(scale=0.02, size=(4, epochs))
    columns = (0.2 + 0.5 * rise, 2 - rise, 0.2 + 0.4 * rise, 2.1 - 0.8 * rise)
    values = {
        name: column + each
        for name, column, each in zip(("accuracy", "loss", "val_accuracy", "val_loss"), columns, noise, strict=True)
    }
    return pd.DataFrame({"epoch": range(1, epochs + 1), **values})


def _arrays(rng: np.random.Generator, params: Params, study: str, skill: float, stuck: str) -> dict[str, np.ndarray]:
    classes = len(params.studies[study].classes)
    arrays: dict[str, np.ndarray] = {}
    start = 0
    for split, n in SIZES[study].items():
        ids = np.arange(start, start + n)
        start += n
        arrays |= {f"{split}/id": ids, f"{split}/label": ids % classes}
        predicted = {mode: _probabilities(rng, ids % classes, classes, skill, mode == stuck) for mode in MODES}
        counting = MODES if split == params.studies[study].primary_split else (params.batchnorm,)
        arrays |= {f"{split}/{mode}": predicted[mode] for mode in counting}
    if study == "xray":
        ids = np.repeat(np.arange(SIZES[study]["train"]), 2)
        arrays |= {"train_augmented/id": ids, "train_augmented/label": ids % classes}
        stuck_here = params.batchnorm == stuck
        arrays[f"train_augmented/{params.batchnorm}"] = _probabilities(rng, ids % classes, classes, skill, stuck_here)
    return arrays


def _maps(
    rng: np.random.Generator, params: Params, study: str, predictions: dict[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """gradcam.npz: noise for some images."""
    split = params.studies[study].primary_split
    ids, labels, probabilities = (predictions[f"{split}/{name}"] for name in ("id", "label", params.batchnorm))
    predicted = probabilities.argmax(axis=1)
    arrays: dict[str, np.ndarray] = {}
    for name, chosen in (("correct", predicted == labels), ("mistakes", predicted != labels)):
        rows = np.flatnonzero(chosen)[:24]
        arrays |= {f"{name}/id": ids[rows], f"{name}/label": labels[rows], f"{name}/predicted": predicted[rows]}
        arrays |= {f"{name}/probability": probabilities[rows].max(axis=1)}
        arrays |= {f"{name}/map": rng.integers(0, 256, (len(rows), 4, 4), np.uint8)}
    return arrays | {"measured/id": ids, "measured/map": rng.integers(0, 256, (len(ids), 4, 4), np.uint8)}


def _probabilities(rng: np.random.Generator, labels: np.ndarray, classes: int, skill: float, stuck: bool) -> np.ndarray:
    logits = rng.normal(size=(len(labels), classes)) + skill * np.eye(classes)[labels] + 20 * stuck * np.eye(classes)[0]
    odds = np.exp(logits)
    return (odds / odds.sum(axis=1, keepdims=True)).astype(np.float32)
