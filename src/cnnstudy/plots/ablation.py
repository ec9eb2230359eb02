"""Figures that compare runs: ablation curves, trainings, differences, recipes."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator
from pandas.api.types import is_numeric_dtype

from cnnstudy.plots.style import (
    ALARM,
    DPI,
    FAINT,
    HELD_OUT,
    INK,
    OTHER_MODE,
    PALETTE,
    TRAIN,
    dress,
    marker,
    save,
)  # fmt: skip


@dataclass(frozen=True)
class TrainingCurve:
    """A training in `draw_trainings`; `table` has the columns images (seen so far), train and val (the metric)."""

    name: str
    colour: str
    table: pd.DataFrame


def draw_ablation(table: pd.DataFrame, ablation: dict[str, Any], path: Path) -> None:
    """Draw the accuracies on the primary split and on train along the axis of an ablation, in both BatchNorm modes.

    Args:
        table: the rows of an ablation, see cnnstudy.evaluation.ablation, with the x position of each as `at`.
        ablation: `title`, `axis`, `split`, `batchnorm` (the primary mode) and `chance`.
        path: the PNG file.
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
    points = np.concatenate([rows.to_numpy(float) for rows in flagged])
    if len(points):
        axes.plot(*points.T, "o", color=ALARM, fillstyle="none", markersize=13, zorder=4)
        axes.plot([], [], "o", color=ALARM, fillstyle="none", markersize=11, label="one class for\nevery image")
    dress(axes, ablation["axis"], "accuracy")
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
        for place, row in enumerate(rows.index):
            point = rows.loc[[row]]
            axes.errorbar(
                point["at"], point[f"{split}_accuracy"], yerr=_bars(point, split), fmt="o", fillstyle=fill,
                markersize=8, color=PALETTE[place % len(PALETTE)], linewidth=1.8, capsize=4, zorder=3,
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
    """Return the lengths of the intervals below and above the accuracies, [2, n]."""
    accuracy = table[f"{split}_accuracy"]
    return np.abs([accuracy - table[f"{split}_accuracy_low"], table[f"{split}_accuracy_high"] - accuracy])


def draw_trainings(trainings: list[TrainingCurve], title: str, path: Path, metric: str = "accuracy") -> None:
    """Draw a metric of several runs against the images seen: in training on the left, on val on the right."""
    figure = Figure(figsize=(7.2, 3.2), dpi=DPI, layout="constrained")
    for axes, column in zip(figure.subplots(1, 2, sharey=True), ("train", "val"), strict=True):
        for training in trainings:
            images, accuracy = training.table["images"], training.table[column]
            axes.plot(
                images, accuracy, color=training.colour, linewidth=1.6, label=training.name, marker=marker(images)
            )
        label = f"{metric} in training" if column == "train" else f"val {metric}, moving statistics"
        dress(axes, "images seen", label)
        axes.set_ylim(0, 1.02)
        axes.set_xlim(left=0)
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    figure.legend(*axes.get_legend_handles_labels(), frameon=False, fontsize=8, loc="outside right upper")
    figure.suptitle(title, x=0.01, ha="left", fontsize=10, color=INK)
    save(figure, path)


def draw_recipes(curves: dict[str, dict[str, dict[str, list]]], title: str, path: Path) -> None:
    """Draw the accuracy on val against the images seen, by net and recipe: a thin line per seed, and their mean.

    The curves are {net: {recipe: {images: [epochs], val: [seeds, epochs]}}}; "report" is one of the recipes.
    """
    figure = Figure(figsize=(1.2 + 2.6 * len(curves), 3.5), dpi=DPI)
    grid = figure.subplots(1, len(curves), sharey=True, squeeze=False)[0]
    for axes, (net, recipes) in zip(grid, curves.items(), strict=True):
        for (recipe, curve), colour in zip(recipes.items(), (TRAIN, HELD_OUT, OTHER_MODE), strict=True):
            images, val = curve["images"], np.array(curve["val"])
            axes.plot(images, val.T, color=colour, linewidth=0.6, alpha=0.5)
            axes.plot(images, val.mean(axis=0), color=colour, linewidth=2, label=recipe, marker=marker(images))
        goal = np.mean([seed[-1] for seed in recipes["report"]["val"]])
        axes.axhline(goal, color=FAINT, linewidth=0.9, linestyle="--", zorder=0, label="report, final mean")
        dress(axes, "images seen", "val accuracy, batch statistics" if axes is grid[0] else "")
        axes.set_title(net, loc="left", fontsize=9, color=INK)
        axes.set_ylim(0, 1.02)
        axes.set_xlim(left=0)
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    labelled = grid[-1].get_legend_handles_labels()
    figure.legend(*labelled, frameon=False, fontsize=8, loc="lower center", ncols=4, handlelength=1.5, columnspacing=1)
    figure.suptitle(title, x=0.02, y=0.98, ha="left", fontsize=10, color=INK)
    figure.subplots_adjust(left=0.75 / figure.get_figwidth(), right=0.98, bottom=0.24, top=0.84, wspace=0.12)
    save(figure, path)


def draw_differences(pairs: pd.DataFrame, title: str, path: Path, metric: str = "accuracy") -> None:
    """Draw differences in a metric with 95 % intervals, one row per pair; significant differences are dark.

    `pairs` has the columns first, second, difference, low, high and significant.
    """
    height = 0.9 + 0.24 * len(pairs)
    figure = Figure(figsize=(7.2, height), dpi=DPI)
    axes = figure.subplots()
    axes.axvline(0, color=INK, linewidth=0.9)
    for is_significant, colour, label in ((True, INK, "significant"), (False, "#9fb0bd", "not significant")):
        rows = np.flatnonzero(pairs["significant"] == is_significant)
        if len(rows):
            middle = pairs["difference"].to_numpy()[rows]
            ends = np.abs(pairs[["low", "high"]].to_numpy()[rows].T - middle)
            axes.errorbar(middle, rows, xerr=ends, fmt="o", color=colour, capsize=3, markersize=5, label=label)
    dress(axes, f"difference in {metric}, 95 % interval", "")
    axes.set_yticks(range(len(pairs)), pairs["first"] + " − " + pairs["second"])
    axes.set_ylim(len(pairs) - 0.4, -0.6)
    axes.set_title(title, loc="left", fontsize=10, color=INK)
    axes.xaxis.set_major_locator(MaxNLocator(6))
    axes.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1.01, 1))
    figure.subplots_adjust(left=0.33, right=0.79, bottom=0.5 / height, top=1 - 0.3 / height)
    save(figure, path)
