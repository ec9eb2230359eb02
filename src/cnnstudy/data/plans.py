"""Augmentation plans: which training images there are, and how each is changed."""

import numpy as np
import pandas as pd

from cnnstudy.config.schema import Plan

# In the order in which the levels add them (report, section 3-2).
OPERATIONS = ("original", "rotate90", "rotate180", "rotate270", "flip")


def operations(level: int) -> tuple[str, ...]:
    """The exact copies of an augmentation level: the original, then one more a level."""
    return OPERATIONS[: level + 1]


def apply_exact(image: np.ndarray, operation: str) -> np.ndarray:
    """An exact copy of an image [H, W, ...], H = W: turned counter-clockwise, or flipped left to right."""
    match operation:
        case "original":
            return image
        case "flip":
            return image[:, ::-1]
        case "rotate90" | "rotate180" | "rotate270":
            return np.rot90(image, int(operation.removeprefix("rotate")) // 90)
    raise AssertionError(operation)


def make(plan: Plan, splits: pd.DataFrame) -> pd.DataFrame:
    """One row a training image: id, split, operation, rotation (degrees), shift (share of the side), flip.

    The train split's rows come first, level by level, then the tune split's.
    """
    parts = [
        pd.DataFrame({"id": splits.loc[splits["split"] == split, "id"], "split": split, "operation": operation})
        for split in ("train", "tune")
        for operation in operations(plan.level)
    ]
    ranges = {"rotation": plan.rotation, "shift": plan.shift, "flip": int(plan.flip)}
    return pd.concat(parts, ignore_index=True).assign(**ranges)


def random_transforms(key: tuple[int, int], ranges: tuple[np.ndarray, np.ndarray, np.ndarray], size: int) -> np.ndarray:
    """One epoch's random rotations, shifts and flips, each as a single projective transform.

    Args:
        key: (seed, epoch). Row i depends on the key and i alone.
        ranges: per row the largest rotation (degrees) and shift (share of the side), and whether to flip; each [n].
        size: side of the images.

    Returns:
        Float32 [n, 8], from output to input pixels, as `ImageProjectiveTransformV3` takes them. The distribution is
        that of Keras's `ImageDataGenerator`: uniform rotation about the centre, uniform shifts, a flip
        every other time.
    """
    rotation, shift, flip = ranges
    uniform = np.random.Generator(np.random.Philox(key=np.array(key, np.uint64))).random((len(rotation), 4))
    angle = np.deg2rad(rotation * (2 * uniform[:, 0] - 1))
    down, right = (shift * size * (2 * uniform[:, i] - 1) for i in (1, 2))
    mirror = np.where(flip.astype(bool) & (uniform[:, 3] < 0.5), -1.0, 1.0)
    cos, sin = np.cos(angle), np.sin(angle)
    centre = (size - 1) / 2
    # Input = centre + R(angle) (M (output - centre)) + shift, with M the mirror about the vertical axis.
    x_offset = centre - cos * mirror * centre + sin * centre + right
    y_offset = centre - sin * mirror * centre - cos * centre + down
    zeros = np.zeros_like(angle)
    return np.column_stack(
        [cos * mirror, -sin, x_offset, sin * mirror, cos, y_offset, zeros, zeros],
    ).astype(np.float32)
