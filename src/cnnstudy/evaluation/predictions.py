"""Predictions of a trained net, read from predictions.npz."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cnnstudy.data.samples import NO_CLASS
from cnnstudy.errors import UserError
from cnnstudy.workspace import paths

# The BatchNorm modes.
MODES = ("moving", "recalibrated", "batch")
SPLITS = ("train", "train_augmented", "val", "tune", "tune_augmented", "tune_holdout", "test")


@dataclass(frozen=True)
class Predictions:
    """The predictions for a split.

    `ids` and `labels` are int64 [n]; `probabilities` are float32 [n, classes] by BatchNorm mode.
    """

    ids: np.ndarray
    labels: np.ndarray
    probabilities: dict[str, np.ndarray]


@dataclass(frozen=True)
class ValuePredictions:
    """The predicted values for a split, and what they are compared with.

    `ids` and `labels` are int64 [n]; `truth` is float32 [n, k], NaN where a value is missing; `predicted` are
    float32 [n, k] and `probabilities` float32 [n, classes] by BatchNorm mode, [n, 0] for a net of values alone.
    """

    ids: np.ndarray
    labels: np.ndarray
    truth: np.ndarray
    predicted: dict[str, np.ndarray]
    probabilities: dict[str, np.ndarray]


def require_classes(splits: dict[str, Predictions], classes: tuple[str, ...], labels: np.ndarray, study: str) -> None:
    """Check that the classes of `study` are in the same order as when its nets were trained.

    `labels`, [N], are the class names of all samples. DVC ignores the order of a mapping, so that the meaning of a
    class number could change after training.

    Raises:
        UserError: the order of the classes differs from the order in training.
    """
    for predictions in splits.values():
        trained = dict(zip(predictions.labels.tolist(), labels[predictions.ids].tolist(), strict=True))
        if any(number >= len(classes) or classes[number] != name for number, name in trained.items()):
            then = ", ".join(trained[number] for number in sorted(trained))
            found = f"{paths.PARAMS}: studies.{study}.classes: {', '.join(classes)} found"
            raise UserError(f"{found}; allowed: the order that the net was trained with, {then}")


def read_predictions(path: Path) -> dict[str, Predictions]:
    """Return the predicted classes of every split in the file, in the order of `SPLITS`; {} for a net of values alone.

    Images of no class are left out.
    """
    found: dict[str, Predictions] = {}
    for split, arrays in _arrays(path).items():
        values = arrays["values"].shape[1] if "values" in arrays else 0
        outputs = {mode: arrays[mode] for mode in MODES if mode in arrays}
        classes = next(iter(outputs.values())).shape[1] - values
        has_class = arrays["label"] != NO_CLASS
        if classes:
            of_class = {mode: each[has_class, :classes] for mode, each in outputs.items()}
            found[split] = Predictions(arrays["id"][has_class], arrays["label"][has_class], of_class)
    return found


def read_values(path: Path) -> dict[str, ValuePredictions]:
    """Return the predicted values of every split in the file, in the order of `SPLITS`; {} for a net without values."""
    found: dict[str, ValuePredictions] = {}
    for split, arrays in _arrays(path).items():
        if "values" in arrays:
            count = arrays["values"].shape[1]
            outputs = {mode: arrays[mode] for mode in MODES if mode in arrays}
            found[split] = ValuePredictions(
                arrays["id"], arrays["label"], arrays["values"],
                {mode: each[:, -count:] for mode, each in outputs.items()},
                {mode: each[:, :-count] for mode, each in outputs.items()},
            )  # fmt: skip
    return found


def _arrays(path: Path) -> dict[str, dict[str, np.ndarray]]:
    """Return the arrays of a file by split and name."""
    with np.load(path, allow_pickle=False) as stored:
        found: dict[str, dict[str, np.ndarray]] = {}
        for file in stored.files:
            split, _, name = file.partition("/")
            found.setdefault(split, {})[name] = stored[file]
    assert found.keys() <= set(SPLITS), found.keys()
    return {split: found[split] for split in SPLITS if split in found}
