"""Images of where a net looks, and the numbers beside them."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import synthetic_runs
from PIL import Image

from cnnstudy.data import specifications
from cnnstudy.data.synth import faces, xrays
from cnnstudy.evaluation import run as evaluation
from cnnstudy.explain.overlap import by_class, overlap, shares
from cnnstudy.plots import gradcam
from cnnstudy.plots.style import DPI
from cnnstudy.workspace import paths

RUNS = ("alexnet", "xray-aug0")
XRAY = {"rotation": 0.0, "scale": 1.0, "shift": [0.0, 0.0]}
CHEST = {"height": 0.1, "chest": 0.4, "right_dome": 0.8, "left_dome": 0.8}


@pytest.mark.parametrize("run", RUNS)
def test_a_run_has_two_sheets_and_three_numbers(run: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    params = synthetic_runs.params_with(RUNS, seeds=[3, 0])
    study = params.runs[run].study
    synthetic_runs.write_samples(params, study)
    synthetic_runs.write_run(params, run)
    assert not paths.gradcam(paths.seed(run, "base", 0)).exists()
    digests = []
    for name in ("once", "twice"):
        (tmp_path / name).mkdir()
        images = np.load(paths.images(study), mmap_mode="r")
        evaluation.write_saliency(params, run, tuple(params.studies[study].classes), images, tmp_path / name)
        found = evaluation.saliency_overlap(params, run)
        assert found["attention_ratio"] == pytest.approx(found["attention_share"] / found["attention_area"])
        figures = sorted((tmp_path / name).iterdir())
        assert [figure.name for figure in figures] == ["gradcam.png", "mistakes.png"]
        digests.append([hashlib.sha256(figure.read_bytes()).hexdigest() for figure in figures])
    assert digests[0] == digests[1]


FACE = {"units": [], "view": {"roll": 0.0, "yaw": 0.0, "scale": 0.28, "shift": [0.0, 0.0]}}


def measured(maps: list[np.ndarray]) -> dict[str, np.ndarray]:
    return {"measured/id": np.arange(3, 3 + len(maps)), "measured/map": np.array(maps, np.uint8)}


def test_an_even_map_has_the_areas_share_and_one_on_the_mouth_has_all(tmp_path: Path) -> None:
    file = tmp_path / "specifications.jsonl"
    file.write_text("\n".join(["null"] * 3 + [json.dumps(FACE)] * 3) + "\n")
    ((_, area),) = specifications.read_areas(file, faces, {3}, 128)
    cover = area.reshape(8, 16, 8, 16).mean(axis=(1, 3))
    even, there, nothing = np.full((8, 8), 255), (cover == 1) * 255, np.zeros((8, 8))
    for maps, share in (([even], cover.mean()), ([there], 1.0), ([even, there], (1 + cover.mean()) / 2)):
        found = overlap(measured([*maps, nothing]), file, faces)
        assert found["attention_share"] == pytest.approx(share)
        assert found["attention_area"] == pytest.approx(cover.mean())
        assert found["attention_ratio"] == pytest.approx(share / cover.mean())


@pytest.mark.parametrize("shown", ["null", json.dumps({"patches": []} | {"picture": XRAY, "anatomy": CHEST})])
def test_images_that_show_nothing_have_no_numbers(shown: str, tmp_path: Path) -> None:
    file = tmp_path / "specifications.jsonl"
    file.write_text(f"{shown}\n" * 5)
    assert overlap(measured([np.full((8, 8), 255)]), file, xrays) == {}


def test_a_map_colours_its_place_and_leaves_the_rest_grey() -> None:
    image = np.full((16, 16, 3), (90, 120, 150), np.uint8)
    found = np.zeros((4, 4), np.uint8)
    found[0, 0] = 255
    shown = gradcam.overlaid(image, found).astype(int)
    assert shown.shape == image.shape
    assert (shown[8:, 8:] == 120).all()
    red, green, blue = shown[0, 0]
    assert red > 180 > 60 > green >= blue


@pytest.mark.parametrize("count", [0, 1, 5])
def test_few_or_no_mistakes_are_a_small_sheet(count: int, tmp_path: Path) -> None:
    arrays: dict[str, np.ndarray] = {f"mistakes/{name}": np.zeros(count, np.int64) for name in ("id", "label")}
    arrays |= {"mistakes/predicted": np.ones(count, np.int64), "mistakes/probability": np.full(count, 0.9)}
    arrays["mistakes/map"] = np.zeros((count, 4, 4), np.uint8)
    path = tmp_path / "mistakes.png"
    gradcam.draw_mistakes(np.zeros((1, 8, 8, 3), np.uint8), ("happy", "sad"), arrays, "alexnet", path)
    with Image.open(path) as picture:
        rows = max(1, -(-count // gradcam.PAIRS))
        assert picture.height == pytest.approx(DPI * (gradcam.HEAD + rows * 1.12), abs=1)


def test_a_class_that_is_never_right_is_said_so(tmp_path: Path) -> None:
    arrays: dict[str, np.ndarray] = {"correct/id": np.zeros(1, np.int64), "correct/label": np.ones(1, np.int64)}
    arrays |= {"correct/probability": np.ones(1), "correct/map": np.zeros((1, 4, 4), np.uint8)}
    path = tmp_path / "gradcam.png"
    gradcam.draw_correct(np.zeros((1, 8, 8, 3), np.uint8), ("happy", "sad"), arrays, "alexnet", path)
    with Image.open(path) as picture:
        left = np.asarray(picture.convert("L"))[:, int(DPI * gradcam.LEFT) :]
        row = int(DPI * (gradcam.HEAD + gradcam.CELL))
        assert left[int(DPI * gradcam.HEAD) : row].min() < 100  # words where the images would be


def test_overlap_is_told_class_by_class_with_its_interval(tmp_path: Path) -> None:
    file = tmp_path / "specifications.jsonl"
    file.write_text("\n".join([json.dumps(FACE)] * 4) + "\n")
    ((_, area),) = specifications.read_areas(file, faces, {0}, 128)
    cover = area.reshape(8, 16, 8, 16).mean(axis=(1, 3))
    there, beside = ((cover == 1) * 255).astype(np.uint8), ((cover == 0) * 255).astype(np.uint8)
    found = shares(np.arange(4), np.array([there, there, beside, beside]), file, faces)
    table = by_class(found, {0: "happy", 1: "happy", 2: "sad", 3: "sad"}).set_index("class")
    assert table["images"].to_dict() == {"happy": 2, "sad": 2}
    assert table.loc["happy", "ratio"] == pytest.approx(1 / cover.mean())
    assert table.loc["sad", ["ratio", "low", "high"]].tolist() == pytest.approx([0, 0, 0])
    mixed = by_class(found, dict.fromkeys(range(4), "all")).iloc[0]
    assert mixed["low"] < mixed["ratio"] < mixed["high"]
