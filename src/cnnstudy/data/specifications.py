"""What drawn images show, read back from specifications.jsonl: as numbers for an oracle, in words for a reader."""

import json
from pathlib import Path
from typing import Any

from cnnstudy.data.synth.faces import UNITS

Specification = dict[str, Any]


def read(file: Path) -> list[Specification]:
    """One specification a sample, in the order of samples.csv; none where the images were not drawn."""
    lines = file.read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines if line != "null"]


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
        return f"{shown}\n~{specification['blend']}" if specification["blend"] else shown
    picture, patches = specification["picture"], len(specification["patches"])
    found = f"{patches} patches" if patches else specification["mimic"] or "clear"
    return f"{found}, {picture['site']}, {picture['view']}"
