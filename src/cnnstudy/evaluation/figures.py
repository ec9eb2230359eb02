"""Figures of a run and of an ablation, drawn without pyplot.

Those without pictures are stored with a palette: a third of the bytes, and no difference to the eye.
"""

from collections.abc import Sized
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap, to_hex
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import EngFormatter, MaxNLocator
from pandas.api.types import is_numeric_dtype
from PIL import Image

from cnnstudy.evaluation.curve import area, thin
from cnnstudy.evaluation.intervals import Difference

DPI = 120
COLOURS = 192
# Of 9: takes half to two thirds of the time of PNG's usual 6, and 1 to 9 % more bytes.
COMPRESSION = 4
# Side of a picture in a sheet of examples, in pixels.
EXAMPLE = 84
# A loss on val is drawn up to so many times the highest in training: moving statistics can make it hundreds.
LOSSES = 2.0
# Inches that a letter of a class's name takes, and a title's second line.
LETTER, LINE = 0.075, 0.17
INK, FAINT = "#22303c", "#c9d2da"
TRAIN, HELD_OUT, OTHER_MODE, ALARM = "#8494a2", "#0b63b0", "#e08a1e", "#c2261d"
# The same wherever a net is drawn; told apart by colour-blind readers too.
NET_COLOURS = {"alexnet": "#d55e00", "vggnet": "#009e73", "mobilenet": "#7a4fbf", "xraynet": HELD_OUT}
# Told apart by colour-blind readers too (Okabe and Ito 2008; their yellow darkened).
CLASS_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#b59f00", "#7a4fbf", "#e69f00")
MEAN_STYLES = {"micro": ":", "macro": "--"}
# Steps along an axis, from light to dark.
STEPS = LinearSegmentedColormap.from_list("steps", ["#e7b800", "#2a9d8f", "#264653"])
SHADES = LinearSegmentedColormap.from_list("shades", ["#ffffff", "#a9cbe8", "#0b4a86"])


@dataclass(frozen=True)
class Title:
    """What stands over a figure, and what is wrong with the net that it shows, in red."""

    text: str
    alarm: str = ""


@dataclass(frozen=True)
class Training:
    """One line of `draw_trainings`: `table` has the columns images (seen), train and val, both accuracies."""

    name: str
    colour: str
    table: pd.DataFrame


def step_colour(step: int, steps: int) -> str:
    """The colour of a step along an axis."""
    return to_hex(STEPS(step / max(1, steps - 1)))


def draw_curves(histories: list[pd.DataFrame], title: str, colour: str, path: Path) -> None:
    """Accuracy and loss against the epoch, side by side; with several seeds the mean, and each seed faintly.

    The validation's are in the net's `colour`; they are measured with BatchNorm's moving statistics.
    """
    figure = Figure(figsize=(7.2, 2.9), dpi=DPI)
    accuracy, loss = figure.subplots(1, 2)
    for axes, column in ((accuracy, "accuracy"), (loss, "loss")):
        for name, label, shade in ((column, "train", TRAIN), (f"val_{column}", "val, moving statistics", colour)):
            if len(histories) > 1:
                for history in histories:
                    axes.plot(history["epoch"], history[name], color=shade, alpha=0.3, linewidth=0.8)
            # Of the seeds that got there: a training may stop early.
            mean = pd.concat(histories).groupby("epoch")[name].mean()
            axes.plot(mean.index, mean, color=shade, linewidth=1.8, label=label, marker=_marker(mean))
        _dress(axes, "epoch", "accuracy" if column == "accuracy" else "loss (nats)")
        axes.xaxis.get_major_locator().set_params(integer=True)
    accuracy.set_ylim(0, 1.02)
    _limit_loss(loss, pd.concat(histories))
    handles, labels = accuracy.get_legend_handles_labels()
    figure.legend(handles, labels, frameon=False, loc="upper right", bbox_to_anchor=(0.99, 1.0), fontsize=8, ncols=2)
    figure.suptitle(title, x=0.075, y=0.97, ha="left", fontsize=10, color=INK)
    figure.subplots_adjust(left=0.075, right=0.985, bottom=0.16, top=0.86, wspace=0.24)
    save(figure, path)


def _limit_loss(axes: Axes, history: pd.DataFrame) -> None:
    """From 0 to what the training's losses leave readable; what lies above is said in words."""
    limit, highest = LOSSES * history["loss"].max(), history["val_loss"].max()
    axes.set_ylim(bottom=0)
    if highest > limit:
        axes.set_ylim(top=limit)
        words = f"val up to {highest:.3g}"
        box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.9, "pad": 1.5}
        axes.text(0.98, 0.96, words, ha="right", va="top", fontsize=8, color=INK, bbox=box, transform=axes.transAxes)


def draw_roc(curves: dict[str, np.ndarray], title: Title, path: Path) -> None:
    """ROC curves by name, with their areas in the legend."""
    many = len(curves) > 1
    figure = Figure(figsize=(5.8 if many else 4.1, 3.9), dpi=DPI)
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color=FAINT, linewidth=1)
    for i, (name, curve) in enumerate(curves.items()):
        is_mean = name in MEAN_STYLES
        axes.plot(
            *thin(curve).T, MEAN_STYLES.get(name, "-"), label=f"{name}  {area(curve):.3f}",
            color=INK if is_mean else CLASS_COLOURS[i % len(CLASS_COLOURS)], linewidth=2.2 if is_mean else 1.4,
        )  # fmt: skip
    _dress(axes, "false positive rate", "true positive rate")
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal")
    if curves:
        legend = axes.legend(frameon=False, fontsize=8, title="area (AUC)", title_fontsize=8, loc="lower right")
        if many:
            legend.set_loc("upper left")
            legend.set_bbox_to_anchor((1.02, 1))
    left, right = (0.1, 0.68) if many else (0.14, 0.96)
    figure.subplots_adjust(left=left, right=right, bottom=0.13, top=0.87 if title.alarm else 0.91)
    _head(figure, title, left * figure.get_figwidth())
    save(figure, path)


def draw_confusion(table: pd.DataFrame, title: Title, path: Path) -> None:
    """Counts (rows actual, columns predicted) with each row's shares; the shade is the share."""
    matrix, classes = table.to_numpy(), list(table.columns)
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    many = len(classes) > 3
    side = max(3.0, 0.56 * len(classes)) if many else 2.4
    longest = LETTER * max(map(len, classes))
    left, bottom, right = 0.5 + longest, 0.4 + 0.72 * longest if many else 0.6, 0.15
    top = 0.4 + (LINE if title.alarm else 0)
    width, height = side + left + right, side + bottom + top
    figure = Figure(figsize=(width, height), dpi=DPI)
    axes = figure.subplots()
    axes.imshow(shares, cmap=SHADES, vmin=0, vmax=1, aspect="auto")
    size, gap = (8, 0.15) if many else (11, 0.08)
    for (row, column), count in np.ndenumerate(matrix):
        share = shares[row, column]
        colour = "white" if share > 0.7 else INK if count else "#9aa7b2"
        axes.text(column, row - gap, str(count), ha="center", va="center", fontsize=size, color=colour)
        axes.text(column, row + 1.4 * gap, f"{share:.0%}", ha="center", va="center", fontsize=size - 1.5, color=colour)
    ticks = range(len(classes))
    axes.set_yticks(ticks, classes, fontsize=9, color=INK)
    axes.set_xticks(ticks, classes, fontsize=9, color=INK, rotation=45 if many else 0, ha="right" if many else "center")
    axes.set_xticks(np.arange(len(classes) + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(len(classes) + 1) - 0.5, minor=True)
    axes.grid(which="minor", color="#e3e8ec", linewidth=0.8)
    axes.tick_params(which="both", length=0)
    axes.spines[:].set_visible(False)
    axes.set_xlabel("predicted", color=INK, fontsize=9)
    axes.set_ylabel("actual", color=INK, fontsize=9)
    _head(figure, title)
    figure.subplots_adjust(left=left / width, right=1 - right / width, bottom=bottom / height, top=1 - top / height)
    save(figure, path)


def draw_examples(images: np.ndarray, ids: np.ndarray, table: pd.DataFrame, title: Title, path: Path) -> None:
    """The confusion matrix in pictures: one image a cell, with the cell's count.

    Args:
        images: uint8 [N, H, W, 3].
        ids: int64 [actual, predicted], -1 where no image fell into the cell.
        table: the counts, rows actual and columns predicted.
        title: stands above.
        path: where the PNG goes.
    """
    classes = list(table.columns)
    k = len(classes)
    side = EXAMPLE if k > 3 else 2 * EXAMPLE
    canvas = np.full((k * side, k * side, 3), 246, np.uint8)
    for (row, column), sample in np.ndenumerate(ids):
        if sample >= 0:
            cell = cv2.resize(images[sample], (side - 2, side - 2), interpolation=cv2.INTER_AREA)
            canvas[row * side + 1 : (row + 1) * side - 1, column * side + 1 : (column + 1) * side - 1] = cell
    inches = k * side / DPI
    longest = LETTER * max(map(len, classes))
    left, bottom, right = 0.4 + longest, 0.3 + 0.72 * longest if k > 3 else 0.5, 0.1
    top = 0.35 + (LINE if title.alarm else 0)
    width, height = inches + left + right, inches + bottom + top
    figure = Figure(figsize=(width, height), dpi=DPI)
    axes = figure.add_axes((left / width, bottom / height, inches / width, inches / height))
    axes.imshow(canvas, extent=(-0.5, k - 0.5, k - 0.5, -0.5), interpolation="none")
    for (row, column), count in np.ndenumerate(table.to_numpy()):
        if count:
            box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 1.0}
            axes.text(column - 0.46, row - 0.45, str(count), ha="left", va="top", fontsize=6.5, color=INK, bbox=box)
    for i in range(k):
        axes.add_patch(Rectangle((i - 0.5, i - 0.5), 1, 1, fill=False, edgecolor=INK, linewidth=1.6))
    axes.set_xticks(
        range(k), classes, fontsize=9, color=INK, rotation=45 if k > 3 else 0, ha="right" if k > 3 else "center"
    )
    axes.set_yticks(range(k), classes, fontsize=9, color=INK)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_xlabel("predicted", color=INK, fontsize=9)
    axes.set_ylabel("actual", color=INK, fontsize=9)
    _head(figure, title)
    save(figure, path, colours=0)


def draw_ablation(table: pd.DataFrame, ablation: dict[str, Any], path: Path) -> None:
    """Accuracy of the split that counts and of train along the axis, in both BatchNorm modes.

    Args:
        table: the rows of an ablation, see cnnstudy.evaluation.ablation, with the place `at` of each.
        ablation: `title`, `axis`, `split`, `batchnorm` (the mode that counts) and `chance`.
        path: where the PNG goes.
    """
    split, mode = ablation["split"], ablation["batchnorm"]
    other = "moving" if mode == "recalibrated" else "recalibrated"
    figure = Figure(figsize=(7.2, 3.8), dpi=DPI)
    axes = figure.subplots()
    axes.axhline(ablation["chance"], color=INK, linewidth=0.9, linestyle=":", label="chance")
    if is_numeric_dtype(table["x"]):
        for phase, rows in table.groupby("phase", sort=False):
            _draw_axis(axes, rows, split, mode, other, f"{phase}, " if table["phase"].nunique() > 1 else "")
    else:
        _draw_words(axes, table, split, other)
    names = table.drop_duplicates("run")
    axes.set_xticks(range(len(names)), names["x"], fontsize=9)
    axes.set_xlim(-0.5, len(names) - 0.5)
    flagged = [table.loc[table[f"constant{end}"], ["at", f"{split}_accuracy{end}"]] for end in ("", f"_{other}")]
    points = np.concatenate([each.to_numpy(float) for each in flagged])
    if len(points):
        axes.plot(*points.T, "o", color=ALARM, fillstyle="none", markersize=13, zorder=4)
        axes.plot([], [], "o", color=ALARM, fillstyle="none", markersize=11, label="one class for\nevery image")
    _dress(axes, ablation["axis"], "accuracy")
    axes.set_ylim(0, 1.04)
    axes.set_title(ablation["title"], loc="left", fontsize=10, color=INK)
    handles, labels = axes.get_legend_handles_labels()
    order = sorted(range(len(labels)), key=lambda i: not labels[i].startswith(split))
    axes.legend(
        [handles[i] for i in order], [labels[i] for i in order],
        frameon=False, loc="upper left", bbox_to_anchor=(1.01, 1), fontsize=8, labelspacing=0.9,
    )  # fmt: skip
    figure.subplots_adjust(left=0.08, right=0.71, bottom=0.14, top=0.91)
    save(figure, path)


def _draw_axis(axes: Axes, table: pd.DataFrame, split: str, mode: str, other: str, phase: str) -> None:
    x, accuracy = table["at"], table[f"{split}_accuracy"]
    axes.plot(x, table["train_accuracy"], "s-", color=TRAIN, markersize=5, label=f"{phase}train")
    in_other, label = table[f"{split}_accuracy_{other}"], f"{phase}{split}, {other} statistics"
    axes.plot(x, in_other, "d--", color=OTHER_MODE, markersize=5, label=label)
    axes.errorbar(
        x, accuracy, yerr=_bars(table, split), fmt="o-", color=HELD_OUT, linewidth=1.8, markersize=6, capsize=4,
        zorder=3, label=f"{phase}{split}, {mode} statistics,\n95 % interval",
        fillstyle="none" if phase.startswith("tuned") else "full",
    )  # fmt: skip


def _draw_words(axes: Axes, table: pd.DataFrame, split: str, other: str) -> None:
    for phase, rows in table.groupby("phase", sort=False):
        fill = "full" if phase == "base" else "none"
        for row in rows.index:
            point = rows.loc[[row]]
            axes.errorbar(
                point["at"], point[f"{split}_accuracy"], yerr=_bars(point, split), fmt="o", fillstyle=fill,
                markersize=8, color=NET_COLOURS[str(point["net"].item())], linewidth=1.8, capsize=4, zorder=3,
            )  # fmt: skip
        axes.plot([], [], "o", color=INK, fillstyle=fill, label=f"{split}, {phase}, 95 % interval")
    axes.plot(table["at"], table["train_accuracy"], "s", color=TRAIN, markersize=5, label="train")
    axes.plot(
        table["at"],
        table[f"{split}_accuracy_{other}"],
        "d",
        color=OTHER_MODE,
        markersize=5,
        label=f"{split}, {other}\nstatistics",
    )


def _bars(table: pd.DataFrame, split: str) -> np.ndarray:
    """Lengths below and above of the intervals, [2, n]."""
    accuracy = table[f"{split}_accuracy"]
    return np.abs([accuracy - table[f"{split}_accuracy_low"], table[f"{split}_accuracy_high"] - accuracy])


def draw_trainings(trainings: list[Training], title: str, path: Path) -> None:
    """Accuracy against the images seen, of several runs: training's on the left, validation's on the right."""
    figure = Figure(figsize=(7.2, 3.2), dpi=DPI)
    for axes, column in zip(figure.subplots(1, 2, sharey=True), ("train", "val"), strict=True):
        for training in trainings:
            images, accuracy = training.table["images"], training.table[column]
            axes.plot(
                images, accuracy, color=training.colour, linewidth=1.6, label=training.name, marker=_marker(images)
            )
        label = "accuracy in training" if column == "train" else "val accuracy, moving statistics"
        _dress(axes, "images seen", label)
        axes.set_ylim(0, 1.02)
        axes.set_xlim(left=0)
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    legend = figure.axes[1].legend(frameon=False, fontsize=8, loc="upper left")
    legend.set_bbox_to_anchor((1.01, 1))
    figure.suptitle(title, x=0.075, y=0.97, ha="left", fontsize=10, color=INK)
    figure.subplots_adjust(left=0.075, right=0.84, bottom=0.15, top=0.88, wspace=0.22)
    save(figure, path)


def draw_recipes(curves: dict[str, dict[str, dict[str, list]]], title: str, path: Path) -> None:
    """Accuracy on val against the images seen, by net and recipe: a thin line a seed, and their mean.

    The curves are {net: {recipe: {images: [epochs], val: [seeds, epochs]}}}; "report" is one of the recipes.
    """
    figure = Figure(figsize=(1.2 + 2.6 * len(curves), 3.5), dpi=DPI)
    grid = figure.subplots(1, len(curves), sharey=True, squeeze=False)[0]
    for axes, (net, recipes) in zip(grid, curves.items(), strict=True):
        for (recipe, its), colour in zip(recipes.items(), (TRAIN, HELD_OUT, OTHER_MODE), strict=True):
            images, val = its["images"], np.array(its["val"])
            axes.plot(images, val.T, color=colour, linewidth=0.6, alpha=0.5)
            axes.plot(images, val.mean(axis=0), color=colour, linewidth=2, label=recipe, marker=_marker(images))
        goal = np.mean([seed[-1] for seed in recipes["report"]["val"]])
        axes.axhline(goal, color=FAINT, linewidth=0.9, linestyle="--", zorder=0, label="where report ends")
        _dress(axes, "images seen", "val accuracy, statistics of batches" if axes is grid[0] else "")
        axes.set_title(net, loc="left", fontsize=9, color=INK)
        axes.set_ylim(0, 1.02)
        axes.set_xlim(left=0)
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    labelled = grid[-1].get_legend_handles_labels()
    figure.legend(*labelled, frameon=False, fontsize=8, loc="lower center", ncols=4, handlelength=1.5, columnspacing=1)
    figure.suptitle(title, x=0.02, y=0.98, ha="left", fontsize=10, color=INK)
    figure.subplots_adjust(left=0.75 / figure.get_figwidth(), right=0.98, bottom=0.24, top=0.84, wspace=0.12)
    save(figure, path)


def draw_differences(pairs: list[Difference], title: str, path: Path) -> None:
    """Differences in accuracy with 95 % intervals, a row a pair; those that are more than chance are dark."""
    height = 0.9 + 0.24 * len(pairs)
    figure = Figure(figsize=(7.2, height), dpi=DPI)
    axes = figure.subplots()
    axes.axvline(0, color=INK, linewidth=0.9)
    for real, colour, label in ((True, INK, "more than chance"), (False, "#9fb0bd", "could be chance")):
        rows = [i for i, pair in enumerate(pairs) if pair.real == real]
        if rows:
            middle = np.array([pairs[i].difference for i in rows])
            ends = np.abs(np.array([(pairs[i].low, pairs[i].high) for i in rows]).T - middle)
            axes.errorbar(middle, rows, xerr=ends, fmt="o", color=colour, capsize=3, markersize=5, label=label)
    _dress(axes, "difference in accuracy, 95 % interval", "")
    axes.set_yticks(range(len(pairs)), [f"{pair.first} − {pair.second}" for pair in pairs])
    axes.set_ylim(len(pairs) - 0.4, -0.6)
    axes.set_title(title, loc="left", fontsize=10, color=INK)
    axes.xaxis.set_major_locator(MaxNLocator(6))
    axes.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1.01, 1))
    figure.subplots_adjust(left=0.33, right=0.79, bottom=0.5 / height, top=1 - 0.3 / height)
    save(figure, path)


def _head(figure: Figure, title: Title, left: float = 0.1) -> None:
    """Write a title above a figure, `left` inches from its edge, with a line that says what is wrong with the net."""
    width, height = figure.get_size_inches()
    lines = [title.text, title.alarm] if title.alarm else [title.text]
    size = min(10, 10 * (width - left) / (LETTER * 1.15 * max(map(len, lines))))
    colour = ALARM if title.alarm else INK
    figure.text(left / width, 1 - 0.09 / height, "\n".join(lines), va="top", fontsize=size, color=colour)


def _dress(axes: Axes, x: str, y: str) -> None:
    axes.set_xlabel(x, fontsize=9, color=INK)
    axes.set_ylabel(y, fontsize=9, color=INK)
    axes.grid(color="#e3e8ec", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=8, length=0, colors=INK)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(FAINT)


def _marker(points: Sized) -> str:
    """A line of one or two points needs a mark to be seen."""
    return "o" if len(points) < 3 else ""


def save(figure: Figure, path: Path, colours: int = COLOURS) -> None:
    """Save a figure with a palette of so many colours, or with all where 0."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    picture = Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3])
    picture = _with_palette(picture, colours) if colours else picture
    picture.save(path, compress_level=COMPRESSION)


def _with_palette(picture: Image.Image, colours: int) -> Image.Image:
    """In so many colours, chosen the quickest way, which alone would leave the white ground a little grey."""
    few = picture.quantize(colours, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    palette, ground = few.getpalette() or [], 3 * int(np.asarray(few)[0, 0])
    palette[ground : ground + 3] = np.asarray(picture)[0, 0].tolist()
    few.putpalette(palette)
    return few
