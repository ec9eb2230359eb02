"""Regions of images, such as the lungs or the background, as masks of single images."""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from cnnstudy.config.schema import Region, Study
from cnnstudy.data import sources
from cnnstudy.data.specifications import generator_of, read_regions


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


def masks(study: Study, ids: np.ndarray, paths: list[str], specifications: Path) -> tuple[dict[str, np.ndarray], bool]:
    """Return a mask of each region of each image, bool [n, side, side], and whether these are of the single images.

    Synthetic images have them from their generator, and some sources bring masks; otherwise every image has the ellipse
    that the region states.

    Args:
        study: the parameters of the study.
        ids: the images' ids, int [n].
        paths: the paths of the images below the source's folder, in the order of `ids`.
        specifications: the study's specifications.jsonl.
    """
    side = study.image_size
    found = {name: np.repeat(ellipse(region, side)[None], len(ids), axis=0) for name, region in study.regions.items()}
    exact = _exact(study, ids, paths, specifications)
    known = {name: mask for name, mask in exact.items() if name in found}
    return found | known, bool(known)


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
    if not all(file.is_file() for file in files):
        return {}
    return {masked.region: np.stack([_read(file, study.image_size) for file in files])}


def ellipse(region: Region, side: int) -> np.ndarray:
    """Return a region's ellipse, or what is outside of it, bool [side, side]."""
    x, y, width, height = region.ellipse
    down, across = (np.mgrid[:side, :side] + 0.5) / side
    inside: np.ndarray = ((across - x) / width) ** 2 + ((down - y) / height) ** 2 <= 1
    return ~inside if region.outside else inside


def _read(file: Path, side: int) -> np.ndarray:
    """Return a mask file as bool [side, side].

    Raises:
        OSError: the file is no image.
    """
    image = cv2.imdecode(np.fromfile(file, np.uint8), cv2.IMREAD_GRAYSCALE)
    if image is None:
        raise OSError(f"{file}: not an image")
    resized: np.ndarray = cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA) > 127
    return resized
