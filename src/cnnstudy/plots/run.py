"""Figures of a run: training curves, ROC curves, confusion matrices and example images."""

from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from cnnstudy.plots.style import (
    DPI,
    FAINT,
    HELD_OUT,
    INK,
    LETTER,
    LINE,
    PALETTE,
    TRAIN,
    Title,
    dress,
    head,
    marker,
    save,
)  # fmt: skip

# Side of an image in a sheet of examples, in pixels.
EXAMPLE = 84
# The loss axis ends at this multiple of the highest training loss, since with moving statistics the val loss can reach
# hundreds.
LOSSES = 2.0
# What the axes of a history's columns are called; the loss of a net of values is not in nats.
AXES = {"accuracy": "accuracy", "ccc": "CCC", "loss": "loss (nats)"}
MEAN_STYLES = {"micro": ":", "macro": "--"}
SHADES = LinearSegmentedColormap.from_list("shades", ["#ffffff", "#a9cbe8", "#0b4a86"])


def draw_curves(histories: list[pd.DataFrame], title: str, path: Path) -> None:
    """Draw accuracy, CCC (if any) and loss against the epoch; for several seeds the mean, and each seed faintly.

    Accuracies, CCC and losses on val are measured with BatchNorm's moving statistics.
    """
    columns = [name for name in ("accuracy", "ccc", "loss") if name in histories[0]]
    figure = Figure(figsize=(3.6 * len(columns), 2.9), dpi=DPI)
    panels = figure.subplots(1, len(columns))
    for axes, column in zip(panels, columns, strict=True):
        for name, label, shade in ((column, "train", TRAIN), (f"val_{column}", "val, moving statistics", HELD_OUT)):
            if len(histories) > 1:
                for history in histories:
                    axes.plot(history["epoch"], history[name], color=shade, alpha=0.3, linewidth=0.8)
            # The mean is over the seeds that reached the epoch, since a training may stop early.
            mean = pd.concat(histories).groupby("epoch")[name].mean()
            axes.plot(mean.index, mean, color=shade, linewidth=1.8, label=label, marker=marker(mean))
        dress(axes, "epoch", AXES[column] if "ccc" not in columns else AXES[column].partition(" ")[0])
        axes.xaxis.get_major_locator().set_params(integer=True)
        if column != "loss":
            axes.set_ylim(0, 1.02)
    _limit_loss(panels[-1], pd.concat(histories))
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, frameon=False, loc="upper right", bbox_to_anchor=(0.99, 1.0), fontsize=8, ncols=2)
    figure.suptitle(title, x=0.075, y=0.97, ha="left", fontsize=10, color=INK)
    figure.subplots_adjust(left=0.075, right=0.985, bottom=0.16, top=0.86, wspace=0.24)
    save(figure, path)


def _limit_loss(axes: Axes, history: pd.DataFrame) -> None:
    """Limit the loss axis to a range in which training losses are readable; note the maximum on val if it is above."""
    limit, highest = LOSSES * history["loss"].max(), history["val_loss"].max()
    axes.set_ylim(bottom=0)
    if highest > limit:
        axes.set_ylim(top=limit)
        words = f"val up to {highest:.3g}"
        box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.9, "pad": 1.5}
        axes.text(0.98, 0.96, words, ha="right", va="top", fontsize=8, color=INK, bbox=box, transform=axes.transAxes)


def draw_roc(curves: dict[str, tuple[np.ndarray, float]], title: Title, path: Path) -> None:
    """Draw ROC curves, given by name as points [n, 2] and the area, which the legend shows."""
    many = len(curves) > 1
    figure = Figure(figsize=(5.8 if many else 4.1, 3.9), dpi=DPI)
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color=FAINT, linewidth=1)
    for i, (name, (points, area)) in enumerate(curves.items()):
        is_mean = name in MEAN_STYLES
        axes.plot(
            *points.T, MEAN_STYLES.get(name, "-"), label=f"{name}  {area:.3f}",
            color=INK if is_mean else PALETTE[i % len(PALETTE)], linewidth=2.2 if is_mean else 1.4,
        )  # fmt: skip
    dress(axes, "false positive rate", "true positive rate")
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal")
    if curves:
        legend = axes.legend(frameon=False, fontsize=8, title="area (AUC)", title_fontsize=8, loc="lower right")
        if many:
            legend.set_loc("upper left")
            legend.set_bbox_to_anchor((1.02, 1))
    left, right = (0.1, 0.68) if many else (0.14, 0.96)
    figure.subplots_adjust(left=left, right=right, bottom=0.13, top=0.87 if title.alarm else 0.91)
    head(figure, title, left * figure.get_figwidth())
    save(figure, path)


def draw_reliability(bins: Mapping[str, tuple[np.ndarray, np.ndarray]], title: Title, path: Path) -> None:
    """Draw the accuracy in bins of as many images each against the mean confidence; on the diagonal both are equal.

    `bins` has (confidence, accuracy), float [bins] each, before and, if any is fitted, after temperature scaling.
    """
    figure = Figure(figsize=(4.1, 3.9), dpi=DPI)
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color=FAINT, linewidth=1)
    for (name, (confidence, accuracy)), shade in zip(bins.items(), (TRAIN, HELD_OUT), strict=False):
        label = f"{name} temperature scaling"
        axes.plot(confidence, accuracy, color=shade, linewidth=1.4, marker="o", markersize=4, label=label)
    dress(axes, "confidence", "accuracy")
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal")
    if len(bins) > 1:
        axes.legend(frameon=False, fontsize=8, loc="upper left")
    figure.subplots_adjust(left=0.14, right=0.96, bottom=0.13, top=0.87 if title.alarm else 0.91)
    head(figure, title, 0.14 * figure.get_figwidth())
    save(figure, path)


def draw_confusion(table: pd.DataFrame, title: Title, path: Path) -> None:
    """Draw a confusion matrix (rows actual, columns predicted) of counts, with the shares of each row as shades."""
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
    head(figure, title)
    figure.subplots_adjust(left=left / width, right=1 - right / width, bottom=bottom / height, top=1 - top / height)
    save(figure, path)


def draw_examples(images: np.ndarray, ids: np.ndarray, table: pd.DataFrame, title: Title, path: Path) -> None:
    """Draw the confusion matrix with an example image in each cell, and the cell's count.

    Args:
        images: the images of all samples, uint8 [N, H, W, 3].
        ids: the example images, int64 [actual, predicted], -1 for an empty cell.
        table: the counts, rows actual and columns predicted.
        title: the title of the figure.
        path: the PNG file.
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
    head(figure, title)
    save(figure, path, colours=0)
