"""Pictures of where a net looks, and how much of that falls on what was drawn; see cnnstudy.training.gradcam."""

from pathlib import Path

import cv2
import numpy as np
from matplotlib.figure import Figure

from cnnstudy.config.schema import HEADLINE, Params
from cnnstudy.data import samples
from cnnstudy.data.specifications import read_areas
from cnnstudy.evaluation.figures import DPI, INK, LETTER, save
from cnnstudy.workspace import paths

# Side of a picture and of what stands around it, in inches.
CELL, CAPTION, LEFT, HEAD = 0.95, 0.17, 0.95, 0.36
COLUMNS, PAIRS = 6, 4
# Points a side of a cell of a map.
POINTS = 16
# Letters that fit under a pair.
FITTING = 31


def write_attention(params: Params, run: str, folder: Path) -> dict[str, float]:
    """Draw gradcam.png and mistakes.png of a run's last phase and first seed into `folder`.

    Returns:
        For drawn data the mean share of a map that falls on what was drawn, `attention_share`; the mean share of the
        image that this takes, `attention_area`; and the first over the second, `attention_ratio`: 1 for a net that
        looks anywhere. Nothing for other data, or where no image shows anything.
    """
    study, phase = params.runs[run].study, params.phases(run)[-1]
    images = np.load(paths.images(study), mmap_mode="r", allow_pickle=False)
    classes = samples.present_classes(params.study(study).classes, samples.read_samples(study))
    with np.load(paths.gradcam(paths.seed(run, phase, params.seeds[0])), allow_pickle=False) as stored:
        arrays = dict(stored)
    where = f"{run}, {phase}, {HEADLINE[study]}"
    draw_correct(
        images, classes, arrays, f"{where}: the surest right answers, and what speaks for them", folder / "gradcam.png"
    )
    draw_mistakes(
        images, classes, arrays, f"{where}: the surest wrong answers, and what spoke for them", folder / "mistakes.png"
    )
    return overlap(arrays, paths.specifications(study))


def overlap(arrays: dict[str, np.ndarray], specifications: Path) -> dict[str, float]:
    """Return the three numbers of `write_attention`, from the arrays of gradcam.npz and what was synthesised.

    A map that is zero everywhere, and an image that shows nothing, count for none.
    """
    maps = dict(zip(arrays["measured/id"].tolist(), arrays["measured/map"], strict=True))
    side = arrays["measured/map"].shape[1]
    shares, areas = [], []
    for i, area in read_areas(specifications, maps, side * POINTS):
        # What share of a cell of the map is covered.
        cover = area.reshape(side, POINTS, side, POINTS).mean(axis=(1, 3))
        if cover.any() and maps[i].any():
            shares.append((cover * maps[i]).sum() / maps[i].sum(dtype=np.float64))
            areas.append(cover.mean())
    if not shares:
        return {}
    share, covered = float(np.mean(shares)), float(np.mean(areas))
    return {"attention_share": share, "attention_area": covered, "attention_ratio": share / covered}


def draw_correct(
    images: np.ndarray, classes: tuple[str, ...], arrays: dict[str, np.ndarray], title: str, path: Path
) -> None:
    """A row a class: each image with its map over it, and the probability of the class below."""
    labels = arrays["correct/label"]
    left = max(LEFT, 0.15 + LETTER * max(map(len, classes)))
    figure = _figure(COLUMNS, len(classes), title, left)
    for row, name in enumerate(classes):
        _text(figure, (left - 0.08, HEAD + row * (CELL + CAPTION) + CELL / 2), name, ha="right", va="center", size=9)
        some = np.flatnonzero(labels == row)
        if not len(some):
            _text(figure, (left, HEAD + row * (CELL + CAPTION) + CELL / 2), "none right", va="center", size=8)
        for column, i in enumerate(some):
            image, found = images[arrays["correct/id"][i]], arrays["correct/map"][i]
            _picture(figure, overlaid(image, found), (column, row), f"{arrays['correct/probability'][i]:.2f}", left)
    # Of a palette the photographs take most, and the maps' red turns dull.
    save(figure, path, colours=0)


def draw_mistakes(
    images: np.ndarray, classes: tuple[str, ...], arrays: dict[str, np.ndarray], title: str, path: Path
) -> None:
    """Pairs: the image, and the image with the map of the class that it was taken for; which, and how surely, below."""
    names = [
        (classes[label], classes[predicted], probability)
        for label, predicted, probability in zip(
            *(arrays[f"mistakes/{name}"] for name in ("label", "predicted", "probability")), strict=True
        )
    ]
    figure = _figure(2 * PAIRS, max(1, -(-len(names) // PAIRS)), title, left=0.1)
    if not names:
        _text(figure, (0.1, HEAD + CELL / 2), "no mistake", va="center", size=9)
    for i, (actual, predicted, probability) in enumerate(names):
        image, found = images[arrays["mistakes/id"][i]], arrays["mistakes/map"][i]
        row, column = divmod(i, PAIRS)
        _picture(figure, np.asarray(image), (2 * column, row), "", left=0.1)
        _picture(figure, overlaid(image, found), (2 * column + 1, row), "", left=0.1)
        middle = 0.1 + (2 * column + 1) * CELL
        text = f"{actual} → {predicted} {probability:.2f}"
        size = min(7.5, 7.5 * FITTING / len(text))
        _text(figure, (middle, HEAD + row * (CELL + CAPTION) + CELL + 0.02), text, ha="center", va="top", size=size)
    save(figure, path, colours=0)


def overlaid(image: np.ndarray, found: np.ndarray) -> np.ndarray:
    """The image, uint8 [H, W, 3], faded to grey, with the map, uint8 [h, w], over it: none, yellow, red."""
    size = image.shape[1::-1]
    heat = cv2.resize(found.astype(np.float32) / 255, size, interpolation=cv2.INTER_LINEAR)[..., None]
    grey = image.astype(np.float32).mean(axis=2, keepdims=True)
    colour = np.concatenate([np.full_like(heat, 255), 225 * (1 - heat**1.5), np.zeros_like(heat)], axis=2)
    alpha = 0.62 * heat
    return np.rint(grey * (1 - alpha) + colour * alpha).astype(np.uint8)


def _figure(columns: int, rows: int, title: str, left: float) -> Figure:
    width, height = left + columns * CELL + 0.1, HEAD + rows * (CELL + CAPTION)
    figure = Figure(figsize=(width, height), dpi=DPI)
    # One for all pictures, in inches: axes of their own would take most of the time.
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, width), ylim=(height, 0))
    axes.axis("off")
    _text(figure, (0.1, 0.08), title, va="top", size=9.5)
    return figure


def _picture(figure: Figure, image: np.ndarray, cell: tuple[int, int], text: str, left: float) -> None:
    """Show an image in a cell (column, row), with a text below it."""
    x, y = left + cell[0] * CELL, HEAD + cell[1] * (CELL + CAPTION)
    side = CELL - 0.04
    figure.axes[0].imshow(image, extent=(x, x + side, y + side, y), interpolation="bilinear", aspect="auto")
    _text(figure, (x + side / 2, y + CELL - 0.02), text, ha="center", va="top", size=7.5)


def _text(
    figure: Figure, place: tuple[float, float], text: str, ha: str = "left", va: str = "top", size: float = 8
) -> None:
    """A text at a place in inches from the top left corner."""
    width, height = figure.get_size_inches()
    figure.text(place[0] / width, 1 - place[1] / height, text, ha=ha, va=va, fontsize=size, color=INK)
