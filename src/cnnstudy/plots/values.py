"""Figures of predicted values: against the true ones, and, of two values, over their plane."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cnnstudy.plots.style import DPI, FAINT, HELD_OUT, INK, TRAIN, dress, save


def draw_values(
    truth: np.ndarray, predicted: np.ndarray, names: Sequence[str], ranges: Sequence[Sequence[float]], title: str,
    path: Path,
) -> None:  # fmt: skip
    """Draw predicted against true values, [n, k] each; two values also as points of a plane, such as the circumplex."""
    count = len(names) + (len(names) == 2)
    figure = Figure(figsize=(3.1 * count, 3.4), dpi=DPI, layout="constrained")
    panels: list[Axes] = list(figure.subplots(1, count, squeeze=False)[0])
    for place, (name, axes) in enumerate(zip(names, panels, strict=False)):
        axes.plot(ranges[place], ranges[place], color=FAINT, linewidth=1)
        axes.plot(truth[:, place], predicted[:, place], ".", color=HELD_OUT, markersize=3.5, alpha=0.6)
        _frame(axes, f"true {name}", f"predicted {name}", ranges[place], ranges[place])
    if len(names) == 2:
        axes = panels[-1]
        both = np.isfinite(truth).all(axis=1)
        for points, colour, label in ((truth, TRAIN, "true"), (predicted, HELD_OUT, "predicted")):
            axes.plot(*points[both].T, ".", color=colour, markersize=3.5, alpha=0.6, label=label)
        _frame(axes, names[0], names[1], *ranges)
        axes.legend(frameon=False, fontsize=8, loc="upper right", markerscale=3)
    figure.suptitle(title, x=0.01, ha="left", fontsize=10, color=INK)
    save(figure, path)


def draw_scores(names: Sequence[str], table: pd.DataFrame, column: str, title: str, path: Path) -> None:
    """Draw a metric with its 95 % interval, `<column>_low` to `<column>_high` of the table, one row per name."""
    height = 0.9 + 0.3 * len(names)
    figure = Figure(figsize=(7.2, height), dpi=DPI, layout="constrained")
    axes = figure.subplots()
    middle = table[column].to_numpy()
    ends = np.abs(table[[f"{column}_low", f"{column}_high"]].to_numpy().T - middle)
    axes.errorbar(middle, range(len(names)), xerr=ends, fmt="o", color=HELD_OUT, capsize=3, markersize=6)
    dress(axes, "mean CCC, 95 % interval", "")
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_title(title, loc="left", fontsize=10, color=INK)
    save(figure, path)


def _frame(axes: Axes, x: str, y: str, across: Sequence[float], up: Sequence[float]) -> None:
    dress(axes, x, y)
    axes.set(xlim=_wider(across), ylim=_wider(up), aspect="equal" if list(across) == list(up) else "auto")


def _wider(ends: Sequence[float]) -> tuple[float, float]:
    margin = 0.05 * (ends[1] - ends[0])
    return ends[0] - margin, ends[1] + margin
