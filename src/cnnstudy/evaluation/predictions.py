"""What a trained net answered, read from predictions.npz."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

# The ways of taking BatchNorm's statistics.
MODES = ("moving", "recalibrated", "batch")
SPLITS = ("train", "train_augmented", "val", "tune", "tune_augmented", "test")


@dataclass(frozen=True)
class Answers:
    """A split's predictions.

    `ids` and `labels` are int64 [n]; `probabilities` holds float32 [n, classes] for each mode that was predicted.
    """

    ids: np.ndarray
    labels: np.ndarray
    probabilities: dict[str, np.ndarray]


def read_predictions(path: Path) -> dict[str, Answers]:
    """The answers of every split in the file, in the order of `SPLITS`."""
    with np.load(path, allow_pickle=False) as arrays:
        present = {name.split("/")[0] for name in arrays.files}
        assert present <= set(SPLITS), present
        return {
            split: Answers(
                arrays[f"{split}/id"],
                arrays[f"{split}/label"],
                {mode: arrays[f"{split}/{mode}"] for mode in MODES if f"{split}/{mode}" in arrays.files},
            )
            for split in SPLITS
            if split in present
        }
