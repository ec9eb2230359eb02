"""Sheets of saliency maps (see cnnstudy.explain.gradcam): the most confident correct and wrong predictions."""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from matplotlib.figure import Figure

from cnnstudy.plots.style import ALARM, DPI, INK, LETTER, save

# The side of an image with its margin, the height of a caption, and the margins on the left and at the top, in inches.
CELL, CAPTION, LEFT, HEAD = 0.95, 0.17, 0.95, 0.36
COLUMNS, PAIRS = 6, 4
# The number of letters that fit under a pair of images.
FITTING = 31
# A gallery's number of images and of columns; its cell sizes in inches; the grid points per side of an outline.
GALLERY, ABREAST = 8, 4
FRAME, WORDS = 1.5, 0.24
OUTLINE = 160


@dataclass(frozen=True)
class Shown:
    """An image, uint8 [H, W, 3], its map, uint8 [h, w], the mask of the evidence, bool [s, s], and its class.

    `ratio` is the share of the map on the evidence, divided by the evidence's share of the image.
    """

    image: np.ndarray
    map: np.ndarray
    evidence: np.ndarray
    label: str
    ratio: float


def draw_correct(
    images: np.ndarray, classes: tuple[str, ...], arrays: dict[str, np.ndarray], title: str, path: Path
) -> None:
    """Draw one row per class: images overlaid with their saliency maps, and below each the probability of the class."""
    labels = arrays["correct/label"]
    left = max(LEFT, 0.15 + LETTER * max(map(len, classes)))
    figure = _figure(COLUMNS, len(classes), title, left)
    for row, name in enumerate(classes):
        _text(figure, (left - 0.08, HEAD + row * (CELL + CAPTION) + CELL / 2), name, ha="right", va="center", size=9)
        chosen = np.flatnonzero(labels == row)
        if not len(chosen):
            _text(figure, (left, HEAD + row * (CELL + CAPTION) + CELL / 2), "none correct", va="center", size=8)
        for column, i in enumerate(chosen):
            image, saliency = images[arrays["correct/id"][i]], arrays["correct/map"][i]
            text = f"{arrays['correct/probability'][i]:.2f}"
            _draw_image(figure, overlaid(image, saliency), (column, row), text, left)
    # The photographs would take up most of a palette, and the red of the maps would turn dull.
    save(figure, path, colours=0)


def draw_mistakes(
    images: np.ndarray, classes: tuple[str, ...], arrays: dict[str, np.ndarray], title: str, path: Path
) -> None:
    """Draw each wrong prediction as a pair of images, the second with the saliency map of the predicted class.

    The text below a pair gives the actual class, the predicted class and the latter's probability.
    """
    names = [
        (classes[label], classes[predicted], probability)
        for label, predicted, probability in zip(
            *(arrays[f"mistakes/{name}"] for name in ("label", "predicted", "probability")), strict=True
        )
    ]
    figure = _figure(2 * PAIRS, max(1, -(-len(names) // PAIRS)), title, left=0.1)
    if not names:
        _text(figure, (0.1, HEAD + CELL / 2), "no mistakes", va="center", size=9)
    for i, (actual, predicted, probability) in enumerate(names):
        image, saliency = images[arrays["mistakes/id"][i]], arrays["mistakes/map"][i]
        row, column = divmod(i, PAIRS)
        _draw_image(figure, np.asarray(image), (2 * column, row), "", left=0.1)
        _draw_image(figure, overlaid(image, saliency), (2 * column + 1, row), "", left=0.1)
        middle = 0.1 + (2 * column + 1) * CELL
        text = f"{actual} → {predicted} {probability:.2f}"
        size = min(7.5, 7.5 * FITTING / len(text))
        _text(figure, (middle, HEAD + row * (CELL + CAPTION) + CELL + 0.02), text, ha="center", va="top", size=size)
    save(figure, path, colours=0)


def draw_gallery(shown: list[Shown], path: Path) -> None:
    """Draw images with their maps and the evidence outlined, in descending order of `ratio`.

    Captions give the class and the ratio, in red if it is below 1, which is chance.
    """
    columns, rows = min(ABREAST, max(2, len(shown))), max(1, -(-len(shown) // ABREAST))
    width, height = columns * FRAME, rows * (FRAME + WORDS)
    figure = Figure(figsize=(width, height), dpi=DPI)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, width), ylim=(height, 0))
    axes.axis("off")
    if not shown:
        _text(figure, (0.1, 0.1), "no correct prediction with evidence", size=9)
    for i, its in enumerate(sorted(shown, key=lambda each: -each.ratio)):
        row, column = divmod(i, ABREAST)
        x, y, side = column * FRAME + 0.03, row * (FRAME + WORDS) + 0.03, FRAME - 0.06
        image = overlaid(its.image, its.map)
        axes.imshow(image, extent=(x, x + side, y + side, y), interpolation="bilinear", aspect="auto")
        grid = (np.arange(OUTLINE) + 0.5) / OUTLINE * side
        if its.evidence.any():
            axes.contour(x + grid, y + grid, its.evidence, levels=[0.5], colors="#00e5ff", linewidths=1.1)
        colour = INK if its.ratio >= 1 else ALARM
        text, place = f"{its.label}  ×{its.ratio:.1f}", (x + side / 2, y + side + 0.03)
        size = min(11, 11 * 15 / len(text))
        figure.text(place[0] / width, 1 - place[1] / height, text, ha="center", va="top", fontsize=size, color=colour)
    save(figure, path, colours=0)


def overlaid(image: np.ndarray, saliency: np.ndarray) -> np.ndarray:
    """Return an image, uint8 [H, W, 3], in grey, overlaid with its saliency map, uint8 [h, w], in yellow to red."""
    size = image.shape[1::-1]
    heat = cv2.resize(saliency.astype(np.float32) / 255, size, interpolation=cv2.INTER_LINEAR)[..., None]
    grey = image.astype(np.float32).mean(axis=2, keepdims=True)
    colour = np.concatenate([np.full_like(heat, 255), 225 * (1 - heat**1.5), np.zeros_like(heat)], axis=2)
    alpha = 0.62 * heat
    return np.rint(grey * (1 - alpha) + colour * alpha).astype(np.uint8)


def _figure(columns: int, rows: int, title: str, left: float) -> Figure:
    width, height = left + columns * CELL + 0.1, HEAD + rows * (CELL + CAPTION)
    figure = Figure(figsize=(width, height), dpi=DPI)
    # All images share one Axes, in inches: one Axes per image would take most of the drawing time.
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, width), ylim=(height, 0))
    axes.axis("off")
    _text(figure, (0.1, 0.08), title, va="top", size=9.5)
    return figure


def _draw_image(figure: Figure, image: np.ndarray, cell: tuple[int, int], text: str, left: float) -> None:
    """Draw an image in a cell (column, row), with a text below it."""
    x, y = left + cell[0] * CELL, HEAD + cell[1] * (CELL + CAPTION)
    side = CELL - 0.04
    figure.axes[0].imshow(image, extent=(x, x + side, y + side, y), interpolation="bilinear", aspect="auto")
    _text(figure, (x + side / 2, y + CELL - 0.02), text, ha="center", va="top", size=7.5)


def _text(
    figure: Figure, place: tuple[float, float], text: str, ha: str = "left", va: str = "top", size: float = 8
) -> None:
    """Write a text at a position in inches from the top left corner."""
    width, height = figure.get_size_inches()
    figure.text(place[0] / width, 1 - place[1] / height, text, ha=ha, va=va, fontsize=size, color=INK)
