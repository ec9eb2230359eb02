"""The evidence for a synthetic image's class lies in the areas that `data.synth` reports."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from cnnstudy.data import specifications
from cnnstudy.data.synth import faces, xrays

FACES = [faces.specify(label, "train", index, 0) for label in faces.CLASSES for index in range(4)]
XRAYS = [xrays.specify("covid", "train", index, 0) for index in range(12)]


def test_areas_are_those_of_what_was_written(tmp_path: Path) -> None:
    for generator, (first, other, third) in ((faces, FACES[4:7]), (xrays, XRAYS[:3])):
        file = tmp_path / f"{generator.__name__}.jsonl"
        shown = [first, None, other, third]
        file.write_text("".join(json.dumps(each and asdict(each)) + "\n" for each in shown))
        found = dict(specifications.read_areas(file, generator, {0, 1, 2}, 32))
        assert list(found) == [0, 2]
        np.testing.assert_array_equal(found[0], generator.area(first, 32))
        np.testing.assert_array_equal(found[2], generator.area(other, 32))


def test_two_parts_of_a_face_take_a_quarter_of_it_in_rows_of_their_own() -> None:
    for face in FACES:
        upright = replace(face, view=replace(face.view, roll=0.0))
        area = faces.area(upright, 64)
        assert 0.15 < area.mean() < 0.35
        rows = np.asarray(area.any(axis=1))
        starts = np.diff(np.concatenate([[0], rows.astype(int)])) == 1
        assert starts.sum() == 2


def test_units_change_a_face_mostly_there() -> None:
    shares, areas = [], []
    for face in FACES:
        if face.label == "neutral" or face.kind == "weak":
            continue
        still = replace(face, view=replace(face.view, noise=0.0, jpeg=95))
        change = np.abs(faces.render(still, 64).astype(int) - faces.render(replace(still, units=()), 64)).sum(axis=2)
        area = faces.area(face, 64)
        shares.append(change[area].sum() / change.sum())
        areas.append(area.mean())
    assert np.mean(shares) > 0.75 > 2.5 * np.mean(areas)


@pytest.mark.parametrize("xray", XRAYS[::3], ids=lambda xray: xray.patient)
def test_patches_lie_where_the_xray_gets_brighter(xray: xrays.Xray) -> None:
    area = xrays.area(xray, 64)
    still = replace(xray, picture=replace(xray.picture, noise=0.0, leads=0))
    change = xrays.render(still, 64).astype(int) - xrays.render(replace(still, patches=()), 64)
    brighter = change.clip(0)
    assert brighter[area].sum() > 0.6 * brighter.sum()
    assert 0.005 < area.mean() < 0.2


def test_an_xray_without_patches_shows_nothing() -> None:
    assert not xrays.area(xrays.specify("normal", "train", 0, 0), 32).any()
