"""COVID-19 Radiography Database (Kaggle): <class>/images/ beside <class>/masks/, or <class>/ alone in an older copy."""

from dataclasses import replace
from pathlib import Path

from cnnstudy.data.sources import Candidate, folders

NAME = "COVID-19_Radiography_Dataset"


def find(root: Path, names: set[str]) -> list[Candidate]:
    """Every file of the class folders; masks, which carry the images' names, and tables are not taken."""
    inner = f"{NAME}/" if (root / NAME).is_dir() else ""
    found = folders.find(root / inner, names)
    return [replace(_checked(candidate), path=inner + candidate.path) for candidate in found]


def _checked(candidate: Candidate) -> Candidate:
    parts = candidate.path.split("/")
    if len(parts) > 2 and parts[1].casefold() == "masks":
        return replace(candidate, reason="a mask of the lungs")
    if len(parts) == 1:
        return replace(candidate, reason="not in a class folder")
    return candidate
