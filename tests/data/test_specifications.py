"""Specifications are written beside the images, and read back as numbers and words."""

from pathlib import Path

import pytest
from built import params

from cnnstudy.data import specifications
from cnnstudy.data.sources import synthetic
from cnnstudy.data.synth import faces, xrays


def test_a_line_a_sample_in_order(tmp_path: Path) -> None:
    settings, paths = params(), ["train/fear/00003", "tune/neutral/00000"]
    synthetic.write_specifications(settings, "faces", paths, tmp_path / "s.jsonl")
    found = dict(specifications.read(tmp_path / "s.jsonl"))
    assert {i: each["label"] for i, each in found.items()} == {0: "fear", 1: "neutral"}
    face = synthetic.specify(settings, "faces", paths[0])
    assert [tuple(unit) for unit in found[0]["units"]] == list(face.units)
    numbers = specifications.numbers(tmp_path / "s.jsonl", faces)
    assert numbers.shape == (2, len(faces.UNITS) + 1)
    assert dict(zip(faces.UNITS, numbers[0], strict=False))[20] == dict(found[0]["units"])[20] > 0
    assert numbers[0, -1] == 0.0
    words = specifications.captions(tmp_path / "s.jsonl", faces, [1])
    assert words == {1: faces.in_words(found[1])}


def test_images_that_are_not_synthetic_have_none(tmp_path: Path) -> None:
    real = params(studies__xray__source__format="folders")
    assert specifications.generator_of(real.studies["xray"]) is None
    synthetic.write_specifications(real, "xray", ["a.png", "b.png"], tmp_path / "s.jsonl")
    assert (tmp_path / "s.jsonl").read_text(encoding="utf-8") == "null\nnull\n"
    assert list(specifications.read(tmp_path / "s.jsonl")) == []
    assert specifications.numbers(tmp_path / "s.jsonl", xrays).size == 0
    assert specifications.captions(tmp_path / "s.jsonl", xrays, [0, 1]) == {}


@pytest.mark.parametrize(
    ("specification", "words"),
    [
        ({"units": [[1, 0.5], [4, 0.9]], "kind": "plain", "blend": ""}, "1+4"),
        ({"units": [[12, 0.1]], "kind": "weak", "blend": ""}, "(12)"),
        ({"units": [[4, 0.5], [9, 0.4]], "kind": "blend", "blend": "anger"}, "4+9\n~anger"),
        (
            {"units": [[unit, 0.5] for unit in (4, 7, 9, 10, 16, 17, 23, 24)], "kind": "blend", "blend": "disgust"},
            "4+7+9+10+16+17\n+23+24 ~disgust",
        ),
        (
            {"units": [[unit, 0.1] for unit in (1, 2, 4, 5, 20, 25, 26, 27)], "kind": "weak", "blend": ""},
            "(1+2+4+5+20+25\n+26+27)",
        ),
        ({"patches": [], "mimic": "", "picture": {"site": "A", "view": "PA"}}, "clear, A, PA"),
        ({"patches": [], "mimic": "crowded", "picture": {"site": "B", "view": "AP"}}, "crowded, B, AP"),
        ({"patches": [{}, {}], "mimic": "", "picture": {"site": "B", "view": "AP"}}, "2 patches, B, AP"),
    ],
)
def test_captions(specification: specifications.Specification, words: str) -> None:
    generator = faces if "units" in specification else xrays
    assert generator.in_words(specification) == words
