"""Hidden parts of images: which parts, what a net sees of them, and when a net is said to need no evidence."""

import json
import os
from pathlib import Path

import built
import cv2
import numpy as np
import pandas as pd
import pytest
from synthetic_runs import params_with

from cnnstudy.config.schema import Params, Region
from cnnstudy.data import samples
from cnnstudy.data.sources import synthetic
from cnnstudy.data.synth import faces, xrays
from cnnstudy.models import assemble
from cnnstudy.occlusion import regions, results, run
from cnnstudy.tracking.keys import directory_md5
from cnnstudy.workspace import paths

SIDE = 32
LEFT = {"ellipse": [0.25, 0.5, 0.25, 0.5], "evidence": "all"}
BORDER = {"ellipse": [0.5, 0.5, 0.5, 0.5], "outside": True, "evidence": "none"}
PART = {"ellipse": [0.5, 0.8, 0.2, 0.1], "evidence": "part"}


def test_each_region_is_hidden_and_shown_alone_unless_it_holds_a_part_of_the_evidence() -> None:
    named = {"lungs": LEFT, "border": BORDER, "upper-lip": PART}
    found = regions.tests({name: Region.model_validate(region) for name, region in named.items()})
    assert [each.name for each in found] == [
        "without_lungs", "only_lungs", "without_border", "only_border", "without_upper_lip",
    ]  # fmt: skip
    assert [each.name for each in found if each.is_blind] == ["without_lungs", "only_border"]


def test_an_ellipse_has_its_area_and_its_outside_the_rest() -> None:
    inside = regions.ellipse(Region.model_validate(BORDER | {"outside": False}), 200)
    assert inside.mean() == pytest.approx(np.pi / 4, abs=0.01)
    assert (regions.ellipse(Region.model_validate(BORDER), 200) == ~inside).all()
    left = regions.ellipse(Region.model_validate(LEFT), 200)
    assert left[100, 50]
    assert not left[:, 101:].any()


@pytest.mark.parametrize("label", ["covid", "normal"])
def test_the_lungs_of_a_synthetic_x_ray_hold_every_patch(label: str) -> None:
    for index in range(20):
        xray = xrays.specify(label, "test", index, 0)
        found = xrays.regions(xray, 64)
        assert not (xrays.area(xray, 64) & ~found["lungs"]).any()
        assert not (found["lungs"] & found["border"]).any()
        assert 0.3 < found["lungs"].mean() < 0.7


def test_the_regions_of_a_synthetic_face_do_not_depend_on_its_expression() -> None:
    for index in range(10):
        happy = faces.specify("happy", "test", index, 0)
        other = faces.specify("surprise", "test", index, 0)
        moved = faces.Face(**{**vars(other), "identity": happy.identity, "view": happy.view})
        for name, mask in faces.regions(happy, 48).items():
            assert (mask == faces.regions(moved, 48)[name]).all()
        assert not (faces.area(happy, 48) & faces.regions(happy, 48)["background"]).any()


def write_study(params: Params) -> None:
    """50 X-rays whose class is their brightness at the right edge alone."""
    settings = params.studies["xray"]
    names = [f"{split}/{label}/{i}" for i in range(5) for split in ("train", "test", "test", "train", "val")
             for label in settings.classes]  # fmt: skip
    rows = [
        (i, name.split("/")[1], "", "", "synthetic", name, f"{i}", SIDE, SIDE, "L", 1) for i, name in enumerate(names)
    ]
    paths.samples("xray").parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(rows, columns=list(samples.COLUMNS)).to_csv(paths.samples("xray"), index=False)
    pd.DataFrame({"id": range(len(names)), "split": [name.split("/")[0] for name in names]}).to_csv(
        paths.splits("xray"), index=False
    )
    images = np.full((len(names), SIDE, SIDE, 3), 100, np.uint8)
    images[[i for i, name in enumerate(names) if "covid" in name], :, -4:] = 200
    np.save(paths.images("xray"), images)
    synthetic.write_specifications(params, "xray", names, paths.specifications("xray"))


@pytest.fixture
def params(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Params:
    """Files of a study and of an untrained net."""
    monkeypatch.chdir(tmp_path)
    named = {"left": LEFT, "border": BORDER}
    params = params_with(("xray-aug0",), studies__xray__image_size=SIDE, studies__xray__regions=named)
    write_study(params)
    model = assemble.build_plain(assemble.design_of(params, "xray-aug0", 2))
    file = paths.weights(paths.seed("xray-aug0", "base", 0))
    file.parent.mkdir(parents=True)
    model.save_weights(file)
    return params


def edge_net(batches: object) -> np.ndarray:
    """Predict covid where the upper right corner is brighter than 130."""
    bright = np.concatenate([batch[:, 1, -1, 0] > 130 for batch in batches]).astype(float)  # type: ignore[attr-defined]
    return np.stack([1 - bright, bright], axis=1)


class EdgeNet:
    """Stands for a net's inference."""

    batch_size = 7

    def __init__(self, model: object) -> None:
        pass

    def __call__(self, batches: object) -> np.ndarray:
        return edge_net(batches)


def test_a_net_that_needs_only_the_edge_is_found_out(params: Params, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run.trained, "Inference", EdgeNet)
    run.test_nets(params, "xray")
    found = results.read("xray")
    assert (found["split"], found["ellipses"]) == ("test", ["left"])
    assert (found["images"], found["chance"]) == ({"test": 20, "val": 10}, {"test": 0.5, "val": 0.5})
    tests = found["runs"]["xray-aug0"]["tests"]
    # `left` is no region of the generator, so it is the ellipse; `border` is the generator's.
    found = {name: [its["accuracy"] for its in test["splits"].values()] for name, test in tests.items()}
    assert found["without_left"] == found["only_border"] == [1.0, 1.0]
    assert max(*found["only_left"], *found["without_border"]) < 0.8  # all predictions are equal
    assert tests["without_left"]["above_chance"] == ["test", "val"]
    assert tests["only_border"]["above_chance"] == ["test", "val"]
    assert "above_chance" not in tests["only_left"]
    assert (paths.occlusion_plots("xray") / "examples.png").stat().st_size > 1000
    listed = pd.read_csv(paths.occlusion_plots("xray") / "tests.csv")
    assert len(listed) == 8
    assert set(listed[listed["is_above_chance"]]["test"]) == {"without_left", "only_border"}
    models = {"base": directory_md5(paths.phase("xray-aug0", "base"))}
    assert results.of_run(params, "xray-aug0", models) == tests
    assert results.of_run(params, "xray-aug0", {"base": "another"}) == {}


def test_balanced_predictions_show_what_a_net_tells_apart() -> None:
    labels = np.array([0] * 6 + [1] * 4)
    scores = np.array([0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.11, 0.12, 0.13, 0.14])
    shifted = np.stack([1 - scores, scores], axis=1)
    assert not shifted.argmax(axis=1).any()  # one class for every image
    assert run.balanced(shifted, labels).tolist() == labels.tolist()
    noise = np.random.default_rng(0).dirichlet([1, 1, 1, 1], 800)
    classes = np.sort(np.random.default_rng(1).integers(0, 4, 800))
    found = run.balanced(noise ** [1, 3, 9, 1], classes)
    assert (found == classes).mean() == pytest.approx(0.25, abs=0.05)
    assert np.bincount(found).tolist() == np.bincount(classes).tolist()


def test_balanced_predictions_of_unequal_classes_rank_the_images() -> None:
    labels = np.array([0] * 80 + [1] * 20)
    scores = np.random.default_rng(0).normal(size=100) + 3 * labels
    timid = np.stack([0.9 - 0.01 * scores, 0.1 + 0.01 * scores], axis=1)
    found = run.balanced(timid, labels)
    assert found.sum() == 20
    assert (found == labels).mean() > 0.9


def test_equal_predictions_are_right_by_chance_whatever_the_order_of_the_images() -> None:
    labels = np.repeat(np.arange(4), 100)
    assert (run.balanced(np.full((400, 4), 0.25), labels) == labels).mean() == pytest.approx(0.25, abs=0.08)
    without_one = np.repeat([0, 2], 50)  # a class without images
    assert set(run.balanced(np.full((100, 3), 1 / 3), without_one)) == {0, 2}


def test_a_real_net_predicts_with_parts_hidden(params: Params) -> None:
    run.test_nets(params, "xray")
    tests = results.read("xray")["runs"]["xray-aug0"]["tests"]
    for its in (its for test in tests.values() for its in test["splits"].values()):
        assert 0 <= its["accuracy_low"] <= its["accuracy"] <= its["accuracy_high"] <= 1


def test_a_study_without_regions_tests_nothing(params: Params) -> None:
    settings = params.studies["xray"].model_copy(update={"regions": {}})
    run.test_nets(params.model_copy(update={"studies": params.studies | {"xray": settings}}), "xray")
    assert json.loads(paths.occlusion_metrics("xray").read_text()) == {"split": "test", "runs": {}}
    assert os.listdir(paths.occlusion_plots("xray")) == ["tests.csv"]


def test_masks_that_a_source_brings_are_used(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    params = built.params(
        studies__xray__source={"format": "radiography", "path": str(tmp_path)},
        studies__xray__regions={"lungs": LEFT, "border": BORDER},
    )
    study = params.studies["xray"]
    (tmp_path / "COVID" / "masks").mkdir(parents=True)
    mask = np.zeros((256, 256), np.uint8)
    mask[:128] = 255
    names = ["COVID/images/COVID-1.png", "COVID/images/COVID-2.png"]
    for name in names:
        cv2.imwrite(str(tmp_path / name.replace("images", "masks")), mask)
    found, ellipses = regions.masks(study, np.array([3, 5]), names, tmp_path / "none")
    assert ellipses == ["border"]
    assert found["lungs"].shape == (2, 64, 64)
    assert found["lungs"][:, :35].all()  # the mask and its margin
    assert not found["lungs"][:, 36:].any()
    assert found["border"].mean() == pytest.approx(1 - np.pi / 4, abs=0.01)
    (tmp_path / "COVID/masks/COVID-2.png").unlink()
    found, ellipses = regions.masks(study, np.array([3, 5]), names, tmp_path / "none")
    assert ellipses == ["lungs", "border"]
    assert (found["lungs"] == regions.ellipse(study.regions["lungs"], 64)).all()
    assert "1 of 2 masks are missing" in capsys.readouterr().out
