"""The overlap of Grad-CAM maps with the evidence, from the geometry of the synthetic images."""

from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd

from cnnstudy.data.specifications import read_areas

# The number of points along each side of a map's cell.
POINTS = 16
# Half the width of a 95 % interval of a mean, in standard errors.
ERRORS = 1.96


def overlap(arrays: dict[str, np.ndarray], specifications: Path, generator: ModuleType) -> dict[str, float]:
    """Return the overlap of the saliency maps with the evidence; {} if no image shows evidence.

    `arrays` are those of gradcam.npz. The result is the mean share of a map that falls on the evidence for the class,
    `attention_share`; the mean share of the image that the evidence covers, `attention_area`; and the ratio of the two,
    `attention_ratio`: 1 for maps that are unrelated to the evidence.
    """
    found = shares(arrays["measured/id"], arrays["measured/map"], specifications, generator)
    if found.empty:
        return {}
    share, covered = float(found["share"].mean()), float(found["area"].mean())
    return {"attention_share": share, "attention_area": covered, "attention_ratio": share / covered}


def shares(ids: np.ndarray, maps: np.ndarray, specifications: Path, generator: ModuleType) -> pd.DataFrame:
    """Return for each image its `id`, the `share` of its map on the evidence, and the `area` that the evidence covers.

    Images without evidence, or with a map that is zero everywhere, are left out.
    """
    by_id, side = dict(zip(ids.tolist(), maps, strict=True)), maps.shape[1]
    rows = []
    for i, area in read_areas(specifications, generator, by_id, side * POINTS):
        # The share of each of the map's cells that the evidence covers.
        cover = area.reshape(side, POINTS, side, POINTS).mean(axis=(1, 3))
        if cover.any() and by_id[i].any():
            rows.append((i, (cover * by_id[i]).sum() / by_id[i].sum(dtype=np.float64), cover.mean()))
    return pd.DataFrame(rows, columns=["id", "share", "area"])


def by_class(found: pd.DataFrame, names: Mapping[int, str]) -> pd.DataFrame:
    """Return the overlap of each class, from the rows of `shares` and the class name of each image id.

    Columns class, images, ratio (mean share over mean area), and its 95 % interval, low and high.
    """
    rows = []
    for name, some in found.groupby(found["id"].map(names), sort=False):
        gain, area, n = some["share"] - some["area"], some["area"].mean(), len(some)
        error = ERRORS * float(gain.std(ddof=1)) / np.sqrt(n) if n > 1 else np.inf
        rows.append((name, n, *(1 + (gain.mean() + each) / area for each in (0, -error, error))))
    return pd.DataFrame(rows, columns=["class", "images", "ratio", "low", "high"])
