"""Images the project draws itself: a candidate's path is split/class/number."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np

from cnnstudy.config.schema import Params, StudyName
from cnnstudy.data.decode import Decoded
from cnnstudy.data.sources import Candidate
from cnnstudy.data.synth import faces, films

Specification = faces.Face | films.Film


def find(params: Params, study: StudyName) -> list[Candidate]:
    """Every image to draw, split by split and class by class; a film's group is its patient."""
    settings = params.study(study)
    counts = {"train": settings.drawn.train, "tune": settings.drawn.tune, "test": settings.drawn.test}
    names = [
        (f"{split}/{label}/{index:05d}", label, split)
        for split, count in counts.items()
        for label in settings.classes
        for index in range(count)
    ]
    return [Candidate(path, label, _patient(params, study, path), split) for path, label, split in names]


def specify(params: Params, study: StudyName, path: str) -> Specification:
    """What the image at `path` shows, as drawn under `params`."""
    split, label, index = path.split("/")
    if study == "faces":
        return faces.specify(label, split, int(index), params.data_seed)
    drawn = params.xray.drawn
    tie = drawn.test_site_label_correlation if split == "test" else drawn.site_label_correlation
    return films.specify(label, split, int(index), params.data_seed, tie)


def reader(params: Params, study: StudyName) -> partial[Decoded]:
    """A function from candidate to pixels that can go to another process."""
    return partial(_draw, params=params, study=study)


def write_specifications(params: Params, study: StudyName, sample_paths: Iterable[str], file: Path) -> None:
    """One line of JSON a sample, in order; null for a sample of another source."""
    is_drawn = params.source(study).format == "drawn"
    with file.open("w", encoding="utf-8") as lines:
        for path in sample_paths:
            lines.write(json.dumps(asdict(specify(params, study, path)) if is_drawn else None) + "\n")


def _patient(params: Params, study: StudyName, path: str) -> str:
    if study == "faces":
        return ""
    film = specify(params, study, path)
    assert isinstance(film, films.Film)
    return film.patient


def _draw(candidate: Candidate, params: Params, study: StudyName) -> Decoded:
    specification, size = specify(params, study, candidate.path), params.study(study).image_size
    if isinstance(specification, faces.Face):
        pixels, mode = faces.render(specification, size), "RGB"
    else:
        pixels, mode = films.render(specification, size), "L"
    digest = hashlib.sha256(pixels.tobytes()).hexdigest()
    rgb = pixels if mode == "RGB" else np.repeat(pixels[..., None], 3, axis=2)
    return Decoded(rgb, digest, size, size, mode, pixels.nbytes)
