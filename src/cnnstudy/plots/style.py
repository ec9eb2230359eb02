"""The style of all figures, without pyplot: colours, titles, axes, and saving with a palette.

A figure without photographs is saved with a palette, which takes a third of the bytes and shows no visible difference.
"""

from collections.abc import Sized
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap, to_hex
from matplotlib.figure import Figure
from PIL import Image

DPI = 120
COLOURS = 192
# PNG's compression level (0 to 9): 4 takes half to two thirds of the default 6's time, for 1 to 9 % more bytes.
COMPRESSION = 4
# The width of a letter of a label, and the height of a title's second line, in inches.
LETTER, LINE = 0.075, 0.17
INK, FAINT = "#22303c", "#c9d2da"
TRAIN, HELD_OUT, OTHER_MODE, ALARM = "#8494a2", "#0b63b0", "#e08a1e", "#c2261d"
# Colours that colour-blind readers can tell apart (Okabe and Ito 2008, with a darker yellow).
PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#b59f00", "#7a4fbf", "#e69f00")
# Colours of the steps along an axis, from light to dark.
STEPS = LinearSegmentedColormap.from_list("steps", ["#e7b800", "#2a9d8f", "#264653"])


@dataclass(frozen=True)
class Title:
    """The title of a figure; `alarm` names a problem of the net, and turns the title red."""

    text: str
    alarm: str = ""


def step_colour(step: int, steps: int) -> str:
    """Return the colour of a step along an axis."""
    return to_hex(STEPS(step / max(1, steps - 1)))


def head(figure: Figure, title: Title, left: float = 0.1) -> None:
    """Write a title above a figure, `left` inches from its left edge, with a second line for the alarm."""
    width, height = figure.get_size_inches()
    lines = [title.text, title.alarm] if title.alarm else [title.text]
    size = min(10, 10 * (width - left) / (LETTER * 1.15 * max(map(len, lines))))
    colour = ALARM if title.alarm else INK
    figure.text(left / width, 1 - 0.09 / height, "\n".join(lines), va="top", fontsize=size, color=colour)


def dress(axes: Axes, x: str, y: str) -> None:
    """Set the axis labels, draw a grid, and hide the top and right spines."""
    axes.set_xlabel(x, fontsize=9, color=INK)
    axes.set_ylabel(y, fontsize=9, color=INK)
    axes.grid(color="#e3e8ec", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=8, length=0, colors=INK)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(FAINT)


def marker(points: Sized) -> str:
    """Return the marker of a line: a dot if the line has too few points to be visible, else none."""
    return "o" if len(points) < 3 else ""


def save(figure: Figure, path: Path, colours: int = COLOURS) -> None:
    """Save a figure with a palette of `colours` colours, or with all colours if 0."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    image = Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3])
    image = _with_palette(image, colours) if colours else image
    image.save(path, compress_level=COMPRESSION)


def _with_palette(image: Image.Image, colours: int) -> Image.Image:
    """Return an image with a palette, chosen by the quickest method and with the background's white restored.

    The quickest method alone leaves the background slightly grey.
    """
    quantised = image.quantize(colours, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    palette, ground = quantised.getpalette() or [], 3 * int(np.asarray(quantised)[0, 0])
    palette[ground : ground + 3] = np.asarray(image)[0, 0].tolist()
    quantised.putpalette(palette)
    return quantised
