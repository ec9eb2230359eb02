"""Predictions of a trained net, read from predictions.npz."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

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
    """Return the predictions of every split in the file, in the order of `SPLITS`."""
    with np.load(path, allow_pickle=False) as arrays:
        present = {name.split("/")[0] for name in arrays.files}
        assert present <= set(SPLITS), present
        return {
            split: Predictions(
                arrays[f"{split}/id"],
                arrays[f"{split}/label"],
                {mode: arrays[f"{split}/{mode}"] for mode in MODES if f"{split}/{mode}" in arrays.files},
            )
            for split in SPLITS
            if split in present
        }
