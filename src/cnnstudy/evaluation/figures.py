"""Figures of a run and of an ablation, drawn without pyplot.

Figures are stored with a palette: a third of the bytes, and no difference to the eye.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from PIL import Image

from cnnstudy.evaluation.curve import area, thin

DPI = 120
COLOURS = 192
INK, FAINT = "#22303c", "#c9d2da"
TRAIN, HELD_OUT, OTHER_MODE, ALARM = "#8494a2", "#0b63b0", "#e08a1e", "#c2261d"
# Told apart by colour-blind readers too (Okabe and Ito 2008; their yellow darkened).
CLASS_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#b59f00", "#7a4fbf", "#e69f00")
MEAN_STYLES = {"micro": ":", "macro": "--"}
SHADES = LinearSegmentedColormap.from_list("shades", ["#ffffff", "#a9cbe8", "#0b4a86"])


def draw_curves(histories: list[pd.DataFrame], title: str, path: Path) -> None:
    """Accuracy and loss against the epoch, side by side; with several seeds the mean, and each seed faintly."""
    figure = Figure(figsize=(7.2, 2.9), dpi=DPI)
    accuracy, loss = figure.subplots(1, 2)
    for axes, column in ((accuracy, "accuracy"), (loss, "loss")):
        for name, label, colour in ((column, "train", TRAIN), (f"val_{column}", "val", HELD_OUT)):
            values = np.array([history[name] for history in histories])  # [seeds, epochs]
            epochs = np.arange(1, values.shape[1] + 1)
            if len(histories) > 1:
                axes.plot(epochs, values.T, color=colour, alpha=0.3, linewidth=0.8)
            axes.plot(epochs, values.mean(axis=0), color=colour, linewidth=1.8, label=label, marker=_marker(epochs))
        _dress(axes, "epoch", column)
        axes.xaxis.get_major_locator().set_params(integer=True)
    accuracy.set_ylim(0, 1.02)
    loss.set_ylim(bottom=0)
    accuracy.legend(frameon=False, loc="lower right", fontsize=8)
    figure.suptitle(title, x=0.075, y=0.97, ha="left", fontsize=10, color=INK)
    figure.subplots_adjust(left=0.075, right=0.985, bottom=0.16, top=0.87, wspace=0.24)
    _save(figure, path)


def draw_roc(curves: dict[str, np.ndarray], title: str, path: Path) -> None:
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
    axes.set_title(title, loc="left", fontsize=10, color=INK)
    if curves:
        legend = axes.legend(frameon=False, fontsize=8, title="area (AUC)", title_fontsize=8, loc="lower right")
        if many:
            legend.set_loc("upper left")
            legend.set_bbox_to_anchor((1.02, 1))
    figure.subplots_adjust(left=0.1 if many else 0.14, right=0.68 if many else 0.96, bottom=0.13, top=0.91)
    _save(figure, path)


def draw_confusion(matrix: np.ndarray, classes: tuple[str, ...], title: str, path: Path) -> None:
    """Counts [actual, predicted] with each row's shares; the shade is the share."""
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    many = len(classes) > 3
    side = max(3.0, 0.56 * len(classes)) if many else 2.4
    left, bottom, right, top = 1.25, 1.05 if many else 0.6, 0.15, 0.4
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
    figure.text(0.1 / width, 1 - 0.24 / height, title, fontsize=10, color=INK)
    figure.subplots_adjust(left=left / width, right=1 - right / width, bottom=bottom / height, top=1 - top / height)
    _save(figure, path)


def draw_ablation(table: pd.DataFrame, ablation: dict[str, Any], path: Path) -> None:
    """Accuracy of the split that counts and of train against the axis, in both BatchNorm modes.

    Args:
        table: the rows of an ablation, see cnnstudy.evaluation.ablation.
        ablation: `title`, `axis`, `split`, `batchnorm` (the mode that counts) and `chance`.
        path: where the PNG goes.
    """
    split, mode = ablation["split"], ablation["batchnorm"]
    other = "moving" if mode == "recalibrated" else "recalibrated"
    x, accuracy = table["x"], table[f"{split}_accuracy"]
    figure = Figure(figsize=(7.2, 3.8), dpi=DPI)
    axes = figure.subplots()
    axes.axhline(ablation["chance"], color=INK, linewidth=0.9, linestyle=":", label="chance")
    axes.plot(x, table["train_accuracy"], "s-", color=TRAIN, markersize=5, label="train")
    in_other, label = table[f"{split}_accuracy_{other}"], f"{split}, {other} statistics"
    axes.plot(x, in_other, "d--", color=OTHER_MODE, markersize=5, label=label)
    bars = np.abs([accuracy - table[f"{split}_accuracy_low"], table[f"{split}_accuracy_high"] - accuracy])
    axes.errorbar(
        x, accuracy, yerr=bars, fmt="o-", color=HELD_OUT, linewidth=1.8, markersize=6, capsize=4, zorder=3,
        label=f"{split}, {mode} statistics,\n95 % interval",
    )  # fmt: skip
    for column, constant in ((f"{split}_accuracy", "constant"), (f"{split}_accuracy_{other}", f"constant_{other}")):
        flagged = table[table[constant]]
        if len(flagged):
            axes.plot(flagged["x"], flagged[column], "o", color=ALARM, fillstyle="none", markersize=13, zorder=4)
    if table["constant"].any() or table[f"constant_{other}"].any():
        axes.plot([], [], "o", color=ALARM, fillstyle="none", markersize=11, label="one class for\nevery image")
    _dress(axes, ablation["axis"], "accuracy")
    axes.set_xticks(x)
    axes.set_ylim(0, 1.04)
    axes.set_title(ablation["title"], loc="left", fontsize=10, color=INK)
    handles, labels = axes.get_legend_handles_labels()
    order = sorted(range(len(labels)), key=lambda i: not labels[i].startswith(split))
    axes.legend(
        [handles[i] for i in order], [labels[i] for i in order],
        frameon=False, loc="upper left", bbox_to_anchor=(1.01, 1), fontsize=8, labelspacing=0.9,
    )  # fmt: skip
    figure.subplots_adjust(left=0.08, right=0.71, bottom=0.14, top=0.91)
    _save(figure, path)


def _dress(axes: Axes, x: str, y: str) -> None:
    axes.set_xlabel(x, fontsize=9, color=INK)
    axes.set_ylabel(y, fontsize=9, color=INK)
    axes.grid(color="#e3e8ec", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=8, length=0, colors=INK)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(FAINT)


def _marker(epochs: np.ndarray) -> str:
    """A line of one or two points needs a mark to be seen."""
    return "o" if len(epochs) < 3 else ""


def _save(figure: Figure, path: Path) -> None:
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    picture = Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3])
    picture.quantize(COLOURS, dither=Image.Dither.NONE).save(path, optimize=True)
