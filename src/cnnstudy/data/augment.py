"""Augmentation policies: exact copies of training images, and random changes of each image in every epoch.

A policy and the splits give the augmentation table, a row for each training image.
"""

import numpy as np
import pandas as pd
from scipy.special import betaincinv

from cnnstudy.config.schema import Policy

# Exact copies in the order in which the levels add them (report, section 3-2).
OPERATIONS = ("original", "rotate90", "rotate180", "rotate270", "flip")
# The columns of an augmentation table with a policy's ranges: geometric changes, changes of pixels, and mixing.
PLACES, PIXELS = ("rotation", "shift", "flip", "crop"), ("brightness", "contrast", "cutout")
RANGES = (*PLACES, *PIXELS, "mixing")
# The key of each random change's own stream, beside seed and epoch: adding a change leaves the others' numbers alone.
STREAMS = {name: number for number, name in enumerate((*RANGES, "partner"), start=1)}


def operations(level: int) -> tuple[str, ...]:
    """Return the exact copies of an augmentation level: the original, then one more for each level."""
    return OPERATIONS[: level + 1]


def apply_exact(image: np.ndarray, operation: str) -> np.ndarray:
    """Return an exact copy of an image [H, W, ...], H = W: rotated counter-clockwise, or flipped left to right."""
    match operation:
        case "original":
            return image
        case "flip":
            return image[:, ::-1]
        case "rotate90" | "rotate180" | "rotate270":
            return np.rot90(image, int(operation.removeprefix("rotate")) // 90)
    raise AssertionError(operation)


def exact_transforms(operations: np.ndarray, size: int) -> np.ndarray:
    """Return the exact copies [n] of images of a size as transforms, float32 [n, 8], from output to input pixels."""
    end = size - 1
    rows = {
        "original": (1, 0, 0, 0, 1, 0),
        "rotate90": (0, -1, end, 1, 0, 0),
        "rotate180": (-1, 0, end, 0, -1, end),
        "rotate270": (0, 1, 0, -1, 0, end),
        "flip": (-1, 0, end, 0, 1, 0),
    }
    return np.array([(*rows[operation], 0, 0) for operation in operations], np.float32).reshape(-1, 8)


def composed(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return transforms, float32 [n, 8], that map an output pixel by `second`, [n, 8], and the result by `first`."""
    ones = np.ones((len(first), 1))
    matrices = [np.hstack([transforms, ones]).reshape(-1, 3, 3) for transforms in (first, second)]
    return (matrices[0] @ matrices[1]).reshape(-1, 9)[:, :8].astype(np.float32)


def make(policy: Policy, splits: pd.DataFrame) -> pd.DataFrame:
    """Return the augmentation table: a row for each training image, with id, split, operation, and the policy's ranges.

    The train split's rows come first, level by level, then the tune split's.
    """
    parts = [
        pd.DataFrame({"id": splits.loc[splits["split"] == split, "id"], "split": split, "operation": operation})
        for split in ("train", "tune")
        for operation in operations(policy.level)
    ]
    ranges = {name: getattr(policy, name) for name in RANGES}
    return pd.concat(parts, ignore_index=True).assign(**ranges | {"flip": int(policy.flip)})


def random_transforms(key: tuple[int, int], ranges: tuple[np.ndarray, np.ndarray, np.ndarray], size: int) -> np.ndarray:
    """Return one epoch's random rotations, shifts and flips, as one projective transform for each image.

    Args:
        key: (seed, epoch). Row i depends on the key and i alone.
        ranges: per row the largest rotation (degrees) and shift (share of the side), and whether to flip; each [n].
        size: side of the images.

    Returns:
        Float32 [n, 8], from output to input pixels, as `ImageProjectiveTransformV3` takes them. The distribution is
        that of Keras's `ImageDataGenerator`: uniform rotation about the centre, uniform shifts, a flip
        with probability 0.5.
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


def crop(transforms: np.ndarray, key: tuple[int, int], share: np.ndarray, size: int) -> np.ndarray:
    """Return transforms, float32 [n, 8], that also cut a square out of the image and enlarge it to full size.

    The square's side is shorter than the image's by up to a share, [n]; the square lies anywhere in the image.
    """
    uniform = random_numbers(key, "crop", (len(transforms), 3))
    scale, centre = 1 - share * uniform[:, 0], (size - 1) / 2
    free = (1 - scale) * size / 2
    right, down = (centre * (1 - scale) + free * (2 * uniform[:, i] - 1) for i in (1, 2))
    zeros = np.zeros(len(scale))
    return composed(transforms, np.stack([scale, zeros, right, zeros, scale, down, zeros, zeros], axis=1))


def brightness(images: np.ndarray, uniform: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Return float images [n, H, W, 3] made lighter or darker by up to a share, [n], of 255."""
    return images + (255 * share * (2 * uniform[:, 0] - 1))[:, None, None, None]


def contrast(images: np.ndarray, uniform: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Return float images [n, H, W, 3] whose distance from mid-grey grows or shrinks by up to a share, [n]."""
    return 127.5 + (images - 127.5) * (1 + share * (2 * uniform[:, 0] - 1))[:, None, None, None]


def cutout(images: np.ndarray, uniform: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Return float images [n, H, W, 3] with a grey square (DeVries and Taylor 2017).

    The square's side is a share, [n], of the image's; its centre lies anywhere in the image, so that a part of the
    square may be cut off.
    """
    size = images.shape[1]
    for image, (x, y), side in zip(images, uniform[:, :2] * size, share * size, strict=True):
        left, right, top, bottom = (
            max(0, round(each)) for each in (x - side / 2, x + side / 2, y - side / 2, y + side / 2)
        )
        image[top:bottom, left:right] = 127.5
    return images


CHANGES = {"brightness": brightness, "contrast": contrast, "cutout": cutout}


def change_pixels(
    images: np.ndarray, key: tuple[int, int], rows: np.ndarray, ranges: dict[str, np.ndarray]
) -> np.ndarray:
    """Return uint8 images [b, H, W, 3] with those changes of `PIXELS` whose range is not 0.

    Args:
        images: uint8 [b, H, W, 3].
        key: (seed, epoch). A row's change depends on the key and the row alone.
        rows: the images' rows in the training set, int [b].
        ranges: by name, of every row of the training set, float [n].
    """
    chosen = [name for name in PIXELS if ranges[name].any()]
    if not chosen:
        return images
    found = images.astype(np.float32)
    for name in chosen:
        uniform = random_numbers(key, name, (len(ranges[name]), 2))[rows]
        found = CHANGES[name](found, uniform, ranges[name][rows])
    return np.rint(np.clip(found, 0, 255)).astype(np.uint8)


def mixing(key: tuple[int, int], alpha: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return a partner for every row, int [n], and the share of the row's own image and label, float [n].

    As in mixup (Zhang et al. 2018): the share is sampled from Beta(alpha, alpha); it is 1 where alpha is 0.
    """
    count = len(alpha)
    partner = (random_numbers(key, "partner", (count,)) * count).astype(np.int64)
    share = betaincinv(np.maximum(alpha, 1e-3), np.maximum(alpha, 1e-3), random_numbers(key, "mixing", (count,)))
    return partner, np.where(alpha > 0, share, 1.0)


def random_numbers(key: tuple[int, int], name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Return uniform numbers, float64 in [0, 1), of a change's own stream; a row depends on key, name and row alone."""
    seed, epoch = key
    return np.random.Generator(np.random.Philox(key=[seed, epoch + (STREAMS[name] << 40)])).random(shape)
