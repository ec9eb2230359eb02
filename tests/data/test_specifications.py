"""Specifications are written beside the images, and read back as numbers and words."""

from pathlib import Path

import pytest

from cnnstudy.config.params import read_params
from cnnstudy.config.schema import Params
from cnnstudy.data import specifications
from cnnstudy.data.sources import drawn
from cnnstudy.data.synth.faces import UNITS

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def params() -> Params:
    return read_params(ROOT / "params.yaml")


def test_a_line_a_sample_in_order(params: Params, tmp_path: Path) -> None:
    paths = ["train/fear/00003", "tune/neutral/00000"]
    drawn.write_specifications(params, "faces", paths, tmp_path / "s.jsonl")
    found = dict(specifications.read(tmp_path / "s.jsonl"))
    assert {i: each["label"] for i, each in found.items()} == {0: "fear", 1: "neutral"}
    face = drawn.specify(params, "faces", paths[0])
    assert [tuple(unit) for unit in found[0]["units"]] == list(face.units)  # type: ignore[union-attr]
    numbers = specifications.numbers(tmp_path / "s.jsonl")
    assert numbers.shape == (2, len(UNITS) + 1)
    assert dict(zip(UNITS, numbers[0], strict=False))[20] == dict(found[0]["units"])[20] > 0
    assert numbers[0, -1] == 0.0
    words = specifications.captions(tmp_path / "s.jsonl", [1])
    assert words == {1: specifications.in_words(found[1])}


def test_images_that_were_not_drawn_have_none(params: Params, tmp_path: Path) -> None:
    xray = params.sources.xray.model_copy(update={"format": "folders"})
    real = params.model_copy(update={"sources": params.sources.model_copy(update={"xray": xray})})
    drawn.write_specifications(real, "xray", ["a.png", "b.png"], tmp_path / "s.jsonl")
    assert (tmp_path / "s.jsonl").read_text(encoding="utf-8") == "null\nnull\n"
    assert list(specifications.read(tmp_path / "s.jsonl")) == []
    assert specifications.numbers(tmp_path / "s.jsonl").size == 0
    assert specifications.captions(tmp_path / "s.jsonl", [0, 1]) == {}


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
    assert specifications.in_words(specification) == words
