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
    `attention_share`; the mean share of the image that this takes, `attention_area`; and the first over the second,
    `attention_ratio`: 1 for a net that looks anywhere.
    """
    found = shares(arrays["measured/id"], arrays["measured/map"], specifications, generator)
    if found.empty:
        return {}
    share, covered = float(found["share"].mean()), float(found["area"].mean())
    return {"attention_share": share, "attention_area": covered, "attention_ratio": share / covered}


def shares(ids: np.ndarray, maps: np.ndarray, specifications: Path, generator: ModuleType) -> pd.DataFrame:
    """Return of some images `id`, the `share` of its map on the evidence, and the `area` that the evidence takes.

    A map that is zero everywhere, and an image without evidence, are left out.
    """
    by_id, side = dict(zip(ids.tolist(), maps, strict=True)), maps.shape[1]
    rows = []
    for i, area in read_areas(specifications, generator, by_id, side * POINTS):
        # What share of a cell of the map is covered.
        cover = area.reshape(side, POINTS, side, POINTS).mean(axis=(1, 3))
        if cover.any() and by_id[i].any():
            rows.append((i, (cover * by_id[i]).sum() / by_id[i].sum(dtype=np.float64), cover.mean()))
    return pd.DataFrame(rows, columns=["id", "share", "area"])


def by_class(found: pd.DataFrame, names: Mapping[int, str]) -> pd.DataFrame:
    """Return the overlap of each class, from that of images (see `shares`) and the names of their classes by id.

    Columns class, images, ratio (mean share over mean area), and its 95 % interval, low and high.
    """
    rows = []
    for name, some in found.groupby(found["id"].map(names), sort=False):
        gain, area, n = some["share"] - some["area"], some["area"].mean(), len(some)
        error = ERRORS * float(gain.std(ddof=1)) / np.sqrt(n) if n > 1 else np.inf
        rows.append((name, n, *(1 + (gain.mean() + each) / area for each in (0, -error, error))))
    return pd.DataFrame(rows, columns=["class", "images", "ratio", "low", "high"])
