"""Contact sheets: labelled rows of images."""

from collections.abc import Callable, Collection, Sequence
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from cnnstudy.config.schema import Policy
from cnnstudy.data import augment
from cnnstudy.data.samples import Dataset

CELL = 96

Captioned = Callable[[Collection[int]], dict[int, str]]


def save_sheet(
    path: Path,
    rows: Sequence[Sequence[np.ndarray]],
    names: Sequence[str],
    titles: Sequence[str] = (),
    captions: Sequence[Sequence[str]] = (),
) -> None:
    """Save a PNG with named rows of images, uint8 [H, W, 3], titles above the columns and captions below the images."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = max(len(row) for row in rows)
    head, below = 0.25 if titles else 0.05, 0.25 if captions else 0.04
    height = head + len(rows) * (1 + below)
    figure = Figure(figsize=(1.1 + columns, height), dpi=CELL)
    FigureCanvasAgg(figure)
    grid = figure.subplots(len(rows), columns, squeeze=False, gridspec_kw={"wspace": 0.04, "hspace": below})
    bottom = below / height if captions else 0.005
    figure.subplots_adjust(left=1.1 / (1.1 + columns), right=0.995, bottom=bottom, top=1 - head / height)
    for axes, row, name in zip(grid, rows, names, strict=True):
        for axis in axes:
            axis.axis("off")
        for axis, image in zip(axes, row, strict=False):
            axis.imshow(image, interpolation="antialiased")
        axes[0].text(-0.08, 0.5, name, ha="right", va="center", fontsize=9, transform=axes[0].transAxes)
    for axes, texts in zip(grid, captions, strict=False):
        for axis, text in zip(axes, texts, strict=False):
            axis.text(0.5, -0.03, text, ha="center", va="top", fontsize=6, transform=axis.transAxes)
    for axis, title in zip(grid[0], titles, strict=False):
        axis.set_title(title, fontsize=8, pad=3)
    figure.savefig(path, metadata={"Software": None})


def save_classes(path: Path, dataset: Dataset, captioned: Captioned | None) -> None:
    """Save eight images of each class, with captions below if `captioned` gives any."""
    ids = class_samples(dataset, columns=8)
    words = captioned({i for row in ids for i in row}) if captioned else {}
    captions = [[words[i] for i in row] for row in ids] if words else ()
    save_sheet(path, [[dataset.images[i] for i in row] for row in ids], dataset.classes, captions=captions)


def save_copies(path: Path, dataset: Dataset, table: pd.DataFrame, rows: list[list[int]]) -> None:
    """Save the copies of each image in a row, with class and split below; save no file if there are none."""
    if not rows:
        return
    shown = [row[:8] for row in rows]
    labels, splits = table["label"].to_numpy(), table["split"].to_numpy()
    captions = [[f"{labels[i]}\n{splits[i]}" for i in row] for row in shown]
    names = [f"{len(row)} copies" for row in rows]
    save_sheet(path, [[dataset.images[i] for i in row] for row in shown], names, captions=captions)


def class_samples(dataset: Dataset, columns: int) -> list[list[int]]:
    """Return ids of some samples of each class, spread evenly over the class."""
    rows = []
    for label in range(len(dataset.classes)):
        ids = np.flatnonzero(dataset.labels == label)
        chosen = np.unique(np.linspace(0, len(ids) - 1, columns).astype(int))
        rows.append([int(ids[i]) for i in chosen])
    return rows


def policy_rows(dataset: Dataset, policy: Policy, draws: int) -> tuple[list[list[np.ndarray]], list[str], list[str]]:
    """Return (images, row names, column titles): one training image of each class, original and augmented."""
    ids = [
        dataset.ids("train")[dataset.labels[dataset.ids("train")] == label][0] for label in range(len(dataset.classes))
    ]
    copies = augment.operations(policy.level)
    ranges = {name: np.full(len(ids), float(getattr(policy, name))) for name in augment.RANGES}
    is_random = any(each.any() for each in ranges.values())
    titles = [*copies, *(f"epoch {epoch + 1}" for epoch in range(draws if is_random else 0))]
    originals = np.stack([dataset.images[each] for each in ids])
    epochs = [_augmented(originals, ranges, epoch) for epoch in range(draws if is_random else 0)]
    rows = [
        [*(augment.apply_exact(image, operation) for operation in copies), *(epoch[row] for epoch in epochs)]
        for row, image in enumerate(originals)
    ]
    return rows, list(dataset.classes), titles


def _augmented(images: np.ndarray, ranges: dict[str, np.ndarray], epoch: int) -> list[np.ndarray]:
    """Return images augmented as in an epoch in which they are the first training rows."""
    key, rows, size = (0, epoch), np.arange(len(images)), images.shape[1]
    changed = augment.change_pixels(images, key, rows, ranges).astype(np.float32)
    partner, share = augment.mixing(key, ranges["mixing"])
    share = share[:, None, None, None]
    mixed = np.rint(share * changed + (1 - share) * changed[partner]).astype(np.uint8)
    transforms = augment.random_transforms(key, (ranges["rotation"], ranges["shift"], ranges["flip"]), size)
    transforms = augment.crop(transforms, key, ranges["crop"], size)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return [
        cv2.warpPerspective(
            image, np.append(each, 1).reshape(3, 3), (size, size), flags=flags, borderMode=cv2.BORDER_REPLICATE
        )
        for image, each in zip(mixed, transforms, strict=True)
    ]
