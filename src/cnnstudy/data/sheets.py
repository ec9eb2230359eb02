"""Contact sheets: labelled rows of pictures."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from cnnstudy.config.schema import Plan
from cnnstudy.data import plans, specifications
from cnnstudy.data.samples import Dataset

CELL = 96


def save_sheet(
    path: Path,
    rows: Sequence[Sequence[np.ndarray]],
    names: Sequence[str],
    titles: Sequence[str] = (),
    captions: Sequence[Sequence[str]] = (),
) -> None:
    """Save a PNG of pictures, uint8 [H, W, 3], a row a name; titles over the columns, captions below the pictures."""
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


def save_classes(path: Path, dataset: Dataset, file: Path) -> None:
    """Eight pictures of each class; where they were drawn, what `file`, their specifications, says of them below."""
    ids = class_samples(dataset, columns=8)
    words = specifications.captions(file, {i for row in ids for i in row})
    captions = [[words[i] for i in row] for row in ids] if words else ()
    save_sheet(path, [[dataset.images[i] for i in row] for row in ids], dataset.classes, captions=captions)


def save_copies(path: Path, dataset: Dataset, table: pd.DataFrame, rows: list[list[int]]) -> None:
    """Pictures that are there more than once, a row a picture, with class and split below; no file where none is."""
    if not rows:
        return
    shown = [row[:8] for row in rows]
    labels, splits = table["label"].to_numpy(), table["split"].to_numpy()
    captions = [[f"{labels[i]}\n{splits[i]}" for i in row] for row in shown]
    names = [f"{len(row)} copies" for row in rows]
    save_sheet(path, [[dataset.images[i] for i in row] for row in shown], names, captions=captions)


def class_samples(dataset: Dataset, columns: int) -> list[list[int]]:
    """Ids of some samples of each class, spread evenly over them."""
    rows = []
    for label in range(len(dataset.classes)):
        ids = np.flatnonzero(dataset.labels == label)
        chosen = np.unique(np.linspace(0, len(ids) - 1, columns).astype(int))
        rows.append([int(ids[i]) for i in chosen])
    return rows


def plan_rows(dataset: Dataset, plan: Plan, draws: int) -> tuple[list[list[np.ndarray]], list[str], list[str]]:
    """(pictures, row names, column titles) of one training image a class: the original, then what the plan makes."""
    ids = [
        dataset.ids("train")[dataset.labels[dataset.ids("train")] == label][0] for label in range(len(dataset.classes))
    ]
    copies = plans.operations(plan.level)
    is_random = bool(plan.rotation or plan.shift or plan.flip)
    titles = [*copies, *(f"epoch {epoch + 1}" for epoch in range(draws if is_random else 0))]
    rows = []
    for row, sample in enumerate(ids):
        image = dataset.images[sample]
        pictures = [plans.apply_exact(image, operation) for operation in copies]
        if is_random:
            pictures += [_drawn(image, plan, epoch, row) for epoch in range(draws)]
        rows.append(pictures)
    return rows, list(dataset.classes), titles


def _drawn(image: np.ndarray, plan: Plan, epoch: int, row: int) -> np.ndarray:
    """The picture that training row `row` becomes in an epoch."""
    ranges = (np.full(row + 1, plan.rotation), np.full(row + 1, plan.shift), np.full(row + 1, plan.flip))
    matrix = np.append(plans.random_transforms((0, epoch), ranges, len(image))[row], 1).reshape(3, 3)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpPerspective(image, matrix, image.shape[1::-1], flags=flags, borderMode=cv2.BORDER_REPLICATE)
