"""What a trained net answered, read from predictions.npz."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cnnstudy.errors import UserError
from cnnstudy.workspace import paths

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


def require_classes(splits: dict[str, Answers], classes: tuple[str, ...], labels: np.ndarray, study: str) -> None:
    """Hold answers against the classes that `study` has by now; `labels` are the names of all samples' classes, [N].

    DVC takes a mapping in another order for the same, so that what a number stands for could change under a net.

    Raises:
        UserError: the classes stand in another order than in training.
    """
    for its in splits.values():
        trained = dict(zip(its.labels.tolist(), labels[its.ids].tolist(), strict=True))
        if any(number >= len(classes) or classes[number] != name for number, name in trained.items()):
            then = ", ".join(trained[number] for number in sorted(trained))
            found = f"{paths.PARAMS}: {study}.classes: {', '.join(classes)} found"
            raise UserError(f"{found}; allowed: the order that the net was trained with, {then}")


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
