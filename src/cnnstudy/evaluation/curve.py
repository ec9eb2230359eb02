"""Geometry of ROC curves; numpy only.

A curve is float64 [k, 2] of (false positive rate, true positive rate) from (0, 0) to (1, 1), never falling.
"""

import numpy as np


def mean_curve(curves: list[np.ndarray]) -> np.ndarray:
    """Return the vertical mean of curves, exact at every step, so that its area is the mean of their areas."""
    if len(curves) == 1:
        return curves[0]
    grid = np.unique(np.concatenate([curve[:, 0] for curve in curves]))
    after = np.mean([np.interp(grid, curve[:, 0], curve[:, 1]) for curve in curves], axis=0)
    # np.interp returns the upper end of a vertical step, and on mirrored curves the lower end.
    before = np.mean([np.interp(-grid, -curve[::-1, 0], curve[::-1, 1]) for curve in curves], axis=0)
    steps = np.column_stack([np.repeat(grid, 2), np.column_stack([before, after]).ravel()])
    return steps[np.append(True, (np.diff(steps, axis=0) != 0).any(axis=1))]


def area(curve: np.ndarray) -> float:
    """Return the area under a curve."""
    return float(np.trapezoid(curve[:, 1], curve[:, 0]))


def thin(curve: np.ndarray, points: int = 200) -> np.ndarray:
    """Return at most `points` points of a curve, evenly along its length and with its ends, for files and figures."""
    if len(curve) <= points:
        return curve
    length = np.cumsum(np.append(0, np.abs(np.diff(curve, axis=0)).sum(axis=1)))
    return curve[np.unique(np.searchsorted(length, np.linspace(0, length[-1], points)).clip(max=len(curve) - 1))]
