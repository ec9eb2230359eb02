"""COVID-19 Radiography Database (Kaggle): <class>/images/ beside <class>/masks/, or <class>/ alone in an older copy."""

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

from cnnstudy.config.schema import Source
from cnnstudy.data.sources import Candidate, folders

ABOUT = (
    "COVID-19 Radiography Database (Chowdhury et al. 2020, Rahman et al. 2021): X-rays from several hospitals and "
    "collections; a class can coincide with a source."
)


# The region of the images that the masks show.
REGION = "lungs"


def find(root: Path, names: Collection[str], source: Source) -> list[Candidate]:
    """Return every file of the class folders; masks, which have the images' names, and tables are rejected."""
    return [_worded(candidate) for candidate in folders.find(root, names, source)]


def mask_file(image: Path) -> Path:
    """Return the file of an image's mask."""
    return image.parent.parent / "masks" / image.name


def _worded(candidate: Candidate) -> Candidate:
    is_mask = candidate.reason.startswith("a mask: in masks")
    return replace(candidate, reason="a mask of the lungs") if is_mask else candidate
