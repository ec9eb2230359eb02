"""What drawn images show, read back from specifications.jsonl: as numbers for an oracle, in words for a reader."""

import json
from collections.abc import Collection, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from cnnstudy.data.synth.faces import UNITS, expressive_area
from cnnstudy.data.synth.films import patch_area

Specification = dict[str, Any]

# Letters of a line of a caption, which would else run into that of the next picture.
LONGEST = 16


def numbers(file: Path) -> np.ndarray:
    """What `as_numbers` says of each sample, float64 [N, k], in their order; [0, 0] where none is drawn."""
    rows = [np.array(as_numbers(specification)) for _, specification in read(file)]
    return np.stack(rows) if rows else np.empty((0, 0))


def captions(file: Path, ids: Collection[int]) -> dict[int, str]:
    """What `in_words` says of some samples, by id; of those that are not drawn nothing."""
    return {i: in_words(specification) for i, specification in read(file, ids)}


def read(file: Path, ids: Collection[int] | None = None) -> Iterator[tuple[int, Specification]]:
    """Ids and specifications of samples that are drawn, or of some of them, one at a time: all take much memory."""
    for i, line in _lines(file):
        if ids is None or i in ids:
            yield i, json.loads(line)


def read_areas(file: Path, ids: Collection[int], side: int) -> Iterator[tuple[int, np.ndarray]]:
    """Ids of some samples that are drawn, and where what tells their class lies, bool [side, side]."""
    for i, line in _lines(file):
        if i in ids:
            shown = json.loads(line, object_hook=lambda content: SimpleNamespace(**content))
            yield i, (expressive_area if hasattr(shown, "units") else patch_area)(shown, side)


def _lines(file: Path) -> Iterator[tuple[int, str]]:
    with file.open(encoding="utf-8") as lines:
        yield from ((i, line) for i, line in enumerate(lines) if line != "null\n")


def as_numbers(specification: Specification) -> list[float]:
    """What the class may depend on: strengths of action units and one-sidedness, or number and density of patches."""
    if "units" in specification:
        strengths = dict(specification["units"])
        return [*(strengths.get(unit, 0.0) for unit in UNITS), float(specification["side"] != 0)]
    densities = [patch["density"] for patch in specification["patches"]]
    return [len(densities), sum(densities), max(densities, default=0.0)]


def in_words(specification: Specification) -> str:
    """A caption: action units (weak ones in brackets, `~` before a blend's other class), or patches, site and view."""
    if "units" in specification:
        units = "+".join(str(unit) for unit, _ in specification["units"]) or "no unit"
        shown = f"({units})" if specification["kind"] == "weak" else units
        blend = f"~{specification['blend']}" if specification["blend"] else ""
        if len(shown) <= LONGEST:
            return f"{shown}\n{blend}".rstrip()
        cut = shown.rindex("+", 0, LONGEST)
        return f"{shown[:cut]}\n{shown[cut:]} {blend}".rstrip()
    picture, patches = specification["picture"], len(specification["patches"])
    found = f"{patches} patches" if patches else specification["mimic"] or "clear"
    return f"{found}, {picture['site']}, {picture['view']}"
