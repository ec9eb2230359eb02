"""Specifications of synthetic images, read from specifications.jsonl: as numbers for an oracle, and as captions."""

import json
from collections.abc import Collection, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np

from cnnstudy.config.schema import Study
from cnnstudy.data import synth

Specification = dict[str, Any]


def generator_of(study: Study) -> ModuleType | None:
    """Return the generator of a study's images, or None where its images are not synthetic."""
    is_synthetic = study.source.format == "synthetic" and study.synthetic is not None
    return synth.generator(study.synthetic.generator) if is_synthetic and study.synthetic else None


def numbers(file: Path, generator: ModuleType) -> np.ndarray:
    """Return the numbers that the class of each sample may depend on, float64 [N, k], in the order of the samples."""
    rows = [np.array(generator.as_numbers(specification)) for _, specification in read(file)]
    return np.stack(rows) if rows else np.empty((0, 0))


def captions(file: Path, generator: ModuleType, ids: Collection[int]) -> dict[int, str]:
    """Return captions of the samples `ids`, by id."""
    return {i: generator.in_words(specification) for i, specification in read(file, ids)}


def subgroups(file: Path, generator: ModuleType) -> dict[int, dict[str, str]]:
    """Return the properties by which the accuracy on synthetic samples is compared, by id."""
    return {i: generator.subgroups(specification) for i, specification in read(file)}


def read(file: Path, ids: Collection[int] | None = None) -> Iterator[tuple[int, Specification]]:
    """Yield the id and specification of each synthetic sample (in `ids`, if given), one at a time to save memory."""
    for i, line in _lines(file):
        if ids is None or i in ids:
            yield i, json.loads(line)


def read_areas(file: Path, generator: ModuleType, ids: Collection[int], side: int) -> Iterator[tuple[int, np.ndarray]]:
    """Yield the id of each sample in `ids`, and the area of the evidence for its class, bool [side, side]."""
    for i, line in _lines(file):
        if i in ids:
            shown = json.loads(line, object_hook=lambda content: SimpleNamespace(**content))
            yield i, generator.area(shown, side)


def read_regions(
    file: Path, generator: ModuleType, ids: Collection[int], side: int
) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
    """Yield the id of each sample in `ids`, and its regions by name, bool [side, side]."""
    for i, line in _lines(file):
        if i in ids:
            shown = json.loads(line, object_hook=lambda content: SimpleNamespace(**content))
            yield i, generator.regions(shown, side)


def _lines(file: Path) -> Iterator[tuple[int, str]]:
    with file.open(encoding="utf-8") as lines:
        yield from ((i, line) for i, line in enumerate(lines) if line != "null\n")
