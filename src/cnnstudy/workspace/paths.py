"""Every path of the project, relative to the repository root where DVC runs the stages."""

import os
from pathlib import Path

PARAMS = Path("params.yaml")
LOCK = Path("dvc.lock")
CONF = Path("conf")
REQUIREMENTS, GPU_REQUIREMENTS = Path("requirements.lock"), Path("requirements-gpu.lock")
REFERENCE = Path("data/reference")
SUMMARY = Path("metrics/summary.json")
REPORT = Path("report/index.html")
FACTS = Path("training.json")
ARTIFACTS = Path("models/dvc.yaml")
LAYERS = Path("layers.csv")
ENVIRONMENT = Path("environment.json")
# The latency of LiteRT files, and the machine it was measured on: not a DVC output.
LATENCY = Path("metrics/export/latency.json")
# Results of `cnnstudy recipes`.
RECIPES = Path("metrics/recipes")
# Figures of two commits side by side.
COMPARED = Path("compared")
# DVC's list of the files that its processes read and write.
RWLOCK = Path(".dvc/tmp/rwlock")
# What DVC locks while it reads and writes its files.
DVC_LOCK = Path(".dvc/tmp/lock")
# When each phase was trained, by the md5 of what it wrote (see cnnstudy.tracking.times).
TIMES = Path(".dvc/tmp/times")
# Held while `cnnstudy repro` runs.
REBUILD_LOCK = Path(".dvc/tmp/stages/rebuild.lock")
# A copy of dvc.lock after a rebuild's last finished stage, kept until the rebuild is complete.
KEPT_LOCK = Path(".dvc/tmp/stages/dvc.lock")
# The stages in dvc.lock when a rebuild began, one per line, kept until the rebuild is complete.
KEPT_ORDER = Path(".dvc/tmp/stages/order")


def recipes(name: str) -> Path:
    """Recipes compared on the data of `<study>-<choice of data>` (see cnnstudy.commands.recipes)."""
    return RECIPES / f"{name}.json"


def other_splits(name: str) -> Path:
    """The accuracy on other splits of the data of `<study>-<choice of data>` (see cnnstudy.commands.resample)."""
    return Path("metrics/splits", f"{name}.json")


def suspects(study: str) -> Path:
    """suspects.csv and sheets of images that look mislabelled (see cnnstudy.commands.resample)."""
    return Path("data", study, "suspects")


def recipes_figure(name: str) -> Path:
    """The figure of the curves of `recipes`."""
    return RECIPES / f"{name}.png"


def root() -> Path:
    """The repository's root, from DVC_ROOT for an experiment, which may run in a copy of the repository."""
    if named := os.environ.get("DVC_ROOT"):
        return Path(named).resolve()
    here = Path.cwd()
    return next((folder for folder in (here, *here.parents) if (folder / ".dvc").is_dir()), here)


def checkpoints() -> Path:
    """Unfinished trainings: a folder for each phase, with the finished seeds and the state of the next one."""
    return root() / "checkpoints"


def stage_lock(stage: str) -> Path:
    """The file that is locked while a stage runs."""
    return Path(".dvc/tmp/stages", f"{stage}.lock")


def check_ok(study: str) -> Path:
    """The order of the study's classes, written if params.yaml is valid."""
    return Path("data", study, "check.ok")


def samples(study: str) -> Path:
    """A row for each image: id, label, group, hint, source, path, sha256, width, height, mode, bytes."""
    return Path("data", study, "samples.csv")


def images(study: str) -> Path:
    """uint8 [N, H, W, 3]; row i is the sample with id i."""
    return Path("data", study, "images.npy")


def specifications(study: str) -> Path:
    """Return the path of the synthetic specifications: a line of JSON, or null, for each row of samples.csv."""
    return Path("data", study, "specifications.jsonl")


def rejects(study: str) -> Path:
    """The rejected files: path, reason."""
    return Path("data", study, "rejects.csv")


def splits(study: str) -> Path:
    """A row for each sample: id, split (train, val, tune, test or dropped)."""
    return Path("data", study, "splits.csv")


def families(study: str) -> Path:
    """A row for each sample: id, copy (equal for copies), family (never divided by a split), reason (of a drop)."""
    return Path("data", study, "families.csv")


def policies(study: str) -> Path:
    """The augmentation tables of a study, a CSV for each policy."""
    return Path("data", study, "policies")


def policy(study: str, name: str) -> Path:
    """One row for each training image: id, split, operation, rotation, shift, flip."""
    return policies(study) / f"{name}.csv"


def policy_figures(study: str) -> Path:
    """A contact sheet of augmented samples for each policy."""
    return Path("plots/augmentation", study)


def policy_figure(study: str, name: str) -> Path:
    """The contact sheet of a policy."""
    return policy_figures(study) / f"{name}.png"


def model(run: str) -> Path:
    """All phases of a run."""
    return Path("models", run)


def phase(run: str, phase: str) -> Path:
    """One phase, `base` or `tuned`, of a run: a folder for each seed."""
    return model(run) / phase


def seed(run: str, phase_name: str, seed: int) -> Path:
    """The weights, history.csv and predictions.npz of one training."""
    return phase(run, phase_name) / f"seed{seed}"


def facts(run: str, phase_name: str) -> Path:
    """Return the path of a training's machine settings: {precision, jit, deterministic, replicas}."""
    return phase(run, phase_name) / FACTS


def layers(run: str) -> Path:
    """A run's layer table: type, shape, parameters, trainable."""
    return phase(run, "base") / LAYERS


def weights(folder: Path) -> Path:
    """The trained weights in a seed's folder."""
    return folder / "model.weights.h5"


def history(folder: Path) -> Path:
    """A row for each epoch: epoch, accuracy, loss, val_accuracy, val_loss."""
    return folder / "history.csv"


def predictions(folder: Path) -> Path:
    """Ids, labels and probabilities of every split (see cnnstudy.evaluation.predictions)."""
    return folder / "predictions.npz"


def gradcam(folder: Path) -> Path:
    """The first seed's saliency maps of some images (see cnnstudy.explain.gradcam)."""
    return folder / "gradcam.npz"


def exported(run: str) -> Path:
    """A net for phones: a LiteRT file for each precision, and labels.txt."""
    return Path("exports", run)


def lite(run: str, precision: str) -> Path:
    """The LiteRT file of a precision (see cnnstudy.export.litert)."""
    return exported(run) / f"{precision}.tflite"


def lite_calibration(run: str) -> Path:
    """The temperature by which the logits of the LiteRT files are divided for calibrated probabilities."""
    return exported(run) / "calibration.json"


def lite_labels(run: str) -> Path:
    """The classes of the LiteRT files' outputs, one in each line."""
    return exported(run) / "labels.txt"


def audit(study: str) -> Path:
    """Return the path of the audit's findings."""
    return Path("metrics/audit", f"{study}.json")


def familiarity(study: str) -> Path:
    """Return the path of the model that detects images unlike the training images."""
    return Path("data", study, "familiarity.npz")


def audit_ok(study: str) -> Path:
    """An empty file, written if the audit has no finding that stops a rebuild."""
    return Path("data", study, "audit.ok")


def audit_plots(study: str) -> Path:
    """Figures of the audit."""
    return Path("plots/audit", study)


def run_metrics(run: str) -> Path:
    """{phase: {split: {metric: value}}}."""
    return Path("metrics/runs", f"{run}.json")


def export_metrics(run: str) -> Path:
    """Return the path of the sizes and accuracies of a run's LiteRT files (see cnnstudy.export.run)."""
    return Path("metrics/export/runs", f"{run}.json")


def run_predictions(run: str) -> Path:
    """A row for each image and seed: phase, split, seed, id, path, actual, predicted, probability; without train."""
    return Path("metrics/predictions", f"{run}.csv")


def run_plots(run: str) -> Path:
    """CSV for `dvc plots`; PNG, tables and reports in figures/."""
    return Path("plots/runs", run)


def ablation_metrics(name: str) -> Path:
    """The points of an ablation curve."""
    return Path("metrics/ablations", f"{name}.json")


def external_metrics(name: str) -> Path:
    """The accuracy of a study's nets on an external test set."""
    return Path("metrics/external", f"{name}.json")


def external_plots(name: str) -> Path:
    """predictions.csv and samples.png of an external test set."""
    return Path("plots/external", name)


def occlusion_metrics(study: str) -> Path:
    """The accuracy of a study's nets with parts of the images hidden."""
    return Path("metrics/occlusion", f"{study}.json")


def occlusion_plots(study: str) -> Path:
    """tests.csv, the accuracies in `occlusion_metrics`, and examples.png, a study's images with parts hidden."""
    return Path("plots/occlusion", study)


def ablation_plots(name: str) -> Path:
    """curve.csv and curve.png of an ablation."""
    return Path("plots/ablations", name)
