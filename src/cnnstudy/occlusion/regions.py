"""Regions of images, such as the lungs or the background, as masks of single images."""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from cnnstudy.config.schema import Region, Study
from cnnstudy.data import sources
from cnnstudy.data.specifications import generator_of, read_regions
from cnnstudy.workspace.terminal import say

# The margin around a mask, as a share of the side. Masks may leave out a part of what they are of.
MARGIN = 0.05


@dataclass(frozen=True)
class Test:
    """One way to hide a part of the images: a region, or with `keeps` all but the region.

    `is_blind` says that no evidence for the class is left, so that accuracy above chance shows a shortcut.
    """

    region: str
    keeps: bool
    is_blind: bool

    @property
    def name(self) -> str:
        """The name of the test, such as `without_lungs` or `only_lungs`."""
        return f"{'only' if self.keeps else 'without'}_{self.region.replace('-', '_')}"


def tests(regions: dict[str, Region]) -> list[Test]:
    """Return the tests of a study's regions: each hidden, and each alone unless it holds a part of the evidence."""
    found = []
    for name, region in regions.items():
        found.append(Test(name, keeps=False, is_blind=region.evidence == "all"))
        if region.evidence != "part":
            found.append(Test(name, keeps=True, is_blind=region.evidence == "none"))
    return found


def masks(
    study: Study, ids: np.ndarray, paths: list[str], specifications: Path
) -> tuple[dict[str, np.ndarray], list[str]]:
    """Return a mask of each region of each image, bool [n, side, side], and the regions that are ellipses.

    Synthetic images have exact regions from their generator, and some sources bring masks, which are widened by
    `MARGIN`; for all other regions every image has the ellipse that the region states.

    Args:
        study: the parameters of the study.
        ids: the images' ids, int [n].
        paths: the paths of the images below the source's folder, in the order of `ids`.
        specifications: the study's specifications.jsonl.
    """
    side = study.image_size
    found = {name: np.repeat(ellipse(region, side)[None], len(ids), axis=0) for name, region in study.regions.items()}
    exact = {name: mask for name, mask in _exact(study, ids, paths, specifications).items() if name in found}
    return found | exact, [name for name in found if name not in exact]


def _exact(study: Study, ids: np.ndarray, paths: list[str], specifications: Path) -> dict[str, np.ndarray]:
    """Return the masks that are known for the single images, by region."""
    if generator := generator_of(study):
        wanted = set(ids.tolist())
        by_id = dict(read_regions(specifications, generator, wanted, study.image_size))
        return {name: np.stack([by_id[i][name] for i in ids.tolist()]) for name in by_id[int(ids[0])]}
    masked = sources.masks(study.source.format)
    if masked is None or study.crop is not None:
        return {}
    files = [masked.file(Path(study.source.path, path)) for path in paths]
    if missing := [file for file in files if not file.is_file()]:
        say(f"{len(missing)} of {len(files)} masks are missing, such as {missing[0]}: ellipses take their place")
        return {}
    return {masked.region: np.stack([_read(file, study.image_size) for file in files])}


def ellipse(region: Region, side: int) -> np.ndarray:
    """Return a region's ellipse, or what is outside of it, bool [side, side]."""
    x, y, width, height = region.ellipse
    down, across = (np.mgrid[:side, :side] + 0.5) / side
    inside: np.ndarray = ((across - x) / width) ** 2 + ((down - y) / height) ** 2 <= 1
    return ~inside if region.outside else inside


def _read(file: Path, side: int) -> np.ndarray:
    """Return a mask file, widened by `MARGIN`, as bool [side, side].

    Raises:
        OSError: the file is no image.
    """
    image = cv2.imdecode(np.fromfile(file, np.uint8), cv2.IMREAD_GRAYSCALE)
    if image is None:
        raise OSError(f"{file}: not an image")
    margin = np.ones((2 * round(MARGIN * side) + 1,) * 2, np.uint8)
    resized: np.ndarray = cv2.dilate(cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA), margin) > 127
    return resized
