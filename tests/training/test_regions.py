"""What a drawn image's class depends on lies where the drawing puts it."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cnnstudy.config.params import read_params
from cnnstudy.data import synth
from cnnstudy.data.sources import drawn
from cnnstudy.data.synth import faces, films
from cnnstudy.training import regions

ROOT = Path(__file__).parents[2]
FACES = [faces.specify(label, "train", index, 0) for label in synth.FACES for index in range(4)]
FILMS = [films.specify("covid", "train", index, 0) for index in range(12)]


def written(specification: Any) -> regions.Specification:
    """As it stands in specifications.jsonl."""
    content: regions.Specification = json.loads(json.dumps(asdict(specification)))
    return content


def test_specifications_are_read_as_they_were_written(tmp_path: Path) -> None:
    params = read_params(ROOT / "params.yaml")
    shown = [f"train/fear/{index:05d}" for index in range(4)]
    drawn.write_specifications(params, "faces", shown, tmp_path / "s.jsonl")
    expected = [written(faces.specify("fear", "train", index, params.data_seed)) for index in (1, 3)]
    assert list(regions.read(tmp_path / "s.jsonl", {1, 3})) == expected
    (tmp_path / "s.jsonl").write_text("null\nnull\n")
    assert list(regions.read(tmp_path / "s.jsonl", range(2))) == [None, None]


@pytest.mark.parametrize("face", FACES[::4], ids=lambda face: face.label)
def test_a_face_is_placed_as_it_is_drawn(face: faces.Face) -> None:
    view = face.view
    origin = 0.5 + view.shift[0], 0.36 + view.shift[1]
    sheet = faces._Sheet(np.zeros((3, 1, 1)), view.scale, origin, np.radians(view.roll), np.radians(view.yaw))
    points = np.array([(-0.5, 0.0), (0.5, 0.0), (0.9, -0.4), (0.0, 1.04)])
    np.testing.assert_allclose(regions._place(written(face)["view"], points), sheet.place(points, 0))


def test_the_mouth_lies_below_the_eyes_and_both_in_the_image() -> None:
    for face in FACES:
        eyes, mouth = regions.face_parts(written(face))
        assert mouth[:, 1].mean() > eyes[:, 1].mean() + 0.2
        for part in (eyes, mouth):
            assert ((part > 0) & (part < 1)).mean() > 0.9
    areas = [regions.cover(written(face), 8).mean() for face in FACES]
    assert 0.15 < min(areas) < max(areas) < 0.35


def test_units_change_a_face_mostly_there() -> None:
    shares, areas = [], []
    for face in FACES:
        if face.label == "neutral" or face.kind == "weak":
            continue
        still = replace(face, view=replace(face.view, noise=0.0, jpeg=95))
        change = np.abs(faces.render(still, 64).astype(int) - faces.render(replace(still, units=()), 64)).sum(axis=2)
        covered = regions.cover(written(face), 64)
        shares.append((change * covered).sum() / change.sum())
        areas.append(covered.mean())
    assert np.mean(shares) > 0.75 > 2.5 * np.mean(areas)


@pytest.mark.parametrize("film", FILMS[::3], ids=lambda film: film.patient)
def test_lungs_are_placed_as_they_are_drawn(film: films.Film) -> None:
    side = 384
    chest = films._Chest(side, film.picture, film.anatomy, 0.0)
    for half in (-1, 1):
        inside = regions._inside(regions.lung(written(film), half), side)
        mask = chest.mask([chest.lung(half)])
        assert np.abs(inside - mask).mean() < 0.005
        assert 0.05 < inside.mean() < 0.25


@pytest.mark.parametrize("film", FILMS[::3], ids=lambda film: film.patient)
def test_patches_lie_in_the_lungs_and_where_the_film_gets_brighter(film: films.Film) -> None:
    shown = written(film)
    covered = regions.cover(shown, 64)
    left, right = (regions._inside(regions.lung(shown, side), 64) for side in (-1, 1))
    assert not covered[~(left | right)][1:].sum() > 0.05 * covered.sum()
    still = replace(film, picture=replace(film.picture, noise=0.0, leads=0))
    change = films.render(still, 64).astype(int) - films.render(replace(still, patches=()), 64)
    brighter = change.clip(0)
    assert (brighter * covered).sum() > 0.6 * brighter.sum()
    assert 0.005 < covered.mean() < 0.2


def test_a_film_without_patches_shows_nothing() -> None:
    assert not regions.cover(written(films.specify("normal", "train", 0, 0)), 8).any()


def test_a_share_is_that_of_the_cell() -> None:
    square = np.array([(0.25, 0.25), (0.75, 0.25), (0.75, 0.75), (0.25, 0.75)])
    inside = regions._inside(square, 8)
    expected = np.zeros((8, 8), bool)
    expected[2:6, 2:6] = True
    np.testing.assert_array_equal(inside, expected)
